//! After a crash: every acknowledged execution is there, to the byte.

use backlane_store::Reader;
use backlane_wire::{Ending, Standing, View, record};
use prost::Message as _;

use crate::api::v1;

use super::record::{check_identical, parsed};
use super::{Checked, Ledger, LogCheck, Violation, broken};

const EXISTS: &str = "an acknowledged enqueue exists, byte-identical";

/// Checks every acknowledged enqueue against the store, but those that retention may have
/// removed: what ended before `expired_before_ms`.
///
/// # Errors
/// The first that is not as it was made.
pub fn survives(
    ledger: &Ledger,
    log: &LogCheck,
    reader: &mut dyn Reader,
    expired_before_ms: u64,
) -> Checked {
    for (id, made_with) in ledger.acknowledged() {
        let birth = parsed(id)?.birth;
        let end = log.end_of(birth);
        if end.is_some_and(|(at_ms, _)| at_ms <= expired_before_ms) {
            continue;
        }
        let shown = shown(log, reader, birth)?
            .ok_or_else(|| broken(EXISTS, format!("{id} is gone; it ended {end:?}")))?;
        if shown.execution_id != *id {
            return Err(broken(
                EXISTS,
                format!("{id} became {}", shown.execution_id),
            ));
        }
        check_identical(made_with, &shown)?;
        ledger.check_end(&shown)?;
    }
    Ok(())
}

fn shown(
    log: &LogCheck,
    reader: &mut dyn Reader,
    birth: u64,
) -> Result<Option<v1::BackgroundExecution>, Violation> {
    let payload = reader
        .payloads(&[birth])
        .map_err(|error| broken(EXISTS, error))?;
    let finished = reader
        .finished(&[birth])
        .map_err(|error| broken(EXISTS, error))?;
    let Some(payload) = payload.into_iter().next().flatten() else {
        return Ok(None);
    };
    let shard = log.durable().shard();
    let encoded = if let Some(living) = log.durable().living(birth) {
        record(
            birth,
            shard,
            &payload,
            Standing::Living(&living),
            View::Full,
        )
    } else {
        let Some(row) = finished.into_iter().next().flatten() else {
            return Ok(None);
        };
        let ending = Ending::decode(&row.ending).map_err(|error| broken(EXISTS, error))?;
        record(birth, shard, &payload, Standing::Ended(&ending), View::Full)
    };
    let encoded = encoded.map_err(|error| broken(EXISTS, error))?;
    let shown = v1::BackgroundExecution::decode(&*encoded);
    shown.map(Some).map_err(|error| broken(EXISTS, error))
}
