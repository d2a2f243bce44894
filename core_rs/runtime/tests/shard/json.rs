//! JSON as scenarios write it and as the API carries it.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};

/// The value that a JSON text stands for.
pub(crate) fn read(text: &str) -> Value {
    let mut rest = text;
    value(&mut rest)
}

fn value(rest: &mut &str) -> Value {
    *rest = rest.trim_start();
    let kind = match rest.chars().next() {
        Some('{') => Kind::StructValue(Struct {
            fields: each(rest, '}', |rest| {
                let key = quoted(rest);
                after(rest, ':');
                (key, value(rest))
            })
            .into_iter()
            .collect(),
        }),
        Some('[') => Kind::ListValue(ListValue {
            values: each(rest, ']', value),
        }),
        Some('"') => Kind::StringValue(quoted(rest)),
        _ => plain(rest),
    };
    Value { kind: Some(kind) }
}

fn each<T>(rest: &mut &str, end: char, one: impl Fn(&mut &str) -> T) -> Vec<T> {
    let mut all = Vec::new();
    *rest = rest[1..].trim_start();
    while !rest.starts_with(end) {
        all.push(one(rest));
        *rest = rest.trim_start().trim_start_matches(',').trim_start();
    }
    *rest = &rest[1..];
    all
}

fn after(rest: &mut &str, mark: char) {
    *rest = rest.split_once(mark).expect("a mark").1;
}

fn quoted(rest: &mut &str) -> String {
    let (text, left) = rest[1..].split_once('"').expect("a closing quote");
    *rest = left;
    text.to_owned()
}

fn plain(rest: &mut &str) -> Kind {
    let end = rest.find([',', '}', ']']).unwrap_or(rest.len());
    let (word, left) = rest.split_at(end);
    *rest = left;
    match word.trim() {
        "null" => Kind::NullValue(0),
        "true" => Kind::BoolValue(true),
        "false" => Kind::BoolValue(false),
        number => Kind::NumberValue(number.parse().expect("a number")),
    }
}

/// The JSON text of a value.
pub(crate) fn write(value: &Value) -> String {
    let joined = |words: Vec<String>| words.join(",");
    match value.kind.as_ref().expect("a kind") {
        Kind::NullValue(_) => "null".into(),
        Kind::BoolValue(flag) => flag.to_string(),
        Kind::NumberValue(number) => number.to_string(),
        Kind::StringValue(text) => format!("\"{text}\""),
        Kind::ListValue(list) => format!("[{}]", joined(list.values.iter().map(write).collect())),
        Kind::StructValue(object) => {
            let pairs = object.fields.iter();
            let pairs = pairs.map(|(key, value)| format!("\"{key}\":{}", write(value)));
            format!("{{{}}}", joined(pairs.collect()))
        }
    }
}
