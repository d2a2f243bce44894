//! The rows of an execution, as a filter asks about them.
//!
//! Owns which row tells which field. A row may be missing: then its fields are not known. Refuses
//! to read rows.

use backlane_engine::fact::{Living, Progress};
use backlane_engine::row::EndingRow;
use backlane_engine::rules::status::{EndReason, Status};

use super::clause::{NameField, NumberField, TimeField};
use super::judge::{Facts, Known};
use crate::DecodeError;
use crate::row::payload::HeadView;
use crate::scan::{Fields, Wire};

/// The rows of an execution that were read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows<'a> {
    status: Option<Status>,
    living: Option<&'a Living>,
    ending: Option<&'a EndingRow>,
    head: Option<HeadView<'a>>,
}

impl<'a> Rows<'a> {
    /// An execution of which only the status is known.
    #[must_use]
    pub fn of_status(status: Status) -> Self {
        Self {
            status: Some(status),
            ..Self::default()
        }
    }

    /// An execution that is unfinished.
    #[must_use]
    pub fn of_living(living: &'a Living) -> Self {
        Self {
            living: Some(living),
            ..Self::of_status(living.progress.phase.status())
        }
    }

    /// An execution that is finished, of which the status may be known, and the ending.
    #[must_use]
    pub fn of_finished(status: Option<Status>, ending: Option<&'a EndingRow>) -> Self {
        Self {
            status: ending.map(|ending| ending.status).or(status),
            ending,
            ..Self::default()
        }
    }

    /// The same execution, with the head of its payload.
    ///
    /// # Errors
    /// [`DecodeError`] where the head is malformed.
    pub fn with_head(self, head: &'a [u8]) -> Result<Self, DecodeError> {
        let head = Some(HeadView::of(head)?);
        Ok(Self { head, ..self })
    }

    /// Time of the enqueue, in milliseconds since the epoch, if it is known.
    #[must_use]
    pub fn queued_at_ms(&self) -> Option<u64> {
        let living = self.living.map(|living| living.queued_at_ms);
        living.or(self.head.map(|head| head.queued_at_ms))
    }

    fn progress(&self) -> Option<&'a Progress> {
        let living = self.living.map(|living| &living.progress);
        living.or(self.ending.map(|ending| &ending.progress))
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

impl Facts for Rows<'_> {
    fn status(&self) -> Option<Status> {
        self.status
    }

    fn reason(&self) -> Known<EndReason> {
        if self.living.is_some() {
            return Some(None);
        }
        self.ending.map(|ending| Some(ending.reason))
    }

    fn name(&self, field: NameField) -> Known<&str> {
        match field {
            NameField::Callable => match (self.living, &self.head) {
                (Some(living), _) => Some(Some(&living.callable)),
                (None, head) => head.as_ref().map(|head| text(head.callable)),
            },
            NameField::Worker => self.progress().map(|progress| {
                let holder = progress.holding.as_ref().map(|holding| &*holding.worker);
                holder.or(progress.last_worker.as_deref())
            }),
            NameField::Parent => self.head.as_ref().map(|head| text(head.parent_id)),
            // No call makes an execution with a trigger_id yet.
            NameField::Trigger => Some(None),
        }
    }

    fn number(&self, field: NumberField) -> Known<u32> {
        match field {
            NumberField::Priority => match (self.living, &self.head) {
                (Some(living), _) => Some(Some(living.priority.into())),
                (None, head) => head.as_ref().map(|head| u32::try_from(head.priority).ok()),
            },
            NumberField::Attempt => self.progress().map(|progress| Some(progress.attempt)),
        }
    }

    fn time(&self, field: TimeField) -> Known<u64> {
        match field {
            TimeField::Queued => self.queued_at_ms().map(Some),
            TimeField::Started => self.progress().map(|progress| progress.started_at_ms),
            TimeField::Completed if self.living.is_some() => Some(None),
            TimeField::Completed => self.ending.map(|ending| Some(ending.ended_at_ms)),
        }
    }

    fn metadata(&self, key: &str) -> Known<&[u8]> {
        let entries = self.head.as_ref()?.metadata;
        Some(value_of(entries, key))
    }
}

/// The value of a key in encoded entries of a map.
fn value_of<'a>(entries: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut entries = Fields::of(entries).filter_map(Result::ok);
    entries.find_map(|(_, entry)| {
        let (mut name, mut value) = (&[][..], &[][..]);
        for (tag, wire) in Fields::of(entry.bytes()).filter_map(Result::ok) {
            match (tag, wire) {
                (1, Wire::Bytes(bytes)) => name = bytes,
                (2, Wire::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        (name == key.as_bytes()).then_some(value)
    })
}
