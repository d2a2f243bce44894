//! Numbers as the database stores them.
//!
//! Owns the conversion. Refuses to judge the numbers.

/// Converts to a number of the database, which are signed. Sequences and numbers of entities stay
/// below the limit; a bound such as "before `u64::MAX`" means the same when it is reduced to it.
pub(super) fn to_db(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts from a number of the database.
pub(super) fn from_db(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
