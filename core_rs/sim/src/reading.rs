//! Reading: the readers of a server, which are slow and may fail.
//!
//! Owns when a read is answered. Refuses to know what the shard does with the rows.

use std::io;

use backlane_runtime::message::{Found, Query, ReadId};
use backlane_runtime::{Input, reader};
use backlane_store::{Family, Key, Lookup, Part, REQUEST, Reader, StoreError};

use crate::dice::Dice;
use crate::plan::Plan;

#[derive(Debug)]
struct Asked {
    id: ReadId,
    query: Query,
    found: Option<Found>,
}

/// The readers of a server.
pub(crate) struct Reading {
    reader: Box<dyn Reader>,
    asked: Vec<Asked>,
    /// The hours whose request ids the shard has not learned yet, each with the position reached.
    hours: Vec<(u32, u64)>,
}

impl Reading {
    /// The readers of a server that starts. It learns the request ids of these hours.
    pub(crate) fn new(reader: Box<dyn Reader>, hours: impl IntoIterator<Item = u32>) -> Self {
        Self {
            reader,
            asked: Vec::new(),
            hours: hours.into_iter().map(|hour| (hour, 0)).collect(),
        }
    }

    /// A reader that works, for checks.
    pub(crate) fn reader(&mut self) -> &mut dyn Reader {
        &mut *self.reader
    }

    /// Whether nothing is being read.
    pub(crate) const fn is_quiet(&self) -> bool {
        self.asked.is_empty() && self.hours.is_empty()
    }

    /// Takes a query of the shard.
    pub(crate) fn ask(&mut self, id: ReadId, query: Query) {
        self.asked.push(Asked {
            id,
            query,
            found: None,
        });
    }

    /// Goes on with the reads. Returns the inputs for the shard.
    pub(crate) fn go_on(&mut self, plan: &Plan, dice: &mut Dice) -> Vec<Input> {
        // Each read is answered when the reader reaches it. The results arrive in any order.
        let unread = self.asked.iter_mut().filter(|asked| asked.found.is_none());
        for asked in unread {
            if dice.chance(plan.read) {
                asked.found = Some(if dice.chance(plan.misread) {
                    reader::answer(&mut Unreadable, &asked.query)
                } else {
                    reader::answer(&mut *self.reader, &asked.query)
                });
            }
        }
        let mut inputs = Vec::new();
        let mut at = 0;
        while at < self.asked.len() {
            if self.asked[at].found.is_some() && dice.chance(plan.read) {
                let done = self.asked.swap_remove(at);
                inputs.extend(done.found.map(|found| Input::Read(done.id, found)));
            } else {
                at += 1;
            }
        }
        inputs
    }

    /// Reads some request ids of the last hours.
    ///
    /// # Errors
    /// The error of the store. The planned one is none: the ids of hours that were not learned are
    /// looked up one by one.
    pub(crate) fn learn(
        &mut self,
        plan: &Plan,
        dice: &mut Dice,
    ) -> Result<Option<Input>, StoreError> {
        if !dice.chance(500) {
            return Ok(None);
        }
        let Some((hour, after)) = self.hours.pop() else {
            return Ok(None);
        };
        if dice.chance(plan.misread) {
            self.hours.clear();
            return Ok(None);
        }
        let (keys, next) = self.reader.digests_of_hour(&REQUEST, hour, after, 5)?;
        self.hours.extend(next.map(|next| (hour, next)));
        Ok(Some(Input::Requests {
            hour,
            keys,
            last: next.is_none(),
        }))
    }
}

/// A reader on a disk that does not answer.
struct Unreadable;

fn unreadable<T>() -> Result<T, StoreError> {
    Err(StoreError::Io {
        doing: "reading".to_owned(),
        source: io::Error::other("a planned fault"),
    })
}

impl Reader for Unreadable {
    fn get(&mut self, _: &'static Family, _: &[Key], _: Part) -> Result<Vec<Lookup>, StoreError> {
        unreadable()
    }

    fn of_number(
        &mut self,
        _: &'static Family,
        _: u64,
        _: u32,
        _: usize,
    ) -> Result<Vec<(u32, Lookup)>, StoreError> {
        unreadable()
    }

    fn list(
        &mut self,
        _: &'static Family,
        _: &str,
        _: Option<u8>,
        _: u64,
        _: usize,
    ) -> Result<Vec<u64>, StoreError> {
        unreadable()
    }

    fn all(
        &mut self,
        _: &'static Family,
        _: Option<&Key>,
        _: usize,
    ) -> Result<Vec<(Key, Lookup)>, StoreError> {
        unreadable()
    }

    fn digests(
        &mut self,
        _: &'static Family,
        _: &[[u8; 16]],
        _: u32,
    ) -> Result<Vec<Lookup>, StoreError> {
        unreadable()
    }

    fn digests_of_hour(
        &mut self,
        _: &'static Family,
        _: u32,
        _: u64,
        _: usize,
    ) -> Result<(Vec<[u8; 16]>, Option<u64>), StoreError> {
        unreadable()
    }
}
