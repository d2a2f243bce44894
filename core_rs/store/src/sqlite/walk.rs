//! Walks all frames and rows of a database that may be damaged.
//!
//! Owns the way past damage: where a page cannot be read, the walk looks for the next key that
//! can. Refuses to judge what it passes on: frames and rows come with the outcome of their
//! checksums.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::failure::describe;
use super::hours;
use super::number::{from_db, to_db};
use super::replay;
use super::scan;
use super::table::{self, Content, Table};
use crate::{Family, Frame, Key, KeyKind, Part};

/// What a walk meets.
pub(super) trait Visitor {
    /// A frame, and whether its checksum is right.
    fn frame(&mut self, frame: Frame, is_sound: bool);
    /// A row, or what is wrong with it.
    fn row(&mut self, family: &'static Family, key: Key, content: Result<Content, String>);
    /// A part of a table that cannot be read, in words: which, and why.
    fn unreadable(&mut self, part: String, why: &str);
}

/// So many keys are tried one by one after a key that cannot be read.
const NUMBERS_TRIED: u64 = 1 << 16;
const ORDINALS_TRIED: u64 = 1 << 8;

/// Walks the frames of the log.
pub(super) fn frames(c: &Connection, visitor: &mut dyn Visitor) {
    let next = |from| next_number(c, "log", "first_sequence", from);
    numbers(&next, NUMBERS_TRIED, &mut |at| match at {
        At::Key(sequence) => match read_frame(c, sequence) {
            Ok(Some((frame, crc))) => {
                let is_sound = replay::is_sound(&frame, crc);
                visitor.frame(frame, is_sound);
            }
            Ok(None) => {}
            Err(error) => visitor.unreadable(
                format!("the frame that begins with fact {sequence}"),
                &describe(&error),
            ),
        },
        At::Gap(gap, why) => visitor.unreadable(format!("frames from fact {gap}"), &why),
    });
}

fn read_frame(c: &Connection, sequence: u64) -> rusqlite::Result<Option<(Frame, u32)>> {
    let sql = "SELECT first_sequence, count, crc, bytes FROM log WHERE first_sequence = ?1";
    let mut select = c.prepare_cached(sql)?;
    select
        .query_row([to_db(sequence)], replay::frame)
        .optional()
}

/// Walks all rows of a family.
pub(super) fn rows(c: &Connection, family: &'static Family, visitor: &mut dyn Visitor) {
    match family.key {
        KeyKind::Number => of_numbers(c, family, visitor),
        KeyKind::Ordinal => of_ordinals(c, family, visitor),
        KeyKind::Name => of_names(c, family, visitor),
        KeyKind::Digest => of_digests(c, family, visitor),
    }
}

fn of_numbers(c: &Connection, family: &'static Family, visitor: &mut dyn Visitor) {
    let table = Table::of(family);
    let next = |from| next_number(c, family.name, "number", from);
    numbers(&next, NUMBERS_TRIED, &mut |at| match at {
        At::Key(number) => one(c, &table, Key::Number(number), visitor),
        At::Gap(gap, why) => visitor.unreadable(format!("{} rows from {gap}", family.name), &why),
    });
}

fn of_ordinals(c: &Connection, family: &'static Family, visitor: &mut dyn Visitor) {
    let table = Table::of(family);
    let name = family.name;
    let next = |from| next_number(c, name, "number", from);
    numbers(&next, NUMBERS_TRIED, &mut |at| match at {
        At::Key(number) => {
            let next = |from| {
                let from = u32::try_from(from).unwrap_or(u32::MAX);
                let found = scan::ordinals(c, family, number, from, 1)?;
                Ok(found.first().map(|ordinal| u64::from(*ordinal)))
            };
            numbers(&next, ORDINALS_TRIED, &mut |at| match at {
                At::Key(ordinal) => {
                    let ordinal = u32::try_from(ordinal).unwrap_or(u32::MAX);
                    one(c, &table, Key::Ordinal(number, ordinal), visitor);
                }
                At::Gap(gap, why) => {
                    visitor.unreadable(format!("{name} rows of {number} from {gap}"), &why);
                }
            });
        }
        At::Gap(gap, why) => visitor.unreadable(format!("{name} rows from {gap}"), &why),
    });
}

/// Names have no next name to try, so that the walk goes on from the other end of the table.
fn of_names(c: &Connection, family: &'static Family, visitor: &mut dyn Visitor) {
    let table = Table::of(family);
    let mut last: Option<Key> = None;
    let why = loop {
        match scan::names(c, family, last.as_ref(), 1) {
            Ok(found) => match found.into_iter().next() {
                Some(key) => {
                    one(c, &table, key.clone(), visitor);
                    last = Some(key);
                }
                None => return,
            },
            Err(error) => break describe(&error),
        }
    };
    let mut first: Option<Key> = None;
    while let Ok(Some(key)) = scan::name_before(c, family, first.as_ref()) {
        if last.as_ref().is_some_and(|last| *last >= key) {
            break;
        }
        one(c, &table, key.clone(), visitor);
        first = Some(key);
    }
    let text = |key: Option<Key>| key.map_or_else(|| "the end".to_owned(), |key| key.to_string());
    let part = format!(
        "{} rows between {} and {}",
        family.name,
        text(last),
        text(first)
    );
    visitor.unreadable(part, &why);
}

fn of_digests(c: &Connection, family: &'static Family, visitor: &mut dyn Visitor) {
    let hours = match hours::list(c, &[family]) {
        Ok(hours) => hours,
        Err(error) => {
            return visitor.unreadable(format!("{} rows", family.name), &describe(&error));
        }
    };
    for (hour, _) in hours {
        let name = table::hour_name(family, hour);
        let next = |from| next_number(c, &name, "id", from);
        numbers(&next, NUMBERS_TRIED, &mut |at| match at {
            At::Key(id) => match table::find_by_id(c, family, hour, id) {
                Ok(Some((key, content))) => visitor.row(family, key, Ok(content)),
                Ok(None) => {}
                Err(error) => visitor.unreadable(format!("{name} row {id}"), &describe(&error)),
            },
            At::Gap(gap, why) => visitor.unreadable(format!("{name} rows from {gap}"), &why),
        });
    }
}

fn one(c: &Connection, table: &Table, key: Key, visitor: &mut dyn Visitor) {
    match table.find(c, &key, Part::Whole) {
        Ok(Some(content)) => visitor.row(table.family, key, Ok(content)),
        Ok(None) => {}
        Err(error) => visitor.row(table.family, key, Err(describe(&error))),
    }
}

/// The smallest number of a column that is at least `from`.
fn next_number(
    c: &Connection,
    table: &str,
    column: &str,
    from: u64,
) -> rusqlite::Result<Option<u64>> {
    let mut select = c.prepare_cached(&format!(
        "SELECT {column} FROM {table} WHERE {column} >= ?1 ORDER BY {column} LIMIT 1"
    ))?;
    select
        .query_row(params![to_db(from)], |row| row.get(0).map(from_db))
        .optional()
}

/// A step of a walk over numbers.
enum At {
    /// A key that exists.
    Key(u64),
    /// Keys that cannot be read, in words, and why.
    Gap(String, String),
}

/// Walks numbers in ascending order. `next` finds the smallest one from a number on.
fn numbers(
    next: &dyn Fn(u64) -> rusqlite::Result<Option<u64>>,
    tried: u64,
    each: &mut dyn FnMut(At),
) {
    let mut from = 0;
    loop {
        match next(from) {
            Ok(None) => return,
            Ok(Some(number)) => {
                each(At::Key(number));
                from = number + 1;
            }
            Err(error) => {
                let why = describe(&error);
                let Some(after) = readable_after(next, from, tried) else {
                    return each(At::Gap(format!("{from} on"), why));
                };
                each(At::Gap(format!("{from} to {}", after - 1), why));
                from = after;
            }
        }
    }
}

/// The smallest number after `from` from which on keys can be read again, and that exists.
/// `None` if nothing can be read after `from`.
fn readable_after(
    next: &dyn Fn(u64) -> rusqlite::Result<Option<u64>>,
    from: u64,
    tried: u64,
) -> Option<u64> {
    for number in from + 1..=from + tried {
        if let Ok(found) = next(number) {
            return found;
        }
    }
    let (mut bad, mut step) = (from + tried, tried);
    let mut good = loop {
        let probe = bad.checked_add(step).filter(|probe| *probe < 1 << 63)?;
        if next(probe).is_ok() {
            break probe;
        }
        (bad, step) = (probe, step * 2);
    };
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        let end = if next(middle).is_ok() {
            &mut good
        } else {
            &mut bad
        };
        *end = middle;
    }
    next(good).ok()?
}

