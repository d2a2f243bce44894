//! Pieces of a record: the rows that it is made of, from memory or from the store.
//!
//! Owns the state of each row that a record needs: unread, read, absent or damaged. Refuses
//! to know which rows a record needs.

use backlane_engine::error::Refusal;
use backlane_engine::row::{AttemptRow, EndingRow};
use backlane_engine::rules::id::Birth;
use backlane_store::{Family, Key, Lookup, Stored};
use backlane_wire::{ApiError, DecodeError, row};

use super::desk::Desk;

/// A row that a reply may need.
#[derive(Debug)]
pub(super) enum Piece<T> {
    /// The row is not needed.
    Unneeded,
    /// The row must be read.
    Unread,
    /// The row was read.
    Read(T),
    /// The row does not exist.
    Absent,
    /// The row is damaged. The text names the damage.
    Damaged(Box<str>),
}

impl<T> Piece<T> {
    /// A row that is needed, taken from memory if it is there.
    pub(super) fn of(
        desk: &Desk,
        family: &'static Family,
        key: Key,
        read: impl FnOnce(&Stored) -> Result<T, DecodeError>,
    ) -> Self {
        let stored = desk.cache.get(family, key);
        stored.map_or(Self::Unread, |stored| Self::from_stored(stored, read))
    }

    pub(super) fn from_stored(
        stored: &Stored,
        read: impl FnOnce(&Stored) -> Result<T, DecodeError>,
    ) -> Self {
        match read(stored) {
            Ok(row) => Self::Read(row),
            Err(error) => Self::Damaged(error.to_string().into()),
        }
    }

    pub(super) fn fill(
        &mut self,
        lookup: Option<&Lookup>,
        read: impl FnOnce(&Stored) -> Result<T, DecodeError>,
    ) {
        if matches!(self, Self::Unread) {
            *self = match lookup {
                Some(Lookup::Found(stored)) => Self::from_stored(stored, read),
                Some(Lookup::Damaged(damage)) => Self::Damaged(damage.to_string().into()),
                Some(Lookup::Absent) | None => Self::Absent,
            };
        }
    }

    pub(super) const fn is_unread(&self) -> bool {
        matches!(self, Self::Unread)
    }
}

pub(super) fn read_ending(birth: Birth, stored: &Stored) -> Result<Box<EndingRow>, DecodeError> {
    let tenant = stored.listing.as_ref().map(|listing| &*listing.tenant);
    let (tenant, output) = (tenant.unwrap_or_default(), stored.body.clone());
    row::ending::read(birth, tenant, &stored.head, output).map(Box::new)
}

pub(super) fn read_attempt(
    birth: Birth,
    ordinal: u32,
    stored: &Stored,
) -> Result<Box<AttemptRow>, DecodeError> {
    row::attempt::read(birth, ordinal, &stored.head).map(Box::new)
}

/// The ending of an execution, or the damage that makes it unreadable.
pub(super) fn ending_of(
    birth: Birth,
    lookup: Option<&Lookup>,
) -> Result<Option<EndingRow>, Box<str>> {
    let mut piece = Piece::Unread;
    piece.fill(lookup, |stored| read_ending(birth, stored));
    match piece {
        Piece::Read(ending) => Ok(Some(*ending)),
        Piece::Damaged(what) => Err(what),
        Piece::Unneeded | Piece::Unread | Piece::Absent => Ok(None),
    }
}

/// Why a record cannot be shown.
#[derive(Debug)]
pub(super) enum Unshown {
    /// Retention removed the execution between the decision and the reply.
    Removed,
    /// A row of the execution is damaged.
    Damaged(Box<str>),
}

impl From<DecodeError> for Unshown {
    fn from(error: DecodeError) -> Self {
        Self::Damaged(error.to_string().into())
    }
}

impl Unshown {
    /// The error of a reply that shows only this execution. Damage is logged.
    pub(super) fn error(self, desk: &mut Desk, birth: Birth) -> ApiError {
        match self {
            // Retention removed the record between the decision and this reply.
            Self::Removed => ApiError::from(Refusal::ExecutionNotFound {
                execution_id: format!("number {birth}"),
                tenant: String::new(),
            }),
            Self::Damaged(what) => {
                desk.notice(format!("execution number {birth}: {what}"));
                damaged(&format!("execution number {birth}"), &what)
            }
        }
    }
}

/// The error of a reply that needs damaged data.
pub(super) fn damaged(subject: &str, what: &str) -> ApiError {
    ApiError::from(Refusal::DataDamaged {
        subject: subject.to_owned(),
        what: what.to_owned(),
    })
}
