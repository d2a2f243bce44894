//! The table of one family: its columns and statements, derived from the declaration.
//!
//! Owns the layout of rows. The checksums stand before the head and the head before the body, so
//! that reading the head of a large row never reads the pages of its body. Refuses to know when
//! rows are written, read or removed.

use std::fmt::Write as _;

use rusqlite::{Connection, OptionalExtension as _, Row, Statement};

use super::checksum::Place;
use super::number::{from_db, to_db};
use crate::{Family, Key, KeyKind, Listing, Mode, Part, Put};

/// The statements of a family's table.
///
/// For a digest family, whose tables are one for each hour, [`Table::of_hour`] makes them.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) family: &'static Family,
    /// Inserts a row. In a Once family an existing key is an error; in a Replace family it
    /// inserts nothing.
    pub(super) insert: String,
    /// Inserts a row and removes the one that has the same key.
    pub(super) replace: String,
    /// Deletes the row of a key. In a Starts family it returns the row's `at_ms`.
    pub(super) delete: String,
    /// Deletes all rows of a number. In a Starts family it returns their `at_ms`.
    pub(super) delete_number: String,
    /// Selects the `at_ms` of a key.
    pub(super) select_at: String,
    /// Selects the rows of a number with an `at_ms`, in a Starts family.
    pub(super) select_starting: String,
    select_head: String,
    select_whole: String,
}

impl Table {
    /// The table of a family that is not a digest family.
    pub(super) fn of(family: &'static Family) -> Self {
        Self::named(family, family.name)
    }

    /// The table of one hour of a digest family.
    pub(super) fn of_hour(family: &'static Family, hour: u32) -> Self {
        Self::named(family, &hour_name(family, hour))
    }

    fn named(family: &'static Family, name: &str) -> Self {
        let columns = columns(family);
        let marks = vec!["?"; columns.len()].join(", ");
        let into = format!("INTO {name} ({}) VALUES ({marks})", columns.join(", "));
        let conflict = match family.mode {
            Mode::Once => "",
            Mode::Replace => " ON CONFLICT DO NOTHING",
        };
        let key = key_columns(family.key).join(" = ? AND ");
        let at = if family.starts().is_some() {
            "at_ms"
        } else {
            "0"
        };
        let returning = if family.starts().is_some() {
            " RETURNING at_ms"
        } else {
            ""
        };
        let newest = match family.key {
            KeyKind::Digest => " ORDER BY id DESC LIMIT 1",
            _ => "",
        };
        let select = |columns| {
            let common = common_columns(family);
            format!("SELECT {common}, {columns} FROM {name} WHERE {key} = ?{newest}")
        };
        Self {
            family,
            insert: format!("INSERT {into}{conflict}"),
            replace: format!("INSERT OR REPLACE {into}"),
            delete: format!("DELETE FROM {name} WHERE {key} = ?{returning}"),
            delete_number: format!("DELETE FROM {name} WHERE number = ?{returning}"),
            select_starting: format!("SELECT 1 FROM {name} WHERE number = ? AND {at} = ?"),
            select_at: format!("SELECT {at} FROM {name} WHERE {key} = ?"),
            select_head: select("crc_head, head"),
            select_whole: select("crc_head, head, crc_body, body"),
        }
    }

    /// Reads the row of a key and verifies its checksums.
    pub(super) fn find(
        &self,
        c: &Connection,
        key: &Key,
        part: Part,
    ) -> rusqlite::Result<Option<Content>> {
        let mut select = c.prepare_cached(match part {
            Part::Head => &self.select_head,
            Part::Whole => &self.select_whole,
        })?;
        bind_key(&mut select, key)?;
        let mut rows = select.raw_query();
        let row = rows.next()?;
        row.map(|row| content(self.family, key, row, part))
            .transpose()
    }
}

/// The statements that make a family's table and index, if they do not exist.
pub(super) fn definition(family: &Family, name: &str) -> String {
    let primary = match family.key {
        KeyKind::Number => "number INTEGER PRIMARY KEY",
        KeyKind::Ordinal => "number INTEGER NOT NULL, ordinal INTEGER NOT NULL",
        KeyKind::Name => "tenant TEXT NOT NULL, name TEXT NOT NULL",
        KeyKind::Digest => "id INTEGER PRIMARY KEY, digest BLOB NOT NULL",
    };
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {name} ({primary}");
    let key = key_columns(family.key);
    for column in columns(family)
        .iter()
        .filter(|column| !key.contains(column))
    {
        let _ = write!(sql, ", {column} {}", column_type(column));
    }
    sql += match family.key {
        KeyKind::Number | KeyKind::Digest => ") STRICT;",
        KeyKind::Ordinal => ", PRIMARY KEY (number, ordinal)) STRICT, WITHOUT ROWID;",
        KeyKind::Name => ", PRIMARY KEY (tenant, name)) STRICT, WITHOUT ROWID;",
    };
    if let Some((suffix, columns)) = index(family) {
        let _ = write!(
            sql,
            " CREATE INDEX IF NOT EXISTS {name}_{suffix} ON {name} ({columns});"
        );
    }
    sql
}

/// The name of the table of one hour of a digest family.
pub(super) fn hour_name(family: &Family, hour: u32) -> String {
    format!("{}_{hour}", family.name)
}

fn index(family: &Family) -> Option<(&'static str, &'static str)> {
    if family.key == KeyKind::Digest {
        return Some(("by_digest", "digest"));
    }
    // The index ends with the number, as every index of a rowid table ends with the rowid.
    family.listed.then_some(("by_tenant", "tenant, tag"))
}

fn key_columns(kind: KeyKind) -> &'static [&'static str] {
    match kind {
        KeyKind::Number => &["number"],
        KeyKind::Ordinal => &["number", "ordinal"],
        KeyKind::Name => &["tenant", "name"],
        KeyKind::Digest => &["digest"],
    }
}

