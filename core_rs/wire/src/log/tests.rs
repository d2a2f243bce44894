//! Facts survive encoding and decoding.
//!
//! Owns the promise that a fact read from disk equals the fact written. Refuses to know the effects
//! of facts.

use backlane_engine::fact::{Actor, ExecutionChange, Fact, FactKind, RunChange};
use backlane_engine::rules::run::Action;
use backlane_engine::rules::step::StepId;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::DecodeError;
use crate::fixtures::fact;
use crate::generated::backlane::log::v1;

fn decoded(frame: &[u8]) -> Result<Vec<Fact>, DecodeError> {
    let mut facts = Vec::new();
    decode_facts::<DecodeError>(frame, &mut |fact| {
        facts.push(fact);
        Ok(())
    })?;
    Ok(facts)
}

fn frame(facts: &[Fact]) -> Vec<u8> {
    let mut frame = Vec::new();
    for fact in facts {
        encode_fact(fact, &mut frame);
    }
    frame
}

#[test]
fn a_fact_that_cannot_be_decoded_does_not_hide_the_next() {
    let known = Fact {
        at_ms: 5,
        actor: Actor::engine(),
        cause: None,
        kind: FactKind::Log(LogFact::RoundBegan {
            next_birth: 7,
            next_item: 3,
        }),
    };
    let unknown = [5, 0x08, 5, 0x9A, 0x06, 0];
    let cut_off = [9, 0x08];
    let frame = [&unknown[..], &frame(std::slice::from_ref(&known)), &cut_off].concat();
    let read: Vec<_> = facts(&frame).collect();
    let expected = vec![
        Err(DecodeError::UnknownKind { number: 99 }),
        Ok(known),
        Err(DecodeError::malformed("Fact", &"it is cut off")),
    ];
    assert_eq!(expected, read);
}

#[test]
fn an_unknown_kind_is_named() {
    // A fact at 5 ms, of kind 99, with an empty message.
    let frame = [5, 0x08, 5, 0x9A, 0x06, 0];
    assert_eq!(
        Err(DecodeError::UnknownKind { number: 99 }),
        decoded(&frame)
    );
}

fn ended(status: u32) -> v1::Fact {
    let ended = v1::Ended {
        status,
        reason: 1,
        ..v1::Ended::default()
    };
    v1::Fact {
        at_ms: 1,
        actor: Some(v1::Actor {
            kind: 1,
            id: String::new(),
        }),
        kind: Some(v1::fact::Kind::Execution(v1::ExecutionFact {
            birth: 1,
            change: Some(v1::execution_fact::Change::Ended(ended)),
        })),
        ..v1::Fact::default()
    }
}

#[test]
fn an_unknown_number_is_named() {
    let unknown = DecodeError::UnknownNumber {
        what: "Ended.status",
        number: 9,
    };
    assert_eq!(
        Err(unknown),
        decoded(&ended(9).encode_length_delimited_to_vec())
    );
}

#[test]
fn a_newer_version_of_facts_is_refused() {
    let newer = v1::Fact {
        version: 2,
        ..ended(3)
    };
    let unknown = DecodeError::UnknownNumber {
        what: "Fact.version",
        number: 2,
    };
    assert_eq!(
        Err(unknown),
        decoded(&newer.encode_length_delimited_to_vec())
    );
    let first = v1::Fact {
        version: 1,
        ..ended(3)
    };
    assert!(decoded(&first.encode_length_delimited_to_vec()).is_ok());
}

#[test]
fn an_unknown_change_of_an_execution_is_refused() {
    // A fact by a client: an ExecutionFact of birth number 1 whose field 99 is an empty message.
    let frame = [11, 0x1A, 2, 0x08, 1, 0x42, 5, 0x08, 1, 0x9A, 0x06, 0];
    let refused = DecodeError::UnknownChange {
        what: "ExecutionFact",
    };
    assert_eq!(Err(refused), decoded(&frame));
}

fn due(birth: u64) -> Fact {
    Fact {
        at_ms: 1,
        actor: Actor::clock(),
        cause: None,
        kind: FactKind::execution(birth, ExecutionChange::Due),
    }
}

#[test]
fn a_fact_without_a_kind_and_a_truncated_fact_are_refused() {
    assert_eq!(
        Err(DecodeError::Missing { what: "Fact.kind" }),
        decoded(&[4, 0x1A, 2, 0x08, 1])
    );
    assert_eq!(
        Err(DecodeError::Missing { what: "Fact.actor" }),
        decoded(&[2, 0x08, 5])
    );
    let whole = frame(&[due(7)]);
    let cut = decoded(&whole[..whole.len() - 1]).unwrap_err();
    assert_eq!("malformed Fact: it is cut off", cut.to_string());
}

#[test]
fn an_error_of_the_receiver_ends_the_reading_of_facts() {
    let frame = frame(&[1, 2, 3].map(due));
    let mut seen = 0;
    let stopped = decode_facts(&frame, &mut |_| {
        seen += 1;
        Err(DecodeError::Missing { what: "patience" })
    });
    assert_eq!(
        (1, Err(DecodeError::Missing { what: "patience" })),
        (seen, stopped)
    );
}

#[test]
fn a_report_of_two_actions_takes_few_bytes() {
    let steps = [[1; 20], [2; 20]].map(StepId);
    let change = RunChange::Reported {
        actions: [
            Action::StepCompleted(steps[0]),
            Action::StepStarted(steps[1]),
        ]
        .into(),
        bytes: 1_000,
        sequence: 7,
    };
    let fact = Fact {
        at_ms: 1_700_000_000_000,
        actor: Actor::holder(),
        cause: None,
        kind: FactKind::run(1_000_000, change),
    };
    assert_eq!(71, frame(&[fact]).len());
}

proptest! {
    #[test]
    fn facts_survive_the_disk(facts in vec(fact(), 0..4)) {
        prop_assert_eq!(Ok(facts.clone()), decoded(&frame(&facts)));
    }

    #[test]
    fn facts_are_written_as_the_schema_says(fact in fact()) {
        let bytes = frame(std::slice::from_ref(&fact));
        let message = v1::Fact::decode_length_delimited(&bytes[..]).unwrap();
        prop_assert_eq!(fact.at_ms, message.at_ms);
        let again = message.encode_length_delimited_to_vec();
        prop_assert_eq!(Ok(vec![fact]), decoded(&again));
        prop_assert_eq!(bytes.len(), again.len());
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes: Vec<u8>) {
        let _ = decoded(&bytes);
    }

    #[test]
    fn broken_facts_are_read_or_refused_without_a_panic(fact in fact(), place: usize, byte: u8) {
        let mut bytes = frame(&[fact]);
        let place = place % bytes.len();
        bytes[place] = byte;
        let _ = decoded(&bytes);
    }
}
