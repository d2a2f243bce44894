//! The one door for unary calls: bytes and a method in, a checked call out.
//!
//! Owns the list of calls. Refuses to know how a single message is checked: `enqueue.rs`,
//! `query.rs` and `worker.rs` do.

use std::sync::Arc;

use backlane_engine::command::{Held, OfferSpec, Report};
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::{Birth, ExecutionId};
use backlane_engine::rules::limits::Limits;
use backlane_engine::rules::status::Status;

use crate::enqueue::{self, EnqueueBatch, EnqueueItem};
use crate::error::ApiError;
use crate::fields::{Checked, broken};
use crate::{Method, query, worker};

/// What a check rests on besides the message.
pub struct Context<'a> {
    /// The server's limits.
    pub limits: &'a Limits,
    /// Who calls.
    pub principal: &'a Principal,
    /// What makes new ids unguessable.
    pub random: &'a mut dyn FnMut() -> u64,
}

/// How much of a record an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Without input, context, metadata and output.
    Basic = 1,
    /// All of it.
    Full = 2,
}

impl View {
    /// The view of that number on the wire.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Basic, Self::Full]
            .into_iter()
            .find(|view| *view as u32 == number)
    }
}

/// A unary call whose fields were checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Makes one execution.
    Enqueue(Box<EnqueueItem>),
    /// Makes all items or none.
    EnqueueBatch(EnqueueBatch),
    /// Makes one execution and waits for its end.
    Run {
        /// What to make.
        item: Box<EnqueueItem>,
        /// How long to wait.
        timeout_ms: u64,
    },
    /// Reads one execution.
    Get {
        /// Whose.
        tenant: Box<str>,
        /// Which.
        id: ExecutionId,
        /// How much of it.
        view: View,
    },
    /// Lists executions, newest first.
    List {
        /// Whose.
        tenant: Box<str>,
        /// Those that stand there; `None` for all.
        status: Option<Status>,
        /// So many at most.
        page_size: usize,
        /// Those born before; `None` for the newest.
        before: Option<Birth>,
        /// How much of each.
        view: View,
    },
    /// Waits for ends.
    Wait(WaitCall),
    /// Ends an execution, or asks its holder to stop.
    Cancel {
        /// Whose.
        tenant: Box<str>,
        /// Which.
        id: ExecutionId,
    },
    /// Shows the next executions.
    Peek {
        /// Whose.
        tenant: Box<str>,
        /// So many at most.
        limit: usize,
        /// Those of these callables, of that tenant alone.
        offer: OfferSpec,
    },
    /// Counts unfinished executions.
    GetQueueStats {
        /// Whose.
        tenant: Box<str>,
    },
    /// Takes executions.
    Lease(LeaseCall),
    /// Starts lease periods anew.
    RenewLeases {
        /// Which leases. An error stands for an item that could not be read.
        items: Vec<Result<Held, ApiError>>,
        /// `None` keeps each lease's own.
        duration_ms: Option<u64>,
    },
    /// Complete, Fail and Release: what became of leases.
    Report {
        /// Which leases, and what. An error stands for an item that could not be read.
        items: Vec<Result<(Held, Report), ApiError>>,
    },
}

/// Waits for some of a set to end.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitCall {
    /// Whose.
    pub tenant: Box<str>,
    /// Which. An error stands for an id that cannot be waited for, and counts as ended.
    pub ids: Vec<Result<ExecutionId, ApiError>>,
    /// How many must have ended.
    pub needed: usize,
    /// How long to wait.
    pub timeout_ms: u64,
}

/// Takes the best executions on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseCall {
    /// Who.
    pub worker: Arc<str>,
    /// What it offers, narrowed to what its caller may.
    pub offer: OfferSpec,
    /// So many at most.
    pub max: usize,
    /// The lease period.
    pub duration_ms: u64,
    /// How long to wait for the first.
    pub wait_ms: u64,
}