/// The columns of a row in their order.
fn columns(family: &Family) -> Vec<&'static str> {
    let mut columns = key_columns(family.key).to_vec();
    if family.mode == Mode::Replace {
        columns.push("version");
    }
    if family.starts().is_some() {
        columns.push("at_ms");
    }
    if family.listed {
        columns.extend(["tenant", "tag"]);
    }
    columns.extend(["crc_head", "crc_body", "head", "body"]);
    columns
}

fn column_type(column: &str) -> &'static str {
    match column {
        "tenant" => "TEXT NOT NULL",
        "head" => "BLOB NOT NULL",
        "body" => "BLOB",
        _ => "INTEGER NOT NULL",
    }
}

/// The columns that every reading selects, with constants for those that the family lacks.
fn common_columns(family: &Family) -> String {
    let version = if family.mode == Mode::Replace {
        "version"
    } else {
        "0"
    };
    let at = if family.starts().is_some() {
        "at_ms"
    } else {
        "0"
    };
    let listing = if family.listed {
        "tenant, tag"
    } else {
        "NULL, NULL"
    };
    format!("{version}, {at}, {listing}")
}

/// Binds a key to the first parameters and returns the position of the next one.
pub(super) fn bind_key(statement: &mut Statement<'_>, key: &Key) -> rusqlite::Result<usize> {
    match key {
        Key::Number(number) => {
            statement.raw_bind_parameter(1, to_db(*number))?;
            Ok(2)
        }
        Key::Ordinal(number, ordinal) => {
            statement.raw_bind_parameter(1, to_db(*number))?;
            statement.raw_bind_parameter(2, ordinal)?;
            Ok(3)
        }
        Key::Name(tenant, name) => {
            statement.raw_bind_parameter(1, tenant)?;
            statement.raw_bind_parameter(2, name)?;
            Ok(3)
        }
        Key::Digest { digest, .. } => {
            statement.raw_bind_parameter(1, &digest[..])?;
            Ok(2)
        }
    }
}

/// Binds a whole row to the parameters of [`Table::insert`] or [`Table::replace`].
pub(super) fn bind_row(
    statement: &mut Statement<'_>,
    family: &Family,
    key: &Key,
    put: &Put,
) -> rusqlite::Result<()> {
    let mut at = bind_key(statement, key)?;
    let mut bind = |value: &dyn rusqlite::ToSql| {
        at += 1;
        statement.raw_bind_parameter(at - 1, value)
    };
    if family.mode == Mode::Replace {
        bind(&put.version)?;
    }
    if family.starts().is_some() {
        bind(&to_db(put.at_ms))?;
    }
    if let Some(listing) = &put.listing {
        bind(&listing.tenant)?;
        bind(&listing.tag)?;
    }
    let place = Place::of(family, key, put);
    // As signed numbers they take 4 bytes, where large unsigned ones take 6.
    bind(&place.head(&put.head).cast_signed())?;
    bind(&place.body(put.body.as_deref()).cast_signed())?;
    bind(&&put.head[..])?;
    bind(&put.body.as_deref())
}

/// The content of a row, or what is wrong with it.
pub(super) type Content = Result<Put, &'static str>;

/// Reads one row of an hour by its id, with its key.
pub(super) fn find_by_id(
    c: &Connection,
    family: &Family,
    hour: u32,
    id: u64,
) -> rusqlite::Result<Option<(Key, Content)>> {
    let (common, name) = (common_columns(family), hour_name(family, hour));
    let columns = format!("{common}, crc_head, head, crc_body, body, digest");
    let mut select = c.prepare_cached(&format!("SELECT {columns} FROM {name} WHERE id = ?1"))?;
    let found = select.query_row([to_db(id)], |row| {
        let digest = row.get(8)?;
        let key = Key::Digest { hour, digest };
        let content = content(family, &key, row, Part::Whole)?;
        Ok((key, content))
    });
    found.optional()
}

/// Reads the selected columns of a row and verifies their checksums.
fn content(family: &Family, key: &Key, row: &Row<'_>, part: Part) -> rusqlite::Result<Content> {
    let mut put = Put {
        version: row.get(0)?,
        at_ms: from_db(row.get(1)?),
        listing: listing(row)?,
        head: row.get_ref(5)?.as_blob()?.into(),
        body: None,
    };
    let place = Place::of(family, key, &put);
    if row.get::<_, i32>(4)? != place.head(&put.head).cast_signed() {
        return Ok(Err("the checksum of its head is wrong"));
    }
    if part == Part::Whole {
        put.body = row.get_ref(7)?.as_blob_or_null()?.map(Into::into);
        if row.get::<_, i32>(6)? != place.body(put.body.as_deref()).cast_signed() {
            return Ok(Err("the checksum of its body is wrong"));
        }
    }
    Ok(Ok(put))
}

fn listing(row: &Row<'_>) -> rusqlite::Result<Option<Listing>> {
    let Some(tenant) = row.get_ref(2)?.as_str_or_null()? else {
        return Ok(None);
    };
    Ok(Some(Listing {
        tenant: tenant.into(),
        tag: row.get(3)?,
    }))
}