#[cfg(test)]
mod tests {
    use rusqlite::Error;

    use super::{At, numbers};

    /// Walks multiples of ten below a million, of which some ranges cannot be read.
    fn walked(bad: &[std::ops::Range<u64>]) -> (Vec<u64>, Vec<String>) {
        let (mut keys, mut gaps) = (Vec::new(), Vec::new());
        let next = |from: u64| {
            let number = from.div_ceil(10) * 10;
            if bad.iter().any(|range| range.contains(&number)) {
                return Err(Error::InvalidQuery);
            }
            Ok((number < 1_000_000).then_some(number))
        };
        numbers(&next, 100, &mut |at| match at {
            At::Key(number) => keys.push(number),
            At::Gap(gap, _) => gaps.push(gap),
        });
        (keys, gaps)
    }

    #[test]
    fn a_walk_passes_unreadable_keys_and_names_them() {
        let (keys, gaps) = walked(&[50..90, 5_000..400_000]);
        let expected = (0..1_000_000).step_by(10);
        let is_bad = |number: &u64| (50..90).contains(number) || (5_000..400_000).contains(number);
        let expected: Vec<_> = expected.filter(|number| !is_bad(number)).collect();
        assert_eq!(expected, keys);
        assert_eq!(vec!["41 to 89", "4991 to 399999"], gaps);
    }

    #[test]
    fn a_walk_ends_where_nothing_more_can_be_read() {
        let (keys, gaps) = walked(&[50..900_000, 900_000..u64::MAX]);
        assert_eq!(vec![0, 10, 20, 30, 40], keys);
        assert_eq!(vec!["41 on"], gaps);
    }
}
