//! The promises of every store: the same functions run against each of them, over families of
//! every kind.
//!
//! Owns the list of promises. Refuses to look inside a store, except in the modules named for one.

mod agreement;
mod copies;
mod damage;
mod dead_letter;
mod decay;
mod disk;
mod families;
mod files;
mod forget;
mod format;
mod inspect;
mod lists;
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
        replay_stops_with_the_error_of_its_caller,
        headroom_counts_what_was_written;
    rows:
        rows_come_in_the_order_asked,
        a_head_is_read_without_its_body,
        heads_and_bodies_may_be_empty_large_or_absent,
        keys_at_the_limits_are_found,
        a_second_put_in_a_once_family_is_refused_with_its_commit,
        a_later_put_in_a_replace_family_replaces_the_earlier,
        a_deleted_row_is_absent_and_can_be_put_again,
        deleting_a_missing_row_is_no_error,
        families_keep_their_rows_apart,
        a_row_that_does_not_fit_its_family_is_refused,
        a_read_that_does_not_fit_the_family_is_refused,
        ordinals_of_a_number_come_ascending_and_bounded,
        all_names_page_in_the_order_of_keys,
        a_reader_sees_what_is_written_after_it_was_opened;
    lists:
        listing_is_newest_first_over_all_tags,
        listing_pages_without_gaps_or_repeats,
        listing_keeps_tenants_and_tags_apart,
        a_replaced_row_is_listed_by_its_new_listing,
        the_newest_row_of_a_digest_is_found,
        digests_before_the_asked_hour_are_not_found,
        digests_of_an_hour_page_in_the_order_written;
    forget:
        trimming_removes_whole_frames_and_is_bounded,
        trimming_keeps_the_newest_frame_over_a_restart,
        expiry_removes_the_oldest_endings_and_their_payloads,
        an_expired_entity_leaves_every_family_of_its_class,
        an_entity_expires_by_its_earliest_start,
        a_start_that_two_rows_share_stays_until_both_are_gone,
        a_deleted_start_lets_its_entity_stay,
        rows_of_kept_families_never_expire,
        expiry_is_bounded,
        an_expired_row_leaves_the_listing,
        a_replaced_row_expires_by_its_new_time,
        hours_are_dropped_whole_and_one_a_call,
        hours_of_several_families_are_dropped_one_table_a_call,
        one_limit_bounds_all_kinds_together,
        nothing_goes_where_nothing_is_asked,
        an_older_epoch_may_not_forget,
        an_erased_entity_leaves_nothing,
        only_entities_that_expire_can_be_erased,
        idle_moments_change_nothing;
}
