//! Needs: the rows of an execution that a filter asks about.
//!
//! Owns which field is in which row. Refuses to read rows.

use super::clause::{Expr, NameField, NumberField, Term, TimeField};

/// The rows that a filter asks about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) payload: bool,
    pub(super) ending: bool,
}

impl Needs {
    pub(super) fn of(expr: &Expr) -> Self {
        match expr {
            Expr::All(parts) | Expr::Any(parts) => {
                let needs = parts.iter().map(Self::of);
                needs.fold(Self::default(), Self::and)
            }
            Expr::Not(part) => Self::of(part),
            Expr::Is(term) => Self::of_term(term),
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            payload: self.payload || other.payload,
            ending: self.ending || other.ending,
        }
    }

    const fn of_term(term: &Term) -> Self {
        let payload = matches!(
            term,
            Term::Name(
                NameField::Callable | NameField::Parent | NameField::Trigger,
                _
            ) | Term::Number(NumberField::Priority, ..)
                | Term::Time(TimeField::Queued, ..)
                | Term::Metadata(..)
        );
        let is_status = matches!(term, Term::Status(_));
        Self {
            payload,
            ending: !payload && !is_status,
        }
    }
}
