//! Filters: which executions a list shows and a count counts.
//!
//! Owns the text of filters, a subset of AIP-160, and what a filter says about one execution. A
//! filter is a question of a reader and decides nothing, so it is here and not in the engine.
//! Refuses to know where executions are kept, and how they are walked through.

mod clause;
mod judge;
mod lex;
mod needs;
mod parse;
mod rows;
mod words;

use backlane_engine::error::Invalid;
use backlane_engine::rules::id::ExecutionId;
use backlane_engine::rules::status::Status;

use clause::{Compare, Expr, NameField, Pattern, Term, TimeField};
use needs::Needs;

pub use rows::Rows;

/// Largest filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 4 << 10;

/// A filter that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    text: Box<str>,
    expr: Expr,
    needs: Needs,
}

impl Filter {
    /// Reads a filter. Times that are relative count from `wall_ms`. `None` for a text that is
    /// empty: it keeps every execution.
    ///
    /// # Errors
    /// [`Invalid`] pointing at the character that does not fit, and saying what was expected.
    pub fn read(text: &str, wall_ms: u64) -> Result<Option<Self>, Invalid> {
        if text.len() > MAX_FILTER_BYTES {
            let rule = format!("must have at most {MAX_FILTER_BYTES} bytes");
            return Err(Invalid::new("filter", rule));
        }
        let expr = parse::read(text, wall_ms)?;
        Ok(expr.map(|expr| Self::of(text, expr)))
    }

    /// The filter that keeps every execution.
    #[must_use]
    pub fn everything() -> Self {
        Self::of("", Expr::All(Vec::new()))
    }

    fn of(text: &str, expr: Expr) -> Self {
        Self {
            text: text.into(),
            needs: Needs::of(&expr),
            expr,
        }
    }

    fn and(self, term: Term) -> Self {
        let expr = Expr::All(vec![Expr::Is(term), self.expr]);
        Self::of(&self.text, expr)
    }

    /// The text of the filter, as the client sent it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The filter with a status besides.
    #[must_use]
    pub fn and_status(self, status: Status) -> Self {
        self.and(Term::Status(status))
    }

    /// The filter with a parent besides.
    #[must_use]
    pub fn and_parent(self, parent: &ExecutionId) -> Self {
        let pattern = Pattern {
            text: parent.to_string().into(),
            is_prefix: false,
        };
        self.and(Term::Name(NameField::Parent, pattern))
    }

    /// Whether the filter keeps an execution; `None` where the rows that were read do not tell.
    #[must_use]
    pub fn keeps(&self, rows: &Rows<'_>) -> Option<bool> {
        judge::holds(&self.expr, rows)
    }

    /// Whether executions of a status can be kept.
    #[must_use]
    pub fn may_keep(&self, status: Status) -> bool {
        self.keeps(&Rows::of_status(status)) != Some(false)
    }

    /// Whether the filter asks for what the payload has.
    #[must_use]
    pub const fn needs_payload(&self) -> bool {
        self.needs.payload
    }

    /// Whether the filter asks for what the ending of a finished execution has. The status is not
    /// part of that: the list of endings tells it.
    #[must_use]
    pub const fn needs_ending(&self) -> bool {
        self.needs.ending
    }

    /// The earliest enqueue that can be kept, in milliseconds since the epoch, if the filter sets
    /// one. Enqueues never go back in time, so that a walk from the newest on may end there.
    #[must_use]
    pub fn since_ms(&self) -> Option<u64> {
        since_ms(&self.expr)
    }
}

fn since_ms(expr: &Expr) -> Option<u64> {
    match expr {
        Expr::All(parts) => parts.iter().filter_map(since_ms).max(),
        Expr::Is(Term::Time(TimeField::Queued, compare, at_ms)) => match compare {
            Compare::Equal | Compare::AtLeast | Compare::More => Some(*at_ms),
            Compare::Less | Compare::AtMost => None,
        },
        Expr::Any(_) | Expr::Not(_) | Expr::Is(_) => None,
    }
}

#[cfg(test)]
mod tests;
