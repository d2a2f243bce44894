//! The inputs, besides the message, that the check of a request needs.
//!
//! Owns the context of a check and the views of a record. Refuses to know any single request.

use backlane_engine::rules::access::Principal;
use backlane_engine::rules::limits::Limits;
use strum::VariantArray;

/// The inputs, besides the message, that the check of a request needs.
pub struct Context<'a> {
    /// The server's limits.
    pub limits: &'a Limits,
    /// The caller, with the tenants and the role that the caller may use.
    pub principal: &'a Principal,
    /// The source of random numbers that make new ids unguessable.
    pub random: &'a mut dyn FnMut() -> u64,
    /// The wall clock, in milliseconds since the epoch. Delays count from it.
    pub wall_ms: u64,
}

/// Which fields of a record a reply carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum View {
    /// All fields except input, context, metadata and output.
    Basic = 1,
    /// All fields.
    Full = 2,
}

impl View {
    /// The view with this number in the API; `None` for any other number.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::VARIANTS
            .iter()
            .copied()
            .find(|view| *view as u32 == number)
    }
}
