//! Messages that workers send on a `Work` stream.
//!
//! Owns the field rules of these messages. Refuses to know the stream and the order of its
//! messages: the runtime does.

use std::collections::BTreeSet;
use std::iter;
use std::ops::RangeInclusive;
use std::sync::Arc;

use backlane_engine::command::{Held, OfferSpec, ProgressReport};
use backlane_engine::rules::limits::DEFAULT_LEASE_MS;

use crate::context::Context;
use crate::error::ApiError;
use crate::fields::{self, Checked, broken};
use crate::generated::backlane::v1;
use crate::generated::backlane::v1::work_request::Message;
use crate::offer;
use crate::scan::Fields;
use crate::steps::{self, StepReports, Suspensions};
use crate::worker::{self, Reports};

/// Field numbers of the messages in the oneof of a `WorkRequest`.
const MESSAGES: RangeInclusive<u32> = 1..=11;
/// Field numbers of those messages that hold actions or waits.
const RUNS: RangeInclusive<u32> = 9..=10;

/// Most lanes of a hello.
const MAX_LANES: usize = 5_000;
/// Most callables of all lanes of a hello together.
const MAX_CALLABLES: usize = 10_000;

/// One checked message of a worker on a `Work` stream. Every message renews all leases of the
/// stream.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkFrame {
    /// The first message of every stream. A stream has exactly one hello.
    Hello {
        /// The worker's id.
        worker: Arc<str>,
        /// The offer of each lane, limited to the tenants that the caller may act for. The first
        /// one may be empty if there are others.
        offers: Vec<OfferSpec>,
        /// Time without a message after which the worker loses its leases, in milliseconds.
        duration_ms: u64,
        /// Leases that the worker still holds from an earlier stream.
        held: Vec<Held>,
    },
    /// Room for more leases, added to the room that is left.
    Credit {
        /// The lane that has room.
        lane: u32,
        /// Number of further executions that the worker can take.
        executions: u32,
        /// Number of further executions that the worker can take ahead of a free slot.
        prefetch: u32,
        /// Encoded bytes that the worker can take; `None` for no limit.
        bytes: Option<u64>,
    },
    /// The worker confirms that these leases have arrived.
    Acknowledge(Vec<Held>),
    /// A message without content, which renews the leases.
    Heartbeat,
    /// Results of leases. An error stands for an item that could not be read.
    Report(Reports),
    /// Steps of executions. An error stands for an item that could not be read.
    Steps(StepReports),
    /// Executions to suspend. An error stands for an item that could not be read.
    Suspend(Suspensions),
    /// The worker asks for no further leases.
    Drain,
    /// How far executions have come. It gets no reply.
    Progress(Vec<(Held, ProgressReport)>),
}

/// Reads and checks one message up a `Work` stream.
///
/// # Errors
/// [`ApiError`] where the whole message is refused, which ends the stream.
pub fn decode_work(bytes: &[u8], context: &mut Context<'_>) -> Result<WorkFrame, ApiError> {
    decode(bytes, context).map_err(ApiError::from)
}

fn decode(bytes: &[u8], context: &Context<'_>) -> Checked<WorkFrame> {
    let limits = context.limits;
    let messages = Fields::of(bytes)
        .flatten()
        .filter(|(tag, _)| MESSAGES.contains(tag));
    let mut of_runs = messages.clone().filter(|(tag, _)| RUNS.contains(tag));
    of_runs.try_for_each(|(_, wire)| steps::few_actions(wire.bytes(), limits))?;
    let inner = messages.map(|(_, wire)| fields::fields_in(wire.bytes()));
    fields::few(inner.sum::<Checked<usize>>()?, limits)?;
    let request: v1::WorkRequest = fields::message(bytes, limits)?;
    let Some(message) = request.message else {
        return broken("message", "must be given");
    };
    let (name, frame) = match message {
        Message::Hello(message) => ("hello", hello(message, context)),
        Message::Credit(message) => ("credit", Ok(credit(message))),
        Message::Acknowledge(message) => {
            let leases = worker::all_held("leases", &message.leases, limits.max_lease_items);
            ("acknowledge", leases.map(WorkFrame::Acknowledge))
        }
        Message::Heartbeat(_) => ("heartbeat", Ok(WorkFrame::Heartbeat)),
        Message::Complete(message) => (
            "complete",
            worker::completions(message, limits).map(WorkFrame::Report),
        ),
        Message::Fail(message) => (
            "fail",
            worker::failures(message, limits).map(WorkFrame::Report),
        ),
        Message::Release(message) => (
            "release",
            worker::releases(message, limits).map(WorkFrame::Report),
        ),
        Message::Drain(_) => ("drain", Ok(WorkFrame::Drain)),
        Message::Steps(message) => {
            let reports = steps::reports(message, "steps.reports", limits);
            ("steps", reports.map(WorkFrame::Steps))
        }
        Message::Suspend(message) => {
            let all = steps::suspensions(message, "suspend.suspensions", context);
            ("suspend", all.map(WorkFrame::Suspend))
        }
        Message::Progress(message) => (
            "progress",
            worker::all_advances(message, limits).map(WorkFrame::Progress),
        ),
    };
    frame.map_err(|fault| fault.within(name))
}

