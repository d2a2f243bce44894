//! Filters against a model: what they keep, and that their text reads back.
//!
//! Owns the model, arbitrary filters, and their text. Refuses to use the code of the parser or the
//! judge for that.

use std::collections::BTreeMap;

use backlane_engine::rules::status::{EndReason, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Timestamp, Value};
use strum::VariantArray as _;

use super::super::clause::{
    Compare, Expr, NameField, NumberField, Pattern, Scalar, Term, TimeField, Wanted,
};
use super::super::judge::{Facts, Known, holds};
use super::super::{Filter, parse, words};
use super::{NOW_MS, text};

// The model: an execution as plain values.

#[derive(Debug, Clone)]
struct Model {
    status: Status,
    reason: Option<EndReason>,
    names: Vec<Option<String>>,
    numbers: Vec<u32>,
    times: Vec<Option<u64>>,
    metadata: BTreeMap<String, Value>,
}

/// The model, of which some fields are not known.
struct Partly<'a> {
    model: &'a Model,
    encoded: &'a BTreeMap<String, Vec<u8>>,
    known: u16,
}

impl Partly<'_> {
    fn known<T>(&self, bit: usize, value: T) -> Option<T> {
        (self.known >> bit & 1 == 1).then_some(value)
    }
}

impl Facts for Partly<'_> {
    fn status(&self) -> Option<Status> {
        self.known(0, self.model.status)
    }
    fn reason(&self) -> Known<EndReason> {
        self.known(1, self.model.reason)
    }
    fn name(&self, field: NameField) -> Known<&str> {
        let bit = 2 + field as usize;
        self.known(bit, self.model.names[field as usize].as_deref())
    }
    fn number(&self, field: NumberField) -> Known<u32> {
        let bit = 6 + field as usize;
        self.known(bit, Some(self.model.numbers[field as usize]))
    }
    fn time(&self, field: TimeField) -> Known<u64> {
        let bit = 8 + field as usize;
        self.known(bit, self.model.times[field as usize])
    }
    fn metadata(&self, key: &str) -> Known<&[u8]> {
        self.known(11, self.encoded.get(key).map(Vec::as_slice))
    }
}

fn equals(value: &Value, scalar: &Scalar) -> bool {
    match (value.kind.as_ref(), scalar) {
        (Some(Kind::NullValue(_)), Scalar::Null) => true,
        (Some(Kind::BoolValue(flag)), Scalar::Bool(wanted)) => flag == wanted,
        (Some(Kind::NumberValue(number)), Scalar::Number(wanted)) => {
            ordered(number, Compare::Equal, wanted)
        }
        (Some(Kind::StringValue(text)), Scalar::Text(pattern)) => matches(text, pattern),
        _ => false,
    }
}

fn matches(text: &str, pattern: &Pattern) -> bool {
    if pattern.is_prefix {
        text.starts_with(&*pattern.text)
    } else {
        text == &*pattern.text
    }
}

fn ordered<T: PartialOrd>(one: &T, compare: Compare, other: &T) -> bool {
    match compare {
        Compare::Equal => one == other,
        Compare::Less => one < other,
        Compare::AtMost => one <= other,
        Compare::More => one > other,
        Compare::AtLeast => one >= other,
    }
}

fn value_fits(value: &Value, wanted: &Wanted) -> bool {
    let scalar = match wanted {
        Wanted::Present => return true,
        Wanted::Compared(Compare::Equal, scalar) => return equals(value, scalar),
        Wanted::Compared(compare, scalar) => {
            return match (value.kind.as_ref(), scalar) {
                (Some(Kind::NumberValue(one)), Scalar::Number(other)) => {
                    ordered(one, *compare, other)
                }
                (Some(Kind::StringValue(one)), Scalar::Text(other)) => {
                    ordered(&one.as_str(), *compare, &&*other.text)
                }
                _ => false,
            };
        }
        Wanted::Has(scalar) => scalar,
    };
    match (value.kind.as_ref(), scalar) {
        (Some(Kind::ListValue(list)), _) => list.values.iter().any(|it| equals(it, scalar)),
        (Some(Kind::StructValue(object)), Scalar::Text(pattern)) => {
            object.fields.keys().any(|key| matches(key, pattern))
        }
        _ => equals(value, scalar),
    }
}

