//! Pages: the records of one reply, as many as it can hold.
//!
//! Owns the limit on their bytes. Refuses to know what is on a page, and where the next one begins.

use super::show::MAX_REPLY_BYTES;

/// Bytes of the framing of a record.
const FRAMING_BYTES: usize = 8;

/// The records of a page that is being filled.
#[derive(Default)]
pub(super) struct Records {
    pub(super) all: Vec<Vec<u8>>,
    bytes: usize,
}

impl Records {
    /// Adds a record, unless the reply would become too large. The first record always fits.
    /// Returns whether it was added.
    pub(super) fn add(&mut self, record: Vec<u8>) -> bool {
        let bytes = self.bytes + record.len() + FRAMING_BYTES;
        let fits = bytes <= MAX_REPLY_BYTES || self.all.is_empty();
        if fits {
            self.bytes = bytes;
            self.all.push(record);
        }
        fits
    }
}