/// Reads and checks the request of a unary call.
///
/// # Errors
/// [`ApiError`] naming the field where a rule is broken, or that the caller may not ask.
pub fn decode_call(
    method: Method,
    bytes: &[u8],
    context: &mut Context<'_>,
) -> Result<Call, ApiError> {
    decode(method, bytes, context).map_err(ApiError::from)
}

fn decode(method: Method, bytes: &[u8], context: &mut Context<'_>) -> Checked<Call> {
    match method {
        Method::Enqueue => enqueue::single(bytes, context),
        Method::EnqueueBatch => enqueue::batch(bytes, context),
        Method::Run => enqueue::run(bytes, context),
        Method::Get => query::get(bytes, context),
        Method::List => query::list(bytes, context),
        Method::Wait => query::wait(bytes, context),
        Method::Cancel => query::cancel(bytes, context),
        Method::Peek => query::peek(bytes, context),
        Method::GetQueueStats => query::queue_stats(bytes, context),
        Method::Lease => worker::lease(bytes, context),
        Method::RenewLeases => worker::renew(bytes, context),
        Method::Complete => worker::complete(bytes, context),
        Method::Fail => worker::fail(bytes, context),
        Method::Release => worker::release(bytes, context),
        Method::EnqueueStream | Method::Work => broken("request", "must be sent over a stream"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::fixtures::{call_as, named, with_context};
    use crate::{decode_enqueue_stream, decode_work};

    #[test]
    fn a_stream_has_no_single_request() {
        for method in Method::ALL.into_iter().filter(|method| method.is_stream()) {
            let refused = named(call_as(&Principal::default(), method, &[]));
            assert_eq!("INVALID_ARGUMENT request", refused);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for method in Method::ALL {
            let refused = named(call_as(&Principal::default(), method, &[0xFF]));
            assert_eq!("INVALID_ARGUMENT request", refused);
        }
    }

    #[test]
    fn absurdly_many_items_are_refused_before_they_take_memory() {
        let items = [0x12, 0x00].repeat(1 << 20);
        let releases = [0x0A, 0x00].repeat(1 << 20);
        let principal = Principal::default();
        for (method, bytes) in [(Method::EnqueueBatch, &items), (Method::Release, &releases)] {
            assert_eq!(
                "INVALID_ARGUMENT request",
                named(call_as(&principal, method, bytes))
            );
        }
        // Nor does a group in front hide them.
        let hidden = [&[0x7B, 0x7C][..], &items].concat();
        let refused = named(call_as(&principal, Method::EnqueueBatch, &hidden));
        assert_eq!("INVALID_ARGUMENT request", refused);
        let mut work = vec![0x3A, 0x80, 0x80, 0x80, 0x01];
        work.extend(releases);
        let refused = with_context(&principal, |context| decode_work(&work, context));
        assert_eq!("INVALID_ARGUMENT request", named(refused));
    }

    proptest! {
        #[test]
        fn broken_requests_are_refused_or_mean_something(place: usize, byte: u8) {
            let principal = Principal::default();
            let enqueue = crate::record::tests::rich().encode_to_vec();
            let fail = crate::failure::tests::rich().encode_to_vec();
            for (method, mut bytes) in [(Method::Enqueue, enqueue), (Method::Fail, fail)] {
                prop_assert!(call_as(&principal, method, &bytes).is_ok());
                let place = place % bytes.len();
                bytes[place] = byte;
                let _ = call_as(&principal, method, &bytes);
            }
        }

        #[test]
        fn any_bytes_are_a_request_or_refused(bytes: Vec<u8>) {
            let principal = Principal::default();
            for method in Method::ALL {
                let _ = call_as(&principal, method, &bytes);
            }
            let _ = with_context(&principal, |context| decode_work(&bytes, context));
            let _ = with_context(&principal, |context| decode_enqueue_stream(&bytes, context));
        }
    }
}