fn model_holds(expr: &Expr, model: &Model) -> bool {
    match expr {
        Expr::All(parts) => parts.iter().all(|part| model_holds(part, model)),
        Expr::Any(parts) => parts.iter().any(|part| model_holds(part, model)),
        Expr::Not(part) => !model_holds(part, model),
        Expr::Is(Term::Status(status)) => model.status == *status,
        Expr::Is(Term::Reason(reason)) => model.reason == Some(*reason),
        Expr::Is(Term::Name(field, pattern)) => model.names[*field as usize]
            .as_deref()
            .is_some_and(|name| matches(name, pattern)),
        Expr::Is(Term::Number(field, compare, than)) => {
            let number = f64::from(model.numbers[*field as usize]);
            ordered(&number, *compare, than)
        }
        Expr::Is(Term::Time(field, compare, than)) => {
            model.times[*field as usize].is_some_and(|at_ms| ordered(&at_ms, *compare, than))
        }
        Expr::Is(Term::Metadata(key, wanted)) => model
            .metadata
            .get(&**key)
            .is_some_and(|value| value_fits(value, wanted)),
    }
}

// Few values, so that equal ones are common.
fn word() -> impl Strategy<Value = String> {
    select(vec!["", "a", "ab", "b", "mail.send", "ä\"\\*'"]).prop_map(str::to_owned)
}

fn some_pattern() -> impl Strategy<Value = Pattern> {
    (word(), any::<bool>()).prop_map(|(text, is_prefix)| Pattern {
        text: text.into(),
        is_prefix,
    })
}

fn some_number() -> impl Strategy<Value = f64> {
    select(vec![0.0, 1.0, -1.0, 2.5, 50.0, 1e300])
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        some_number().prop_map(Scalar::Number),
        some_pattern().prop_map(Scalar::Text),
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    select(Compare::VARIANTS)
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let ordered = prop_oneof![
        some_number().prop_map(Scalar::Number),
        word().prop_map(|word| Scalar::Text(text(&word))),
    ];
    prop_oneof![
        Just(Wanted::Present),
        scalar().prop_map(Wanted::Has),
        scalar().prop_map(|scalar| Wanted::Compared(Compare::Equal, scalar)),
        (compare(), ordered).prop_map(|(compare, scalar)| Wanted::Compared(compare, scalar)),
    ]
}

fn key() -> impl Strategy<Value = String> {
    select(vec!["k", "a.b", "ä", "x y"]).prop_map(str::to_owned)
}

fn time() -> impl Strategy<Value = u64> {
    select(vec![0, 1, NOW_MS, NOW_MS + 5, 253_402_300_799_999])
}

fn term() -> impl Strategy<Value = Term> {
    prop_oneof![
        select(Status::ALL).prop_map(Term::Status),
        select(EndReason::ALL).prop_map(Term::Reason),
        (select(NameField::VARIANTS), some_pattern()).prop_map(|(one, it)| Term::Name(one, it)),
        (select(NumberField::VARIANTS), compare(), some_number())
            .prop_map(|(field, compare, number)| Term::Number(field, compare, number)),
        (select(TimeField::VARIANTS), compare(), time())
            .prop_map(|(field, compare, at_ms)| Term::Time(field, compare, at_ms)),
        (key(), wanted()).prop_map(|(key, wanted)| Term::Metadata(key.into(), wanted)),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    term().prop_map(Expr::Is).prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| Expr::Not(Box::new(part))),
            vec(inner.clone(), 2..4).prop_map(Expr::All),
            vec(inner, 2..4).prop_map(Expr::Any),
        ]
    })
}

fn json() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Kind::NullValue(0)),
        any::<bool>().prop_map(Kind::BoolValue),
        some_number().prop_map(Kind::NumberValue),
        word().prop_map(Kind::StringValue),
    ];
    let plain = plain.prop_map(|kind| Value { kind: Some(kind) });
    let list = vec(plain.clone(), 0..3)
        .prop_map(|values| Kind::ListValue(ListValue { values }))
        .prop_map(|kind| Value { kind: Some(kind) });
    let object = vec((word(), plain.clone()), 0..3)
        .prop_map(|fields| {
            Kind::StructValue(Struct {
                fields: fields.into_iter().collect(),
            })
        })
        .prop_map(|kind| Value { kind: Some(kind) });
    prop_oneof![plain, list, object]
}

prop_compose! {
    fn model()(
        status in select(Status::ALL),
        reason in proptest::option::of(select(EndReason::ALL)),
        names in vec(proptest::option::of(word()), 4),
        numbers in vec(select(vec![0, 1, 50]), 2),
        times in vec(proptest::option::of(time()), 3),
        metadata in proptest::collection::btree_map(key(), json(), 0..4),
    ) -> Model {
        Model { status, reason, names, numbers, times, metadata }
    }
}

// The text of a filter, written by other code than the parser's.

