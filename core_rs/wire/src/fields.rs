//! The checks that single fields share.
//!
//! Owns the kinds of faults and how a field's path grows from the field outwards. Refuses to know
//! which message a field belongs to.

use std::ops::RangeInclusive;

use backlane_engine::error::{Invalid, Refusal};
use backlane_engine::rules::id::check_key;
use backlane_engine::rules::limits::Limits;
use prost::{Message, Name};
use prost_types::{Duration, Timestamp};

use crate::error::ApiError;
use crate::scan::{Fields, Malformed};
use crate::unreadable;
use crate::value::RawValue;

/// The last second of the year 9999, the latest that a Timestamp can hold.
const LAST_SECOND: i64 = 253_402_300_799;
/// Fields that a request may have in addition to the items of a batch: mostly entries of maps.
const SPARE_FIELDS: usize = 32_768;
const NANOS: RangeInclusive<i32> = 0..=999_999_999;

/// Why a request, or an item of it, is refused before the engine sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A field breaks its rule.
    Broken(Invalid),
    /// A field is over a size limit. Both numbers are bytes.
    Large {
        field: String,
        limit: usize,
        size: usize,
    },
    /// The caller may not ask for this.
    Refused(Refusal),
}

/// The checked value of a field, or the fault that refuses it.
pub(crate) type Checked<T> = Result<T, Fault>;

impl Fault {
    /// Adds `outer` in front of the field's path: `outer` is the field that holds this message.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        match &mut self {
            Self::Broken(Invalid { field, .. }) | Self::Large { field, .. } => {
                field.insert(0, '.');
                field.insert_str(0, outer);
            }
            Self::Refused(_) => {}
        }
        self
    }

    /// Adds `list[index]` in front of the field's path: `list` is the repeated field that holds
    /// this message.
    pub(crate) fn in_item(self, list: &str, index: usize) -> Self {
        self.within(&format!("{list}[{index}]"))
    }
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Self::Broken(invalid)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Broken(invalid) => invalid.into(),
            Fault::Large { field, limit, size } => Self::too_large(&field, limit, size),
            Fault::Refused(refusal) => refusal.into(),
        }
    }
}

/// Refuses a field for breaking `rule`.
pub(crate) fn broken<T>(field: &str, rule: impl Into<String>) -> Checked<T> {
    Err(Invalid::new(field, rule).into())
}

/// Reads a request, after a check of its number of fields.
pub(crate) fn message<M: Message + Name + Default>(bytes: &[u8], limits: &Limits) -> Checked<M> {
    few(fields_in(bytes)?, limits)?;
    M::decode(bytes).map_err(|_| unreadable::fault(&M::full_name(), bytes).into())
}

/// Refuses a request with far too many fields before it is decoded: an empty item takes two bytes
/// of a message, and hundreds of bytes of memory.
pub(crate) fn few(fields: usize, limits: &Limits) -> Checked<()> {
    let most = limits.max_batch_items.saturating_add(SPARE_FIELDS);
    if fields <= most {
        return Ok(());
    }
    broken("request", format!("must hold at most {most} fields"))
}

/// Counts the fields of a message, without the fields of nested messages.
pub(crate) fn fields_in(message: &[u8]) -> Checked<usize> {
    // Groups are refused: a decoder would skip them, and they could hide fields from the count.
    let count = |count, field: Result<_, Malformed>| field.map(|_| count + 1);
    let counted = Fields::of(message).try_fold(0, count);
    counted.or_else(|problem| broken("request", format!("is {problem}")))
}

/// Refuses a field for breaking `rule`, unless `holds` is true.
pub(crate) fn must(holds: bool, field: &str, rule: &str) -> Checked<()> {
    if holds { Ok(()) } else { broken(field, rule) }
}

/// Refuses a field of more than `limit` bytes.
pub(crate) fn size(field: &str, size: usize, limit: usize) -> Checked<()> {
    if size <= limit {
        return Ok(());
    }
    Err(Fault::Large {
        field: field.to_owned(),
        limit,
        size,
    })
}

