//! The format of a data directory: its number, its tables, and the ways from older formats.
//!
//! Owns the decision whether a database can be opened. The number is stored as the database's
//! `user_version`. A migration changes the data and the number in one transaction, so that a
//! process that is killed in between leaves a directory of the old number or of the new one, and
//! both can be opened. Refuses to know the order of writing and reading rows.

use rusqlite::{Connection, OpenFlags, Transaction};

use super::connection::{self, Header};
use super::directory::Directory;
use super::failure::reading;
use super::{dead_letter, expiry, origin, table};
use crate::{FAMILIES, Family, KeyKind, StoreError};

/// "BckL": tells `file(1)` and this module whose database this is.
const APPLICATION_ID: u32 = 0x4263_6b4c;

/// The format of Backlane 0.1.0, which had neither families nor page checksums.
const FORMAT_OF_0_1_0: u32 = 1;

/// The first format that can be migrated from.
const OLDEST: u32 = 2;

/// A format of the data directory.
#[derive(Debug)]
pub struct Format {
    /// The number of the format.
    pub number: u32,
    /// The families of the format. Those of older formats stay in the list.
    pub families: &'static [&'static Family],
    /// The migrations to this format and those before it.
    pub migrations: &'static [Migration],
}

/// One step from a format to the next.
///
/// The tables of families whose [`Family::since`] is `to` are made before `run` is called, in the
/// same transaction. A step that only adds families needs no migration.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The number of the format that the step leads to.
    pub to: u32,
    /// Changes the data.
    pub run: fn(&Transaction<'_>) -> rusqlite::Result<()>,
}

/// The format of this version.
pub static FORMAT: Format = Format {
    number: 4,
    families: FAMILIES,
    migrations: &[Migration {
        to: 4,
        run: dead_letter::fill,
    }],
};

/// Refuses a directory of another program, of version 0.1.0, or of a newer version. Must be
/// called before [`connection::open_writer`] touches the file.
pub(super) fn check_plain(directory: &Directory, format: &Format) -> Result<(), StoreError> {
    if connection::header(directory)? != Header::Plain {
        return Ok(());
    }
    let path = directory.database();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&path, flags);
    let opened = opened.map_err(|e| reading(&format!("opening {}", path.display()), e))?;
    number(&opened, directory, format)?;
    // A plain file with a number of ours has lost the byte that reserves room for checksums.
    Err(connection::unreadable(directory))
}

/// Reads the number of the format; `None` for a database that is still empty. Refuses what this
/// version cannot read.
pub(super) fn number(
    c: &Connection,
    directory: &Directory,
    format: &Format,
) -> Result<Option<u32>, StoreError> {
    let path = directory.database();
    let doing = || format!("reading the format of {}", path.display());
    let pragma = |name| {
        let asked = c.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        asked.map_err(|e| reading(&doing(), e))
    };
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    if (application, found) == (0, 0) && pragma("schema_version")? == 0 {
        return Ok(None);
    }
    if application != i64::from(APPLICATION_ID) {
        let what = format!("{} is a database of another program", path.display());
        return Err(StoreError::Corrupt { what });
    }
    match u32::try_from(found).unwrap_or(u32::MAX) {
        found if found > format.number => Err(StoreError::NewerVersion {
            found,
            known: format.number,
        }),
        FORMAT_OF_0_1_0 => Err(StoreError::OlderVersion {
            path: directory.path().to_owned(),
            found: FORMAT_OF_0_1_0,
        }),
        found if found < OLDEST => {
            let what = format!("{} has the unknown format {found}", path.display());
            Err(StoreError::Corrupt { what })
        }
        found => Ok(Some(found)),
    }
}

/// Makes all tables in a new database. One transaction, so that a crash leaves an empty database
/// or a complete one.
pub(super) fn create(c: &mut Connection, format: &Format) -> rusqlite::Result<()> {
    let tx = c.transaction()?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", format.number)?;
    tx.execute_batch(origin::DEFINITION)?;
    tx.execute_batch(expiry::DEFINITION)?;
    for family in format.families {
        define(&tx, family)?;
    }
    tx.commit()
}

/// Brings the database from the format `found` to `format`, one step after the other.
pub(super) fn migrate(c: &mut Connection, found: u32, format: &Format) -> rusqlite::Result<()> {
    for to in found + 1..=format.number {
        let tx = c.transaction()?;
        for family in format.families.iter().filter(|family| family.since == to) {
            define(&tx, family)?;
        }
        for migration in format.migrations.iter().filter(|step| step.to == to) {
            (migration.run)(&tx)?;
        }
        tx.pragma_update(None, "user_version", to)?;
        tx.commit()?;
    }
    Ok(())
}

/// Makes the table of a family. The tables of digest families are made hour by hour.
fn define(tx: &Transaction<'_>, family: &Family) -> rusqlite::Result<()> {
    if family.key == KeyKind::Digest {
        return Ok(());
    }
    tx.execute_batch(&table::definition(family, family.name))
}