fn hello(message: v1::WorkHello, context: &Context<'_>) -> Checked<WorkFrame> {
    let worker = offer::worker(&message.worker_id)?;
    // A worker may hold more leases than one call may return.
    let most = context.limits.max_batch_items;
    Ok(WorkFrame::Hello {
        worker,
        duration_ms: offer::duration(message.lease_duration_ms)?.unwrap_or(DEFAULT_LEASE_MS),
        held: worker::all_held("held", &message.held, most)?,
        offers: offers(message, context)?,
    })
}

/// The offers of all lanes, which have the same tenants.
fn offers(message: v1::WorkHello, context: &Context<'_>) -> Checked<Vec<OfferSpec>> {
    if message.lanes.is_empty() {
        let offer = offer::offer(message.callables, message.tenant_ids, context.principal)?;
        return Ok(vec![offer]);
    }
    fields::filled("lanes", &message.lanes, MAX_LANES)?;
    let tenants = offer::tenants(message.tenant_ids, context.principal)?;
    let mut all = BTreeSet::new();
    let mut offers = Vec::with_capacity(1 + message.lanes.len());
    let lanes = message.lanes.into_iter().map(|lane| lane.callables);
    for (lane, callables) in iter::once(message.callables).chain(lanes).enumerate() {
        let patterns = match lane {
            0 if callables.is_empty() => BTreeSet::new(),
            0 => offer::patterns(callables)?,
            _ => {
                let at = format!("lanes[{}]", lane - 1);
                offer::patterns(callables).map_err(|fault| fault.within(&at))?
            }
        };
        for pattern in &patterns {
            if !all.insert(pattern.clone()) {
                return broken("lanes", format!("name `{pattern}` twice"));
            }
        }
        if all.len() > MAX_CALLABLES {
            return broken(
                "lanes",
                format!("have more than {MAX_CALLABLES} callables together"),
            );
        }
        offers.push(OfferSpec {
            callables: patterns,
            tenants: tenants.clone(),
        });
    }
    Ok(offers)
}

