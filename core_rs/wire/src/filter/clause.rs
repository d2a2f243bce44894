//! Clauses: what a filter asks, as values.
//!
//! Owns the fields of filters and the conditions on them. Refuses to know how they are written.

use backlane_engine::rules::status::{EndReason, Status};
use strum::VariantArray;

/// A condition on an execution.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    /// All of these hold. No condition always holds.
    All(Vec<Expr>),
    /// One of these holds.
    Any(Vec<Expr>),
    /// This does not hold.
    Not(Box<Expr>),
    /// The term holds.
    Is(Term),
}

/// A condition on one field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    /// The execution has the status.
    Status(Status),
    /// The execution ended for the reason.
    Reason(EndReason),
    /// A name fits.
    Name(NameField, Pattern),
    /// A number compares as asked.
    Number(NumberField, Compare, f64),
    /// A time compares as asked: milliseconds since the epoch.
    Time(TimeField, Compare, u64),
    /// The metadata has the key, with a value that fits.
    Metadata(Box<str>, Wanted),
}

/// The fields that are names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum NameField {
    Callable,
    Worker,
    Parent,
    Trigger,
}

/// The fields that are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum NumberField {
    Priority,
    Attempt,
}

/// The fields that are times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum TimeField {
    Queued,
    Started,
    Completed,
}

/// A comparison. What is not equal is written as the negation of equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum Compare {
    Equal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A text, or the beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) text: Box<str>,
    pub(super) is_prefix: bool,
}

/// What a filter asks of a value in the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    /// Any value.
    Present,
    /// The value, or a value of the array, equals this one; or this is a key of the object.
    Has(Scalar),
    /// The value compares as asked. Only texts with texts, and numbers with numbers.
    Compared(Compare, Scalar),
}

/// A value that metadata is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    Text(Pattern),
}

impl Compare {
    /// Whether two values that are in this order compare as asked.
    pub(super) const fn accepts(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::More => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

impl Pattern {
    pub(super) fn fits(&self, text: &str) -> bool {
        if self.is_prefix {
            text.starts_with(&*self.text)
        } else {
            *text == *self.text
        }
    }
}