/// Refuses a number outside of its range.
pub(crate) fn within<N>(field: &str, number: N, range: &RangeInclusive<N>) -> Checked<N>
where
    N: PartialOrd + std::fmt::Display,
{
    if range.contains(&number) {
        return Ok(number);
    }
    broken(
        field,
        format!("must be {} to {}", range.start(), range.end()),
    )
}

/// A count. Zero means `default`; more than `most` is refused.
pub(crate) fn count(field: &str, asked: u32, default: usize, most: usize) -> Checked<usize> {
    match usize::try_from(asked).unwrap_or(usize::MAX) {
        0 => Ok(default),
        count => within(field, count, &(1..=most)),
    }
}

/// Refuses a list that is empty or longer than `most`.
pub(crate) fn filled<T>(field: &str, list: &[T], most: usize) -> Checked<()> {
    if (1..=most).contains(&list.len()) {
        return Ok(());
    }
    broken(field, format!("must hold 1 to {most} items"))
}

/// The value of an enum; `None` where the value is unspecified.
pub(crate) fn choice<T>(
    field: &str,
    number: i32,
    from_number: impl Fn(u32) -> Option<T>,
) -> Checked<Option<T>> {
    if number == 0 {
        return Ok(None);
    }
    match u32::try_from(number).ok().and_then(from_number) {
        Some(value) => Ok(Some(value)),
        None => broken(field, format!("has no value {number}")),
    }
}

/// A time in milliseconds since the epoch. Parts of a millisecond round up, so that nothing happens
/// early.
pub(crate) fn instant(field: &str, at: Option<Timestamp>) -> Checked<Option<u64>> {
    let Some(Timestamp { seconds, nanos }) = at else {
        return Ok(None);
    };
    if !(0..=LAST_SECOND).contains(&seconds) || !NANOS.contains(&nanos) {
        return broken(field, "must be a timestamp of the years 1970 to 9999");
    }
    Ok(milliseconds(seconds, nanos))
}

/// A wait in milliseconds. An absent duration means the longest wait, `most`.
pub(crate) fn wait(field: &str, asked: Option<Duration>, most: u64) -> Checked<u64> {
    let Some(Duration { seconds, nanos }) = asked else {
        return Ok(most);
    };
    let is_valid = seconds >= 0 && NANOS.contains(&nanos);
    match milliseconds(seconds, nanos) {
        Some(ms) if is_valid && ms <= most => Ok(ms),
        _ => broken(
            field,
            format!("must be a duration of 0 to {} seconds", most / 1_000),
        ),
    }
}

fn milliseconds(seconds: i64, nanos: i32) -> Option<u64> {
    let seconds = u64::try_from(seconds).ok()?;
    let nanos = u64::try_from(nanos).ok()?;
    seconds
        .checked_mul(1_000)?
        .checked_add(nanos.div_ceil(1_000_000))
}

/// Refuses a value that is not JSON, is over `limit` bytes, or nests deeper than `depth`.
pub(crate) fn json(field: &str, value: &RawValue, limit: usize, depth: usize) -> Checked<()> {
    size(field, value.as_bytes().len(), limit)?;
    value
        .check(depth)
        .or_else(|problem| broken(field, problem.to_string()))
}

/// Refuses text that is longer than a short text may be.
pub(crate) fn short(field: &str, text: Option<&str>) -> Checked<()> {
    const MOST: usize = 256;
    size(field, text.map_or(0, str::len), MOST)
}

/// Refuses text whose length in bytes is outside of a range.
pub(crate) fn text_of(field: &str, text: &str, bytes: RangeInclusive<usize>) -> Checked<()> {
    if bytes.contains(&text.len()) {
        return Ok(());
    }
    let (least, most) = (bytes.start(), bytes.end());
    broken(
        field,
        match least {
            0 => format!("must have at most {most} bytes"),
            _ => format!("must have {least} to {most} bytes"),
        },
    )
}

/// A request id or dedup key; `None` where the key is empty.
pub(crate) fn some_key(field: &str, key: &str, most: usize) -> Checked<Option<Box<str>>> {
    if key.is_empty() {
        return Ok(None);
    }
    check_key(field, key, most)?;
    Ok(Some(key.into()))
}