fn quoted(text: &str, is_prefix: bool) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|one| {
            let escape = ['"', '\\', '*'].contains(&one).then_some('\\');
            escape.into_iter().chain([one])
        })
        .collect();
    format!("\"{escaped}{}\"", if is_prefix { "*" } else { "" })
}

fn sign(compare: Compare) -> &'static str {
    match compare {
        Compare::Equal => "=",
        Compare::Less => "<",
        Compare::AtMost => "<=",
        Compare::More => ">",
        Compare::AtLeast => ">=",
    }
}

fn scalar_text(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Null => "null".into(),
        Scalar::Bool(flag) => flag.to_string(),
        Scalar::Number(number) => number.to_string(),
        Scalar::Text(pattern) => quoted(&pattern.text, pattern.is_prefix),
    }
}

fn field_text(field: words::Field) -> &'static str {
    let found = words::FIELDS.iter().find(|(_, known)| *known == field);
    found.unwrap().0
}

fn term_text(term: &Term) -> String {
    match term {
        Term::Status(status) => format!("status = {}", status.name()),
        Term::Reason(reason) => format!("reason = {}", words::reason_name(*reason)),
        Term::Name(field, pattern) => {
            let value = quoted(&pattern.text, pattern.is_prefix);
            format!("{} = {value}", field_text(words::Field::Name(*field)))
        }
        Term::Number(field, compare, number) => {
            let name = field_text(words::Field::Number(*field));
            format!("{name} {} {number}", sign(*compare))
        }
        Term::Time(field, compare, at_ms) => {
            let name = field_text(words::Field::Time(*field));
            let at = Timestamp {
                seconds: i64::try_from(at_ms / 1_000).unwrap(),
                nanos: i32::try_from(at_ms % 1_000).unwrap() * 1_000_000,
            };
            format!("{name}{}{at}", sign(*compare))
        }
        Term::Metadata(key, wanted) => {
            let key = quoted(key, false);
            match wanted {
                Wanted::Present => format!("metadata:{key}"),
                Wanted::Has(scalar) => format!("metadata.{key} : {}", scalar_text(scalar)),
                Wanted::Compared(compare, scalar) => {
                    format!("metadata.{key} {} {}", sign(*compare), scalar_text(scalar))
                }
            }
        }
    }
}

fn expr_text(expr: &Expr) -> String {
    let joined = |parts: &[Expr], with: &str| {
        let parts = parts.iter().map(|part| match part {
            Expr::Is(_) | Expr::Not(_) => expr_text(part),
            Expr::All(_) | Expr::Any(_) => format!("({})", expr_text(part)),
        });
        parts.collect::<Vec<_>>().join(with)
    };
    match expr {
        Expr::All(parts) => joined(parts, " AND "),
        Expr::Any(parts) => joined(parts, " OR "),
        Expr::Not(part) => format!("NOT ({})", expr_text(part)),
        Expr::Is(term) => term_text(term),
    }
}

proptest! {
    #[test]
    fn a_filter_that_is_written_reads_back_as_it_was(expr in expr()) {
        let text = expr_text(&expr);
        prop_assert_eq!(Ok(Some(expr)), parse::read(&text, NOW_MS), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_place_in_it(text in "\\PC{0,60}") {
        if let Err(error) = Filter::read(&text, NOW_MS) {
            let place = error.rule.strip_prefix("at character ").unwrap();
            let place: usize = place.split(':').next().unwrap().parse().unwrap();
            prop_assert!((1..=text.chars().count() + 1).contains(&place), "{}", error.rule);
        }
    }

    #[test]
    fn a_broken_filter_is_read_or_refused_without_a_panic(
        expr in expr(), place: prop::sample::Index, one: char,
    ) {
        let mut text: Vec<char> = expr_text(&expr).chars().collect();
        let place = place.index(text.len());
        text[place] = one;
        let _ = Filter::read(&text.into_iter().collect::<String>(), NOW_MS);
    }

    #[test]
    fn a_filter_keeps_what_the_model_keeps(expr in expr(), model in model(), known: u16) {
        let encoded = model.metadata.iter();
        let encoded = encoded.map(|(key, value)| (key.clone(), value.encode_to_vec())).collect();
        let facts = |known| Partly { model: &model, encoded: &encoded, known };
        let expected = model_holds(&expr, &model);
        prop_assert_eq!(Some(expected), holds(&expr, &facts(u16::MAX)));
        // What is known in part never tells the contrary.
        let partly = holds(&expr, &facts(known));
        prop_assert!(partly.is_none_or(|holds| holds == expected));
    }
}
