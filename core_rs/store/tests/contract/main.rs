//! What every store promises: the same functions run against each of them.
//!
//! Owns the list of promises. Refuses to look inside a store, but in the modules named for one.

mod forget;
mod log;
mod memory;
mod model;
mod rows;
mod sqlite;
mod world;

macro_rules! contract {
    ($($module:ident: $($promise:ident),+;)+) => {
        mod in_memory {
            $($(#[test] fn $promise() {
                crate::$module::$promise(&crate::world::Memory::default());
            })+)+
        }
        mod in_sqlite {
            $($(#[test] fn $promise() {
                crate::$module::$promise(&crate::world::Sqlite::default());
            })+)+
        }
    };
}

contract! {
    log:
        an_empty_store_begins_with_sequence_one,
        replay_equals_what_was_appended,
        a_reopened_store_goes_on_where_it_ended,
        each_take_grows_the_epoch,
        an_older_epoch_is_fenced_and_changes_nothing,
        a_store_that_was_not_taken_refuses_to_write,
        another_shard_is_refused,
        a_gap_is_refused_and_changes_nothing,
        a_commit_without_facts_is_refused,
        a_second_payload_is_refused_with_all_its_commit,
        replay_stops_with_the_error_of_its_caller,
        headroom_counts_what_was_written;
    rows:
        payloads_come_in_the_order_asked,
        payloads_may_be_empty_or_large,
        finished_rows_come_in_the_order_asked,
        a_later_finished_row_replaces_the_earlier,
        listing_is_newest_first_over_all_statuses,
        listing_pages_without_gaps_or_repeats,
        listing_keeps_tenants_and_statuses_apart,
        the_newest_request_of_a_key_is_found,
        requests_before_the_asked_hour_are_not_found,
        request_keys_page_in_the_order_written,
        a_reader_sees_what_is_written_after_it_was_opened;
    forget:
        trimming_removes_whole_frames_and_is_bounded,
        trimming_keeps_the_newest_frame_over_a_restart,
        expiry_takes_the_longest_finished_and_their_payloads,
        expiry_is_bounded,
        an_expired_row_leaves_the_listing,
        a_replaced_row_expires_by_its_new_time,
        request_hours_go_whole_and_one_a_call,
        one_limit_bounds_all_kinds_together,
        nothing_goes_where_nothing_is_asked,
        an_older_epoch_may_not_forget,
        idle_moments_change_nothing;
}
