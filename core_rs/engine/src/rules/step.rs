//! Steps of a run: their ids and states, and the reasons for waits.
//!
//! Owns the names and numbers. Refuses to know which state may follow which: [`crate::rules::run`]
//! does.

use std::fmt;

use strum::VariantArray;

use crate::error::Invalid;
use crate::rules::base62;

const PREFIX: &str = "step_";

/// The id of a step: a KSUID that the worker chose. It is unique in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub [u8; 20]);

impl StepId {
    /// Reads an id from its text: `step_` and 27 base62 characters.
    ///
    /// # Errors
    /// [`Invalid`] naming `field` where the text has any other form.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        text.strip_prefix(PREFIX)
            .and_then(base62::decode)
            .map(Self)
            .ok_or_else(|| Invalid::new(field, "must be `step_` followed by a 27-character KSUID"))
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(PREFIX)?;
        base62::write(out, self.0)
    }
}

/// The state of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum StepState {
    /// Planned and not started.
    Pending = 1,
    /// Started.
    Running = 2,
    /// Ended with an output, or without one.
    Completed = 3,
    /// Ended with an error, or with its attempt.
    Failed = 4,
    /// Planned, and will not run.
    Skipped = 5,
}

impl StepState {
    /// Every state.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Whether the step has ended.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped)
    }

    /// The state with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

/// What a run waits for. Decisions do not depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, VariantArray)]
#[repr(u8)]
pub enum WaitReason {
    /// The worker gave no reason.
    #[default]
    Unspecified = 0,
    /// An approval.
    Approval = 1,
    /// An input of a user.
    UserInput = 2,
    /// Room under a rate limit.
    RateLimit = 3,
    /// An event outside.
    External = 4,
    /// A checkpoint.
    Checkpoint = 5,
    /// A decision about costs.
    CostThreshold = 6,
    /// Free memory.
    MemoryPressure = 7,
    /// A child.
    SubAgent = 8,
}

impl WaitReason {
    /// Every reason.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The reason with this number in the API and on disk; `None` for any other number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| *one as u32 == number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_that_is_no_step_id_is_refused_with_the_name_of_the_field() {
        for text in ["", "step_", "exec_aWgEPTl1tmebfsQzFP4bxwgy80V"] {
            let error = StepId::parse("step_id", text).unwrap_err();
            assert_eq!("step_id", error.field, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_step_id_reads_back_from_its_text(bytes in any::<[u8; 20]>()) {
            let id = StepId(bytes);
            prop_assert_eq!(Ok(id), StepId::parse("step_id", &id.to_string()));
        }
    }
}
