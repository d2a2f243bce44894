//! Requests that cannot be decoded: which field is the reason.
//!
//! Owns the search for that field, which happens only after a decoder gave up. Refuses to decode
//! anything: the decoder's own words name Rust's types and no index of an item, so they are of no
//! use to a client.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use backlane_engine::error::Invalid;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::scan::{Fields, Wire};

/// The messages of the API, as `build.rs` kept them.
static API: LazyLock<FileDescriptorSet> = LazyLock::new(|| {
    let encoded: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    FileDescriptorSet::decode(encoded).unwrap_or_default()
});

/// A field that cannot be read. The path is empty for the message itself.
struct Unreadable {
    path: String,
    rule: &'static str,
}

const NOT_PROTOBUF: Unreadable = broken("is not protobuf");

const fn broken(rule: &'static str) -> Unreadable {
    let path = String::new();
    Unreadable { path, rule }
}

/// The reason why a message of that full name cannot be decoded.
pub(crate) fn fault(name: &str, bytes: &[u8]) -> Invalid {
    let found = described(name).map_or(Ok(()), |message| search(message, bytes));
    let fault = found.err().unwrap_or(NOT_PROTOBUF);
    let is_whole = fault.path.is_empty();
    let path = if is_whole {
        "request".into()
    } else {
        fault.path
    };
    Invalid::new(path, fault.rule)
}

/// The description of a message; `None` for messages that are not the API's own.
fn described(name: &str) -> Option<&'static DescriptorProto> {
    let name = name.trim_start_matches('.').strip_prefix("backlane.v1.")?;
    let mut messages = API.file.iter().flat_map(|file| &file.message_type);
    messages.find(|message| message.name() == name)
}

fn search(message: &DescriptorProto, bytes: &[u8]) -> Result<(), Unreadable> {
    let mut items: BTreeMap<u32, usize> = BTreeMap::new();
    for field in Fields::of(bytes) {
        let Ok((tag, wire)) = field else {
            return Err(NOT_PROTOBUF);
        };
        let mut known = message.field.iter();
        let Some(known) = known.find(|known| known.number().cast_unsigned() == tag) else {
            continue;
        };
        let item = items.entry(tag).or_default();
        check(known, entry_of(message, known), wire).map_err(|fault| at(known, *item, &fault))?;
        *item += 1;
    }
    Ok(())
}

/// The entries of a map are messages that are described inside of the map's message.
fn entry_of<'a>(
    message: &'a DescriptorProto,
    field: &FieldDescriptorProto,
) -> Option<&'a DescriptorProto> {
    let (_, name) = field.type_name().rsplit_once('.')?;
    let mut entries = message.nested_type.iter();
    entries.find(|entry| entry.name() == name)
}

fn check(
    field: &FieldDescriptorProto,
    entry: Option<&DescriptorProto>,
    wire: Wire<'_>,
) -> Result<(), Unreadable> {
    match (field.r#type(), wire) {
        (Type::String, Wire::Bytes(text)) if str::from_utf8(text).is_err() => {
            Err(broken("must be UTF-8 text"))
        }
        (Type::Message, Wire::Bytes(inner)) => match entry.or_else(|| described(field.type_name()))
        {
            Some(message) => search(message, inner),
            None => Ok(()),
        },
        (Type::String, Wire::Bytes(_)) => Ok(()),
        (Type::String | Type::Message, _) => Err(broken("has a value of another type")),
        _ => Ok(()),
    }
}

/// Puts the field's own name in front of what was found in it. The key of a map's entry may be what
/// is broken, so the map is named as a whole.
fn at(field: &FieldDescriptorProto, item: usize, inner: &Unreadable) -> Unreadable {
    let is_map = field.type_name().ends_with("Entry");
    let mut path = field.name().to_owned();
    if field.label() == Label::Repeated && !is_map {
        path = format!("{path}[{item}]");
    }
    if !inner.path.is_empty() && !is_map {
        path = format!("{path}.{}", inner.path);
    }
    let rule = inner.rule;
    Unreadable { path, rule }
}

#[cfg(test)]
mod tests {
    use backlane_engine::rules::access::Principal;

    use crate::enqueue::{decode_batch, decode_enqueue, decode_run};
    use crate::fixtures::{Decode, call_as};
    use crate::put;
    use crate::work::decode_work;
    use crate::worker::decode_lease;

    const BAD: &[u8] = b"\xff\xfe";

    // A message with one field.
    fn with(tag: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put::bytes(&mut out, tag, bytes);
        out
    }

    fn said<T: std::fmt::Debug>(decode: Decode<T>, bytes: &[u8]) -> String {
        let refused = call_as(&Principal::default(), decode, bytes);
        refused.unwrap_err().message().to_owned()
    }

    #[test]
    fn text_that_is_not_utf_8_names_its_field() {
        let input = with(3, BAD);
        assert_eq!("input: must be UTF-8 text", said(decode_enqueue, &input));
        assert_eq!(
            "enqueue.input: must be UTF-8 text",
            said(decode_run, &with(1, &input))
        );
        let items = [with(2, &[]), with(2, &input)].concat();
        assert_eq!(
            "items[1].input: must be UTF-8 text",
            said(decode_batch, &items)
        );
        let callables = [with(2, b"*"), with(2, BAD)].concat();
        assert_eq!(
            "callables[1]: must be UTF-8 text",
            said(decode_lease, &callables)
        );
        let context = with(4, &with(2, BAD));
        assert_eq!(
            "context: must be UTF-8 text",
            said(decode_enqueue, &context)
        );
        let results = [with(1, &[]), with(1, &with(2, BAD))].concat();
        assert_eq!(
            "complete.results[1].lease_token: must be UTF-8 text",
            said(decode_work, &with(5, &results))
        );
    }

    #[test]
    fn a_field_of_another_type_or_without_an_end_is_named() {
        let number = [0x18, 0x01];
        assert_eq!(
            "input: has a value of another type",
            said(decode_enqueue, &number)
        );
        let cut = with(5, &[0x0A, 0x09]);
        assert_eq!("config: is not protobuf", said(decode_enqueue, &cut));
    }
}
