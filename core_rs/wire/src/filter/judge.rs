//! Whether a condition holds for an execution.
//!
//! Owns the logic of three values: a condition on a row that was not read neither holds nor fails.
//! Refuses to know rows: it asks [`Facts`].

use std::cmp::Ordering;

use backlane_engine::rules::status::{EndReason, Status};

use super::clause::{
    Compare, Expr, NameField, NumberField, Pattern, Scalar, Term, TimeField, Wanted,
};
use crate::scan::{Fields, Wire};

/// What is known of a field: nothing, that it is absent, or its value.
pub(super) type Known<T> = Option<Option<T>>;

/// The fields of an execution, as far as they are known.
pub(super) trait Facts {
    fn status(&self) -> Option<Status>;
    fn reason(&self) -> Known<EndReason>;
    fn name(&self, field: NameField) -> Known<&str>;
    fn number(&self, field: NumberField) -> Known<u32>;
    fn time(&self, field: TimeField) -> Known<u64>;
    /// The encoded `google.protobuf.Value` of a key of the metadata.
    fn metadata(&self, key: &str) -> Known<&[u8]>;
}

/// Whether a condition holds; `None` where what is known does not tell.
pub(super) fn holds(expr: &Expr, facts: &impl Facts) -> Option<bool> {
    match expr {
        Expr::All(parts) => all(parts.iter().map(|part| holds(part, facts))),
        Expr::Any(parts) => {
            let fails = |part| holds(part, facts).map(|holds| !holds);
            all(parts.iter().map(fails)).map(|none| !none)
        }
        Expr::Not(part) => holds(part, facts).map(|holds| !holds),
        Expr::Is(term) => is(term, facts),
    }
}

fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = Some(true);
    for part in parts {
        match part {
            Some(false) => return Some(false),
            None => known = None,
            Some(true) => {}
        }
    }
    known
}

fn is(term: &Term, facts: &impl Facts) -> Option<bool> {
    match term {
        Term::Status(status) => Some(facts.status()? == *status),
        Term::Reason(reason) => Some(facts.reason()? == Some(*reason)),
        Term::Name(field, pattern) => {
            let name = facts.name(*field)?;
            Some(name.is_some_and(|name| pattern.fits(name)))
        }
        Term::Number(field, compare, than) => {
            let number = facts.number(*field)?.map(f64::from);
            let order = number.and_then(|number| number.partial_cmp(than));
            Some(order.is_some_and(|order| compare.accepts(order)))
        }
        Term::Time(field, compare, than) => {
            let order = facts.time(*field)?.map(|at_ms| at_ms.cmp(than));
            Some(order.is_some_and(|order| compare.accepts(order)))
        }
        Term::Metadata(key, wanted) => {
            let value = facts.metadata(key)?;
            Some(value.is_some_and(|value| fits(value, wanted)))
        }
    }
}

fn fits(value: &[u8], wanted: &Wanted) -> bool {
    match wanted {
        Wanted::Present => true,
        Wanted::Compared(compare, scalar) => compares(value, *compare, scalar),
        Wanted::Has(scalar) => match Fields::of(value).next() {
            Some(Ok((5, Wire::Bytes(object)))) => has_key(object, scalar),
            Some(Ok((6, Wire::Bytes(array)))) => {
                let mut items = Fields::of(array).filter_map(Result::ok);
                items.any(|(_, item)| compares(item.bytes(), Compare::Equal, scalar))
            }
            _ => compares(value, Compare::Equal, scalar),
        },
    }
}

fn has_key(object: &[u8], scalar: &Scalar) -> bool {
    let Scalar::Text(pattern) = scalar else {
        return false;
    };
    let mut entries = Fields::of(object).filter_map(Result::ok);
    entries.any(|(_, entry)| {
        let mut fields = Fields::of(entry.bytes()).filter_map(Result::ok);
        let key = fields.find(|(tag, _)| *tag == 1);
        key.is_some_and(|(_, key)| text_of(key).is_some_and(|key| pattern.fits(key)))
    })
}

/// Whether an encoded `google.protobuf.Value` compares as asked. Values of different kinds never
/// do.
fn compares(value: &[u8], compare: Compare, scalar: &Scalar) -> bool {
    let is_equal = compare == Compare::Equal;
    match (Fields::of(value).next(), scalar) {
        (Some(Ok((1, _))), Scalar::Null) => is_equal,
        (Some(Ok((4, flag))), Scalar::Bool(wanted)) => is_equal && (flag.uint() != 0) == *wanted,
        (Some(Ok((2, Wire::Fixed64(bits)))), Scalar::Number(wanted)) => {
            let order = f64::from_bits(bits).partial_cmp(wanted);
            order.is_some_and(|order| compare.accepts(order))
        }
        (Some(Ok((3, text))), Scalar::Text(pattern)) => {
            text_of(text).is_some_and(|text| text_compares(text, compare, pattern))
        }
        _ => false,
    }
}

fn text_compares(text: &str, compare: Compare, pattern: &Pattern) -> bool {
    if compare == Compare::Equal {
        return pattern.fits(text);
    }
    let order: Ordering = text.cmp(&pattern.text);
    compare.accepts(order)
}

fn text_of(wire: Wire<'_>) -> Option<&str> {
    str::from_utf8(wire.bytes()).ok()
}
