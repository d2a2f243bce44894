//! Reads a whole data directory that no server uses, whatever its condition.
//!
//! Owns what a check looks at: every frame, every row, the structure of the database, the
//! watermark, and the note that a failed server left. Refuses to change the data.

use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::connection::{self, Header};
use super::directory::Directory;
use super::failure::{describe, io_error};
use super::table::Content;
use super::walk::{self, Visitor};
use super::{Format, SqliteOptions, dead_letter, format, marker, origin, replay, watermark};
use crate::{Change, DEAD_LETTER, Family, Frame, Key, KeyKind, Report, Row, StoreError};

/// Reads everything in the directory and reports what is damaged.
pub(crate) fn check(path: &Path, format: &Format) -> Result<Report, StoreError> {
    let directory = open(path, format)?;
    let mut report = Report::default();
    if let Some(note) = marker::read(&directory.marker())? {
        report.damage.push(format!("noted by the server: {note}"));
    }
    if connection::header(&directory)? == Header::Unreadable {
        let what = "the header of backlane.db (page 1) is not readable";
        report.damage.push(what.to_owned());
        return Ok(report);
    }
    let opened = connection::open_reader(&directory.database(), &SqliteOptions::default());
    match opened {
        Ok(c) => check_database(&c, &directory, format, &mut report)?,
        Err(error) => report.damage.push(describe(&error)),
    }
    Ok(report)
}

fn check_database(
    c: &Connection,
    directory: &Directory,
    format: &Format,
    report: &mut Report,
) -> Result<(), StoreError> {
    let found = match format::number(c, directory, format) {
        Ok(found) => found.unwrap_or(0),
        Err(StoreError::Corrupt { what }) => {
            report.damage.push(what);
            format.number
        }
        Err(refusal) => return Err(refusal),
    };
    let (mut frame, mut row) = (ignore_frame, ignore_row);
    let mut inspection = Inspection::new(report, &mut frame, &mut row);
    inspection.expected = origin(c, inspection.report).map(|origin| origin.first_sequence);
    walk::frames(c, &mut inspection);
    let expected = inspection.expected;
    check_end(directory, expected, inspection.report);
    walk_rows(c, format, found, &mut inspection);
    check_structure(c, report);
    Ok(())
}

/// Passes on everything that is whole. The damage that is reported is that of a check, which
/// verifies pages too.
pub(crate) fn salvage(
    path: &Path,
    format: &Format,
    frame: &mut dyn FnMut(Frame),
    row: &mut dyn FnMut(Row),
) -> Result<Report, StoreError> {
    let damage = check(path, format)?.damage;
    let directory = open(path, format)?;
    let mut report = Report::default();
    // If even this fails, nothing can be saved, and the check has said why.
    if let Ok(c) = connection::open_lenient(&directory.database()) {
        // A directory of an older format gets the rows that its migration would make.
        let has_letters = exists(&c, &DEAD_LETTER);
        let mut each = |saved: Row| {
            let letter = dead_letter::of_ending(&saved).filter(|_| !has_letters);
            row(saved);
            if let Some(letter) = letter {
                row(letter);
            }
        };
        let mut inspection = Inspection::new(&mut report, frame, &mut each);
        walk::frames(&c, &mut inspection);
        walk_rows(&c, format, format.number, &mut inspection);
    }
    report.damage = damage;
    Ok(report)
}

/// Locks a directory that has a database of this program.
fn open(path: &Path, format: &Format) -> Result<Directory, StoreError> {
    let database = path.join("backlane.db");
    if !database.is_file() {
        let doing = format!("looking for {}", database.display());
        return Err(io_error(doing)(io::ErrorKind::NotFound.into()));
    }
    let directory = Directory::lock_existing(path)?;
    match format::check_plain(&directory, format) {
        // The header is the check's to report.
        Err(StoreError::Corrupt { .. }) if is_ours(&directory)? => Ok(directory),
        Err(refusal) => Err(refusal),
        Ok(()) => Ok(directory),
    }
}

fn is_ours(directory: &Directory) -> Result<bool, StoreError> {
    Ok(connection::header(directory)? != Header::Plain)
}

