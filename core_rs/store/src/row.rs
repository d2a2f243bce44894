//! One row as a commit carries it: its family, its key and what happens to it.
//!
//! Owns the check that a row fits its family's declaration. Refuses to know how rows are stored.

use std::fmt;
use std::sync::Arc;

use crate::{Family, KeyKind, Mode, Retention, StoreError};

/// Immutable bytes, shared instead of copied.
pub type Bytes = Arc<[u8]>;

/// Numbers of entities stay below this bound, because databases store signed numbers.
const NUMBER_BOUND: u64 = 1 << 63;

/// The key of a row. Each variant belongs to the [`KeyKind`] of the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The number of an entity, below 2^63.
    Number(u64),
    /// The number of an entity, below 2^63, and the row's position within the entity.
    Ordinal(u64, u32),
    /// A tenant and a name.
    Name(Box<str>, Box<str>),
    /// A digest within an hour.
    Digest {
        /// Hours since the epoch. The hour decides when the row is dropped.
        hour: u32,
        /// The digest.
        digest: [u8; 16],
    },
}

impl Key {
    /// The kind of this key.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Number(_) => KeyKind::Number,
            Self::Ordinal(..) => KeyKind::Ordinal,
            Self::Name(..) => KeyKind::Name,
            Self::Digest { .. } => KeyKind::Digest,
        }
    }

    /// The number of the entity that the row belongs to, if the key has one.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) | Self::Ordinal(number, _) => Some(*number),
            Self::Name(..) | Self::Digest { .. } => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Ordinal(number, ordinal) => write!(f, "{number}/{ordinal}"),
            Self::Name(tenant, name) => write!(f, "{tenant}/{name}"),
            Self::Digest { hour, digest } => {
                write!(f, "{:032x} of hour {hour}", u128::from_be_bytes(*digest))
            }
        }
    }
}

/// One change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The family of the row.
    pub family: &'static Family,
    /// The key of the row.
    pub key: Key,
    /// What happens to the row.
    pub change: Change,
}

/// What happens to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The row is written.
    Put(Put),
    /// The row is deleted. Deleting a row that does not exist is no error.
    Delete,
    /// The entity of the row's number is removed, as at the end of its retention period: its rows
    /// in all families of the class, and its entries of expiry. Only in [`Retention::Starts`]
    /// families. A commit puts no row of the entity after this change.
    Erase,
}

/// The content of a row.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Put {
    /// The version of the row, in [`Mode::Replace`] families; 0 in the others.
    pub version: u32,
    /// The instant from which the retention period counts, in milliseconds since the epoch, in
    /// [`Retention::Starts`] families; 0 in the others.
    pub at_ms: u64,
    /// What the row is listed by; present exactly in listed families.
    pub listing: Option<Listing>,
    /// The part of the row that can be read without the body.
    pub head: Bytes,
    /// The rest of the row, if there is any.
    pub body: Option<Bytes>,
}

/// What a row of a listed family is listed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The tenant that owns the row.
    pub tenant: Arc<str>,
    /// A number that the store only compares.
    pub tag: u8,
}

impl Row {
    /// Checks that the row fits its family's declaration and that the store has the family.
    pub(crate) fn check(&self, families: &[&'static Family]) -> Result<(), StoreError> {
        let number = self.family.number;
        let known = families.iter().any(|family| family.number == number);
        match self.misfit().or((!known).then_some(UNKNOWN_FAMILY)) {
            None => Ok(()),
            Some(what) => Err(StoreError::Misfit {
                family: self.family.name,
                key: self.key.to_string(),
                what,
            }),
        }
    }

    fn misfit(&self) -> Option<&'static str> {
        let kind_differs = self.key.kind() != self.family.key;
        let number_is_large = self.key.number().is_some_and(|n| n >= NUMBER_BOUND);
        match &self.change {
            _ if kind_differs => Some("the key is not of the family's kind"),
            _ if number_is_large => Some("the number must be below 2^63"),
            Change::Delete if self.family.key == KeyKind::Digest => {
                Some("rows of digest families cannot be deleted")
            }
            Change::Erase if self.family.starts().is_none() => {
                Some("only entities of Starts families can be erased")
            }
            Change::Erase if self.family.key != KeyKind::Number => {
                Some("an entity is erased by its number")
            }
            Change::Delete | Change::Erase => None,
            Change::Put(put) => put.misfit(self.family),
        }
    }
}

const UNKNOWN_FAMILY: &str = "this store was opened without the family";

impl Put {
    fn misfit(&self, family: &Family) -> Option<&'static str> {
        let has_version = self.version != 0 && family.mode == Mode::Once;
        let has_time = self.at_ms != 0 && !matches!(family.retention, Retention::Starts(_));
        if has_version {
            Some("only rows of Replace families have a version")
        } else if has_time {
            Some("only rows of Starts families have at_ms")
        } else if self.listing.is_some() != family.listed {
            Some("a listing must be present exactly in listed families")
        } else {
            None
        }
    }

    /// Bytes of the row's content.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.body.as_ref().map_or(0, |body| body.len())
    }
}
