//! Messages up a `Work` stream.
//!
//! Owns their field rules. Refuses to know the stream: which message may come when is its
//! keeper's to say.

use std::sync::Arc;

use backlane_engine::command::{Held, OfferSpec};
use backlane_engine::rules::limits::DEFAULT_LEASE_MS;

use crate::call::Context;
use crate::error::ApiError;
use crate::fields::{self, Checked, broken};
use crate::generated::backlane::v1;
use crate::generated::backlane::v1::work_request::Message;
use crate::worker::{self, Reports};

/// One message up a `Work` stream, its fields checked. Any of them renews all leases.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkFrame {
    /// The first, and only the first.
    Hello {
        /// Who.
        worker: Arc<str>,
        /// What it offers, narrowed to what its caller may.
        offer: OfferSpec,
        /// Silence that loses the leases.
        duration_ms: u64,
        /// Leases that it still holds from an earlier stream.
        held: Vec<Held>,
    },
    /// Room for more leases, added to what is left.
    Credit {
        /// So many.
        executions: u32,
        /// So many encoded bytes; `None` for any.
        bytes: Option<u64>,
    },
    /// These leases arrived.
    Acknowledge(Vec<Held>),
    /// A sign of life.
    Heartbeat,
    /// What became of leases. An error stands for an item that could not be read.
    Report(Reports),
    /// No further leases.
    Drain,
}

/// Reads and checks one message up a `Work` stream.
///
/// # Errors
/// [`ApiError`] where the message as a whole is not taken, which ends the stream.
pub fn decode_work(bytes: &[u8], context: &mut Context<'_>) -> Result<WorkFrame, ApiError> {
    decode(bytes, context).map_err(ApiError::from)
}

fn decode(bytes: &[u8], context: &Context<'_>) -> Checked<WorkFrame> {
    let request: v1::WorkRequest = fields::message(bytes)?;
    let limits = context.limits;
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
    };
    frame.map_err(|fault| fault.within(name))
}

fn hello(message: v1::WorkHello, context: &Context<'_>) -> Checked<WorkFrame> {
    let worker = worker::worker(&message.worker_id)?;
    // A worker may hold more leases than one call may take.
    let most = context.limits.max_batch_items;
    Ok(WorkFrame::Hello {
        worker,
        offer: worker::offer(message.callables, message.tenant_ids, context.principal)?,
        duration_ms: worker::duration(message.lease_duration_ms)?.unwrap_or(DEFAULT_LEASE_MS),
        held: worker::all_held("held", &message.held, most)?,
    })
}

fn credit(message: v1::WorkCredit) -> WorkFrame {
    let bytes = Some(message.bytes).filter(|bytes| *bytes != 0);
    WorkFrame::Credit {
        executions: message.executions,
        bytes,
    }
}
