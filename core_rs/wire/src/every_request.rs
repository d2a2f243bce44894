//! Tests that hold for every kind of request.
//!
//! Owns the list of kinds and the tests over all of them. Refuses to know the rules of single
//! fields.

use backlane_engine::rules::access::Principal;
use proptest::prelude::*;
use prost::Message as _;

use crate::control::{decode_get_run, decode_input, decode_pause, decode_resume};
use crate::dead_letter::{decode_discard, decode_list_dead_letters};
use crate::enqueue::{decode_batch, decode_enqueue, decode_enqueue_stream, decode_run};
use crate::explain::decode_explain;
use crate::fixtures::{Decode, call_as, named, with_context};
use crate::limit::{decode_list_limits, decode_set_limits};
use crate::query::{
    decode_cancel, decode_count, decode_delete, decode_get, decode_list, decode_list_attempts,
    decode_peek, decode_queue_stats, decode_wait,
};
use crate::redrive::decode_redrive;
use crate::spawn::decode_spawn;
use crate::steps::{decode_steps, decode_suspend};
use crate::task::decode_get_task_record;
use crate::work::decode_work;
use crate::worker::{
    decode_complete, decode_fail, decode_lease, decode_progress, decode_release, decode_renew,
};

const EVERY: [Decode<()>; 34] = [
    |it, context| decode_enqueue(it, context).map(drop),
    |it, context| decode_batch(it, context).map(drop),
    |it, context| decode_enqueue_stream(it, context).map(drop),
    |it, context| decode_run(it, context).map(drop),
    |it, context| decode_get(it, context).map(drop),
    |it, context| decode_list(it, context).map(drop),
    |it, context| decode_list_attempts(it, context).map(drop),
    |it, context| decode_wait(it, context).map(drop),
    |it, context| decode_cancel(it, context).map(drop),
    |it, context| decode_peek(it, context).map(drop),
    |it, context| decode_queue_stats(it, context).map(drop),
    |it, context| decode_explain(it, context).map(drop),
    |it, context| decode_get_run(it, context).map(drop),
    |it, context| decode_input(it, context).map(drop),
    |it, context| decode_pause(it, context).map(drop),
    |it, context| decode_resume(it, context).map(drop),
    |it, context| decode_spawn(it, context).map(drop),
    |it, context| decode_lease(it, context).map(drop),
    |it, context| decode_renew(it, context).map(drop),
    |it, context| decode_complete(it, context).map(drop),
    |it, context| decode_fail(it, context).map(drop),
    |it, context| decode_release(it, context).map(drop),
    |it, context| decode_steps(it, context).map(drop),
    |it, context| decode_suspend(it, context).map(drop),
    |it, context| decode_work(it, context).map(drop),
    |it, context| decode_get_task_record(it, context).map(drop),
    |it, context| decode_list_dead_letters(it, context).map(drop),
    |it, context| decode_discard(it, context).map(drop),
    |it, context| decode_redrive(it, context).map(drop),
    |it, context| decode_progress(it, context).map(drop),
    |it, context| decode_set_limits(it, context).map(drop),
    |it, context| decode_list_limits(it, context).map(drop),
    |it, context| decode_count(it, context).map(drop),
    |it, context| decode_delete(it, context).map(drop),
];

#[test]
fn every_call_of_the_contract_has_a_decoder_here() {
    assert_eq!(crate::METHODS.len(), EVERY.len());
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    for decode in EVERY {
        let refused = named(call_as(&Principal::default(), decode, &[0xFF]));
        assert_eq!("INVALID_ARGUMENT request", refused);
    }
}

#[test]
fn far_too_many_items_are_refused_before_they_take_memory() {
    let items = [0x12, 0x00].repeat(1 << 20);
    let releases = [0x0A, 0x00].repeat(1 << 20);
    let principal = Principal::default();
    let refused = named(call_as(&principal, decode_batch, &items));
    assert_eq!("INVALID_ARGUMENT request", refused);
    let refused = named(call_as(&principal, decode_release, &releases));
    assert_eq!("INVALID_ARGUMENT request", refused);
    // A group in front does not hide the items either.
    let hidden = [&[0x7B, 0x7C][..], &items].concat();
    let refused = named(call_as(&principal, decode_batch, &hidden));
    assert_eq!("INVALID_ARGUMENT request", refused);
    let mut work = vec![0x3A, 0x80, 0x80, 0x80, 0x01];
    work.extend(releases);
    let refused = with_context(&principal, |context| decode_work(&work, context));
    assert_eq!("INVALID_ARGUMENT request", named(refused));
}

proptest! {
    #[test]
    fn broken_requests_are_read_or_refused_without_a_panic(place: usize, byte: u8) {
        let principal = Principal::default();
        let enqueue = crate::record::tests::rich().encode_to_vec();
        let fail = crate::failure::tests::rich().encode_to_vec();
        for (decode, mut bytes) in [(EVERY[0], enqueue), (EVERY[18], fail)] {
            prop_assert!(call_as(&principal, decode, &bytes).is_ok());
            let place = place % bytes.len();
            bytes[place] = byte;
            let _ = call_as(&principal, decode, &bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>) {
        for decode in EVERY {
            let _ = call_as(&Principal::default(), decode, &bytes);
        }
    }
}