/// Reads the rows of the families that a directory of the format `found` has.
fn walk_rows(c: &Connection, format: &Format, found: u32, inspection: &mut Inspection<'_>) {
    let families = format.families.iter();
    for family in families.filter(|family| family.since <= found && exists(c, family)) {
        walk::rows(c, family, inspection);
    }
}

/// Whether the family's table exists, as far as that can be told. Hour tables are looked for
/// later.
fn exists(c: &Connection, family: &Family) -> bool {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let found = c.query_row(sql, [family.name], |row| row.get::<_, u32>(0));
    family.key == KeyKind::Digest || found.is_ok_and(|tables| tables > 0)
}

fn origin(c: &Connection, report: &mut Report) -> Option<origin::Origin> {
    match origin::read(c) {
        Ok(origin) => origin,
        Err(error) => {
            report.damage.push(error.to_string());
            None
        }
    }
}

/// Compares the end of the log with the watermark.
fn check_end(directory: &Directory, expected: Option<u64>, report: &mut Report) {
    match watermark::read(&directory.watermark()) {
        Ok(Some(last)) => {
            let missing = expected.filter(|expected| *expected <= last);
            let missing = missing.map(|expected| replay::missing(expected, last + 1));
            report.damage.extend(missing);
        }
        Ok(None) => {}
        Err(error) => report.damage.push(error.to_string()),
    }
}

/// The largest number of lines about the structure.
const LINES: u32 = 100;

/// Has `SQLite` compare its pages, trees and indexes with one another.
fn check_structure(c: &Connection, report: &mut Report) {
    let lines = || -> rusqlite::Result<Vec<String>> {
        let mut check = c.prepare(&format!("PRAGMA integrity_check({LINES})"))?;
        let rows = check.query_map([], |row| row.get::<_, String>(0))?;
        rows.collect()
    };
    let lines = lines().unwrap_or_else(|error| vec![describe(&error)]);
    let lines = lines.iter().flat_map(|text| text.lines());
    let damage = lines.filter(|line| *line != "ok" && !line.starts_with("***"));
    let damage = damage.map(|line| format!("structure of backlane.db: {line}"));
    report.damage.extend(damage);
}

fn ignore_frame(_: Frame) {}

fn ignore_row(_: Row) {}

/// Counts what is whole, passes it on, and names what is not.
struct Inspection<'a> {
    report: &'a mut Report,
    frame: &'a mut dyn FnMut(Frame),
    row: &'a mut dyn FnMut(Row),
    /// The sequence number with which the next frame must begin, where that is known.
    expected: Option<u64>,
}

impl<'a> Inspection<'a> {
    fn new(
        report: &'a mut Report,
        frame: &'a mut dyn FnMut(Frame),
        row: &'a mut dyn FnMut(Row),
    ) -> Self {
        Self {
            report,
            frame,
            row,
            expected: None,
        }
    }
}

impl Visitor for Inspection<'_> {
    fn frame(&mut self, frame: Frame, is_sound: bool) {
        let first = frame.first_sequence;
        let missing = self.expected.filter(|expected| *expected < first);
        let missing = missing.map(|expected| replay::missing(expected, first));
        self.report.damage.extend(missing);
        if is_sound {
            self.expected = Some(first + u64::from(frame.count));
            self.report.frames += 1;
            (self.frame)(frame);
        } else {
            self.expected = None;
            self.report.damage.push(replay::bad(&frame));
        }
    }

    fn row(&mut self, family: &'static Family, key: Key, content: Result<Content, String>) {
        let what = match content {
            Ok(Ok(put)) => {
                self.report.rows += 1;
                let change = Change::Put(put);
                return (self.row)(Row {
                    family,
                    key,
                    change,
                });
            }
            Ok(Err(what)) => what.to_owned(),
            Err(what) => what,
        };
        let line = format!("{} {key} is damaged: {what}", family.name);
        self.report.damage.push(line);
    }

    fn unreadable(&mut self, part: String, why: &str) {
        self.expected = None;
        self.report
            .damage
            .push(format!("{part} cannot be read: {why}"));
    }
}
