//! What the check of a request rests on besides the message.
//!
//! Owns the context of a check and the views that answers have. Refuses to know any request.

use backlane_engine::rules::access::Principal;
use backlane_engine::rules::limits::Limits;

/// What the check of a request rests on besides the message.
pub struct Context<'a> {
    /// The server's limits.
    pub limits: &'a Limits,
    /// The caller.
    pub principal: &'a Principal,
    /// The source of what makes new ids unguessable.
    pub random: &'a mut dyn FnMut() -> u64,
}

/// How much of a record an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Everything but input, context, metadata and output.
    Basic = 1,
    /// Everything.
    Full = 2,
}

impl View {
    /// The view of a number on the wire.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Basic, Self::Full]
            .into_iter()
            .find(|view| *view as u32 == number)
    }
}
