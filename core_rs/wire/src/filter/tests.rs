//! Filters: their text, and the errors about it.
//!
//! Owns an example for every rule. What a filter keeps is in `model.rs`. Refuses to read rows.

mod model;

use backlane_engine::rules::status::Status;

use super::clause::{Compare, Expr, Pattern, Scalar, Term, Wanted};
use super::{Filter, parse};

const NOW_MS: u64 = 1_769_846_400_000; // 2026-01-31T08:00:00Z

fn read(text: &str) -> Expr {
    parse::read(text, NOW_MS).unwrap().unwrap()
}

fn refused(text: &str) -> String {
    let error = Filter::read(text, NOW_MS).unwrap_err();
    assert_eq!("filter", error.field);
    error.rule
}

#[test]
fn an_empty_text_is_no_filter() {
    for text in ["", " \t\n"] {
        assert_eq!(Ok(None), Filter::read(text, NOW_MS));
    }
}

#[test]
fn or_binds_tighter_than_and() {
    let same = [
        (
            "status = failed AND priority > 3 OR attempt = 1",
            "status = failed AND (priority > 3 OR attempt = 1)",
        ),
        (
            "NOT status = failed OR attempt = 1",
            "(NOT status = failed) OR attempt = 1",
        ),
        (
            "-status = failed AND attempt = 1",
            "(NOT status = failed) AND attempt = 1",
        ),
        ("- (status = failed)", "NOT status=failed"),
        ("status != FAILED", "NOT status = 'failed'"),
    ];
    for (one, other) in same {
        assert_eq!(read(one), read(other), "{one}");
    }
}

#[test]
fn values_are_read_by_their_field() {
    let same = [
        ("queued_at >= -1h30m", "queued_at >= 2026-01-31T06:30:00Z"),
        (
            "queued_at >= \"-1d\"",
            "queued_at >= '2026-01-30T09:00:00+01:00'",
        ),
        ("queued_at < +500ms", "queued_at < 2026-01-31T08:00:00.5Z"),
        ("reason = worker_lost", "reason=\"WORKER_LOST\""),
        ("callable = mail.*", "callable = \"mail.*\""),
        ("metadata.team = ops", "metadata.\"team\" = 'ops'"),
        ("metadata:team", "metadata.team:*"),
        ("parent = a:b/c@d", "parent = \"a:b/c@d\""),
    ];
    for (one, other) in same {
        assert_eq!(read(one), read(other), "{one}");
    }
    let wanted = |scalar| Wanted::Compared(Compare::Equal, scalar);
    let scalars = [
        ("5", Scalar::Number(5.0)),
        ("-5e3", Scalar::Number(-5000.0)),
        ("true", Scalar::Bool(true)),
        ("null", Scalar::Null),
        ("'true'", Scalar::Text(text("true"))),
        ("\"a\\\"b\\\\\\*\"", Scalar::Text(text("a\"b\\*"))),
        ("inf", Scalar::Text(text("inf"))),
    ];
    for (value, scalar) in scalars {
        let expected = Expr::Is(Term::Metadata("k".into(), wanted(scalar)));
        assert_eq!(expected, read(&format!("metadata.k = {value}")));
    }
}

fn text(text: &str) -> Pattern {
    Pattern {
        text: text.into(),
        is_prefix: false,
    }
}

#[test]
fn an_error_points_at_the_character_and_says_what_was_expected() {
    let cases = [
        (
            "statu = failed",
            1,
            "expected a field: status, callable, worker, ",
        ),
        (
            "status failed",
            8,
            "expected one of = != < <= > >= :, not \"failed\"",
        ),
        ("status = faild", 10, "expected a status: queued, running, "),
        ("status < failed", 8, "expected = or != after this field"),
        ("callable : x", 10, "expected = or != after this field"),
        (
            "status = failed attempt = 1",
            17,
            "expected AND, OR or the end of the filter",
        ),
        (
            "status = failed and attempt = 1",
            17,
            "expected AND, OR or the end",
        ),
        ("(status = failed", 17, "expected AND, OR or ), not the end"),
        (
            "status = failed)",
            16,
            "expected AND, OR or the end of the filter, not )",
        ),
        ("status = ", 10, "expected a status: "),
        ("NOT", 4, "expected a field, NOT or (, not the end"),
        ("priority = high", 12, "expected a number, not \"high\""),
        ("queued_at > yesterday", 13, "expected a time such as "),
        ("queued_at > 2026-01-31", 13, "expected a time such as "),
        ("queued_at > -5", 13, "expected a time such as "),
        ("callable = \"a", 12, "expected a \" that ends the string"),
        ("callable = 'ä*b'", 14, "a * may only stand at the end"),
        ("callable = a*b", 13, "a * may only stand at the end"),
        ("callable = 'a\\n'", 14, "a \\ escapes only these"),
        ("metadata = 3", 10, "expected . and a key, or : and a key"),
        ("metadata.a.b = 3", 11, "quote other keys"),
        ("metadata. = 3", 11, "expected a key of the metadata"),
        (
            "metadata.a < true",
            12,
            "expected = or != before this value",
        ),
        ("metadata.a = (", 14, "expected a value, not ("),
        ("status ! failed", 8, "expected one of = != "),
    ];
    for (text, at, expected) in cases {
        let rule = refused(text);
        let begin = format!("at character {at}: ");
        assert!(
            rule.starts_with(&begin) && rule.contains(expected),
            "{text}: {rule}"
        );
    }
}

#[test]
fn size_depth_and_number_of_conditions_are_bounded() {
    let large = format!("callable = {}", "x".repeat(4096));
    assert_eq!("must have at most 4096 bytes", refused(&large));
    let nested = |levels: usize| format!("{}attempt = 1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(Filter::read(&nested(32), NOW_MS).is_ok());
    assert!(refused(&nested(33)).contains("at most 32 levels"));
    assert!(refused(&"NOT ".repeat(600)).contains("at most 32 levels"));
    let many = |count: usize| vec!["attempt=1"; count].join(" OR ");
    assert!(Filter::read(&many(256), NOW_MS).is_ok());
    assert!(refused(&many(257)).contains("at most 256 conditions"));
}

#[test]
fn a_filter_knows_which_statuses_it_may_keep_and_since_when() {
    let read = |text: &str| Filter::read(text, NOW_MS).unwrap().unwrap();
    let filter = read("status = failed AND queued_at >= -1h AND metadata.a = 1");
    let kept: Vec<_> = Status::ALL
        .iter()
        .filter(|it| filter.may_keep(**it))
        .collect();
    assert_eq!(vec![&Status::Failed], kept);
    assert_eq!(Some(NOW_MS - 3_600_000), filter.since_ms());
    assert_eq!(None, read("queued_at >= -1h OR attempt = 1").since_ms());
    assert!(filter.needs_payload() && !filter.needs_ending());
    assert!(read("reason = FAILED").needs_ending());
    assert!(Filter::everything().may_keep(Status::Queued));
}
