//! The size of a simulated disk, and who uses it: the store, its reserve, other programs.
//!
//! Owns the arithmetic of the room, with the same rules as a real store. Refuses to know what is
//! written.

use std::path::PathBuf;

use crate::{Headroom, StoreError};

/// The size that headroom reports where no other size was set.
const SIZE_BYTES: u64 = 1 << 40;

/// A disk of a certain size. All numbers are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    size: u64,
    /// The reserve that the store makes while there is room for it.
    reserve: u64,
    /// What stays free of new executions, beside the reserve.
    kept: u64,
    /// The part of the reserve that was not given up.
    held: u64,
    /// What other programs use.
    others: u64,
}

impl Default for Volume {
    fn default() -> Self {
        Self::new(SIZE_BYTES, 0, 0)
    }
}

impl Volume {
    /// A disk of this size, with a reserve, and with bytes beside it that stay free of new
    /// executions.
    #[must_use]
    pub const fn new(size: u64, reserve: u64, kept: u64) -> Self {
        Self {
            size,
            reserve,
            kept,
            held: reserve,
            others: 0,
        }
    }

    /// The bytes that are free while the store uses `used_bytes`.
    const fn free(&self, used_bytes: u64) -> u64 {
        let taken = used_bytes + self.others + self.held;
        self.size.saturating_sub(taken)
    }

    pub(super) fn leave_free(&mut self, free_bytes: u64, used_bytes: u64) {
        self.others = 0;
        self.others = self.free(used_bytes).saturating_sub(free_bytes);
    }

    /// Makes room for more bytes. A part of the reserve is given up if it is needed.
    pub(super) fn make_room(&mut self, bytes: u64, used_bytes: u64) -> Result<(), StoreError> {
        let missing = bytes.saturating_sub(self.free(used_bytes));
        self.held -= missing.min(self.held);
        let free_bytes = self.free(used_bytes);
        if bytes <= free_bytes {
            return Ok(());
        }
        Err(StoreError::Full {
            path: PathBuf::from("the memory"),
            free_bytes,
        })
    }

    /// Looks at the disk, and makes the reserve again if there is room for it.
    pub(super) const fn headroom(&mut self, used_bytes: u64) -> Headroom {
        let missing = self.reserve - self.held;
        if self.free(used_bytes) > missing + self.kept {
            self.held = self.reserve;
        }
        let free_bytes = self.free(used_bytes);
        let kept = self.reserve + self.kept;
        Headroom {
            free_bytes,
            reserve_bytes: self.held,
            room_bytes: (free_bytes + self.held).saturating_sub(kept),
            used_bytes,
        }
    }
}
