//! The outcomes of reading a row.
//!
//! Owns the difference between an absent row and a damaged one. Refuses to decide what follows
//! from damage: the runtime does.

use std::fmt;

use crate::{Bytes, Listing};

/// The outcome of looking up one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The row exists and its checksum is right.
    Found(Stored),
    /// The row does not exist.
    Absent,
    /// The row, or the part of the database that would tell whether it exists, is damaged.
    Damaged(Damage),
}

/// A row as a reader found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The version of the row; 0 in families without versions.
    pub version: u32,
    /// What the row is listed by, in listed families.
    pub listing: Option<Listing>,
    /// The head of the row.
    pub head: Bytes,
    /// The body of the row; `None` if the row has no body or only the head was asked for.
    pub body: Option<Bytes>,
}

/// Where stored data is damaged, and how that showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The name of the family.
    pub family: &'static str,
    /// The key of the row, or the range of keys.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, key, what } = self;
        write!(f, "{family} {key} is damaged: {what}")
    }
}

/// Which part of a row to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The head alone. The body is neither read nor checked.
    Head,
    /// The head and the body.
    Whole,
}