fn credit(message: v1::WorkCredit) -> WorkFrame {
    let bytes = Some(message.bytes).filter(|bytes| *bytes != 0);
    WorkFrame::Credit {
        lane: message.lane,
        executions: message.executions,
        prefetch: message.prefetch,
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use backlane_engine::command::Report;
    use backlane_engine::rules::access::{Principal, TenantScope};
    use backlane_engine::rules::id::LeaseToken;
    use prost::Message as _;

    use super::*;
    use crate::Reason;
    use crate::fixtures::{ID, acme_only, named, with_context};

    fn frame_as(principal: &Principal, message: Message) -> Result<WorkFrame, ApiError> {
        let bytes = v1::WorkRequest {
            message: Some(message),
        }
        .encode_to_vec();
        with_context(principal, |context| decode_work(&bytes, context))
    }

    fn frame(message: Message) -> Result<WorkFrame, ApiError> {
        frame_as(&Principal::default(), message)
    }

    fn hello() -> v1::WorkHello {
        let held = v1::LeaseRef {
            execution_id: ID.to_string(),
            lease_token: "lt_0_1_2_3".into(),
        };
        v1::WorkHello {
            worker_id: "w1".into(),
            callables: vec!["*".into()],
            held: vec![held],
            ..Default::default()
        }
    }

    #[test]
    fn a_hello_names_the_worker_its_offer_and_its_leases() {
        let token = Some(LeaseToken {
            shard: 0,
            epoch: 1,
            counter: 2,
            random: 3,
        });
        let expected = WorkFrame::Hello {
            worker: "w1".into(),
            offers: vec![OfferSpec {
                callables: ["*".into()].into(),
                tenants: TenantScope::Only(["acme".into()].into()),
            }],
            duration_ms: 30_000,
            held: vec![Held { id: ID, token }],
        };
        assert_eq!(
            Ok(expected),
            frame_as(&acme_only(), Message::Hello(hello()))
        );
    }

    type Change = fn(&mut v1::WorkHello);

    #[test]
    fn every_broken_rule_of_a_hello_names_its_field() {
        let broken: [(&str, Change); 5] = [
            ("hello.worker_id", |it| it.worker_id.clear()),
            ("hello.callables", |it| it.callables.clear()),
            ("hello.tenant_ids[0]", |it| {
                it.tenant_ids = vec![String::new()];
            }),
            ("hello.lease_duration_ms", |it| it.lease_duration_ms = 1),
            ("hello.held[0].execution_id", |it| {
                it.held[0].execution_id.clear();
            }),
        ];
        for (field, change) in broken {
            let mut message = hello();
            change(&mut message);
            let refused = named(frame(Message::Hello(message)));
            assert_eq!(format!("INVALID_ARGUMENT {field}"), refused);
        }
        let other = v1::WorkHello {
            tenant_ids: vec!["other".into()],
            ..hello()
        };
        let denied = frame_as(&acme_only(), Message::Hello(other)).unwrap_err();
        assert_eq!(Reason::PermissionDenied, denied.reason());
    }

    fn lane(callables: &[&str]) -> v1::WorkLane {
        v1::WorkLane {
            callables: callables.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn each_lane_of_a_hello_has_an_offer_and_the_first_may_be_empty() {
        let message = v1::WorkHello {
            callables: vec![],
            lanes: vec![lane(&["mail.send"]), lane(&["llm.*", "report"])],
            ..hello()
        };
        let Ok(WorkFrame::Hello { offers, .. }) = frame_as(&acme_only(), Message::Hello(message))
        else {
            panic!()
        };
        let names: Vec<Vec<&str>> = offers
            .iter()
            .map(|offer| offer.callables.iter().map(AsRef::as_ref).collect())
            .collect();
        let expected: [&[&str]; 3] = [&[], &["mail.send"], &["llm.*", "report"]];
        assert_eq!(expected.to_vec(), names);
        let acme = TenantScope::Only(["acme".into()].into());
        assert!(offers.iter().all(|offer| offer.tenants == acme));
    }

    #[test]
    fn every_broken_rule_of_a_lane_names_its_field() {
        let many = |lane: usize| v1::WorkLane {
            callables: (0..1_000).map(|at| format!("c{lane}.{at}")).collect(),
        };
        let broken = [
            ("hello.lanes[1].callables", vec![lane(&["a"]), lane(&[])]),
            ("hello.lanes[0].callables[0]", vec![lane(&["a b"])]),
            ("hello.lanes", vec![lane(&["a"]), lane(&["a"])]),
            ("hello.lanes", vec![lane(&["*"])]),
            ("hello.lanes", (0..10).map(many).collect()),
            ("hello.lanes", vec![lane(&["a"]); 5_001]),
        ];
        for (field, lanes) in broken {
            let message = v1::WorkHello { lanes, ..hello() };
            let refused = named(frame(Message::Hello(message)));
            assert_eq!(format!("INVALID_ARGUMENT {field}"), refused);
        }
    }

    #[test]
    fn credit_of_zero_bytes_is_unbounded() {
        let credit = |bytes| {
            frame(Message::Credit(v1::WorkCredit {
                executions: 3,
                bytes,
                lane: 2,
                prefetch: 5,
            }))
        };
        let expected = |bytes| {
            Ok(WorkFrame::Credit {
                lane: 2,
                executions: 3,
                prefetch: 5,
                bytes,
            })
        };
        assert_eq!(expected(None), credit(0));
        assert_eq!(expected(Some(9)), credit(9));
    }

    #[test]
    fn messages_without_content_are_told_apart() {
        assert_eq!(
            Ok(WorkFrame::Heartbeat),
            frame(Message::Heartbeat(v1::WorkHeartbeat {}))
        );
        assert_eq!(
            Ok(WorkFrame::Drain),
            frame(Message::Drain(v1::WorkDrain {}))
        );
        let none = v1::WorkAcknowledge { leases: vec![] };
        assert_eq!(
            Ok(WorkFrame::Acknowledge(vec![])),
            frame(Message::Acknowledge(none))
        );
        let empty = with_context(&Principal::default(), |context| decode_work(&[], context));
        assert_eq!("INVALID_ARGUMENT message", named(empty));
    }

    fn progress(fraction: f64, message: String) -> Message {
        let report = v1::ProgressReport {
            execution_id: ID.to_string(),
            lease_token: "lt_0_1_2_3".into(),
            fraction: Some(fraction),
            message,
        };
        let reports = vec![report];
        Message::Progress(v1::ReportProgressRequest { reports })
    }

    #[test]
    fn a_progress_that_breaks_a_rule_ends_the_stream_and_names_the_field() {
        let Ok(WorkFrame::Progress(reports)) = frame(progress(0.4, "text".into())) else {
            panic!()
        };
        assert_eq!(
            (Some(0.4), "text"),
            (reports[0].1.fraction, &*reports[0].1.message)
        );
        let refused = named(frame(progress(1.5, String::new())));
        assert_eq!("INVALID_ARGUMENT progress.reports[0].fraction", refused);
        let refused = named(frame(progress(1.0, "x".repeat(1_025))));
        assert_eq!("TOO_LARGE progress.reports[0].message", refused);
    }

    #[test]
    fn reports_are_read_as_in_the_unary_calls() {
        let releases = hello().held;
        let Ok(WorkFrame::Report(items)) = frame(Message::Release(v1::ReleaseRequest { releases }))
        else {
            panic!()
        };
        assert_eq!(Report::Released, items[0].as_ref().unwrap().1);
        let none = v1::CompleteRequest { results: vec![] };
        let refused = named(frame(Message::Complete(none)));
        assert_eq!("INVALID_ARGUMENT complete.results", refused);
        let leases = vec![hello().held.remove(0); 1_001];
        let many = v1::WorkAcknowledge { leases };
        let refused = named(frame(Message::Acknowledge(many)));
        assert_eq!("INVALID_ARGUMENT acknowledge.leases", refused);
    }
}
