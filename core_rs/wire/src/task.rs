//! Task records: the request for one, and its form in the reply.
//!
//! Owns the encoding of `v1.TaskRecord`. Refuses to know how the engine derives the record from an
//! execution.

use backlane_engine::row::EndingRow;
use backlane_engine::task::TaskRecord;

use crate::context::Context;
use crate::error::ApiError;
use crate::fields;
use crate::generated::backlane::v1;
use crate::query::{Named, visible};
use crate::record::{Parts, Standing};
use crate::row::payload::HeadView;
use crate::scan::Fields;
use crate::{DecodeError, json, put};

/// Reads and checks a `GetTaskRecordRequest`.
///
/// # Errors
/// [`ApiError`] naming the broken field, or saying that the caller can see no such execution.
pub fn decode_get_task_record(bytes: &[u8], context: &mut Context<'_>) -> Result<Named, ApiError> {
    let message: v1::GetTaskRecordRequest = fields::message(bytes, context.limits)?;
    let (tenant, id) = (&message.tenant_id, &message.execution_id);
    Ok(visible(tenant, id, context.principal)?)
}

/// Encodes the `v1.TaskRecord` of an execution.
///
/// # Errors
/// [`DecodeError`] where the payload is malformed.
pub fn task_record(parts: &Parts<'_>) -> Result<Vec<u8>, DecodeError> {
    let made = HeadView::of(parts.head)?;
    let last_error = parts.last_error.map(|error| &*error.message);
    let record = match parts.standing {
        Standing::Living(living) => TaskRecord::of_living(living, last_error),
        Standing::Ended(ending) => of_ending(ending, &made, last_error),
    };
    let mut out = Vec::new();
    put_record(&mut out, &record);
    put_metadata(&mut out, made.metadata)?;
    Ok(out)
}

fn of_ending(ending: &EndingRow, made: &HeadView<'_>, last_error: Option<&str>) -> TaskRecord {
    TaskRecord::of_ending(ending, made.queued_at_ms, last_error)
}

fn put_record(out: &mut Vec<u8>, record: &TaskRecord) {
    put::text(out, 1, &record.id.to_string());
    put::uint(out, 2, record.state as u32);
    put::uint(out, 3, record.attempts);
    put::uint(out, 4, record.created_at_ms);
    put::uint(out, 5, record.updated_at_ms);
    put::some_uint(out, 6, record.started_at_ms);
    put::some_uint(out, 7, record.finished_at_ms);
    if let Some(output) = &record.output {
        put::bytes(out, 8, output);
    }
    put::some_text(out, 9, record.error.as_deref());
}

/// Writes the values of the metadata as texts. The metadata is encoded as in a record.
fn put_metadata(out: &mut Vec<u8>, metadata: &[u8]) -> Result<(), DecodeError> {
    for field in Fields::of(metadata) {
        let entry = field.and_then(|(_, wire)| json::entry(wire.bytes()));
        let malformed = |malformed| DecodeError::malformed("PayloadHead.metadata", &malformed);
        let (key, value) = entry.map_err(malformed)?;
        let text = json::text(value)?;
        put::message(out, 10, |out| {
            put::text(out, 1, key);
            put::text(out, 2, &text);
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
