//! The heir: the new directory into which a salvage writes.
//!
//! Owns the commits: rows in commits of bounded size, each with one fact that says nothing, and at
//! last the new log, after which those facts are trimmed. Refuses to decide what is saved.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use backlane_engine::fact::{Actor, ErrorRecord, Fact, FactKind, LogFact, Progress};
use backlane_engine::row::{EndingRow, RequestRow, Row as EngineRow};
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::retry::Category;
use backlane_engine::rules::status::{ActorKind, Cancellation, EndReason, Phase, Status};
use backlane_store::{
    Commit, ENDING, Family, Key, Lookup, Maintenance, PAYLOAD, Part, Row, SqliteOptions,
    SqliteStore, Store, StoreError, Stored,
};
use backlane_wire::{encode_fact, row};

use crate::inspect::Owner;
use crate::recover::SHARD;
use crate::shard::rows::stored;

/// The most rows, or facts, of one commit.
const COMMIT: usize = 512;
/// The most bytes of rows of one commit, but for the last row.
const COMMIT_BYTES: usize = 4 << 20;
/// The name under which a salvage takes the shard.
const NODE: &str = "salvage";
/// The most frames that are trimmed at a time.
const TRIMMED: usize = 1_024;

/// A new directory that is being written.
pub(super) struct Heir {
    store: SqliteStore,
    epoch: u64,
    next_sequence: u64,
    rows: Vec<Row>,
    bytes: usize,
    failed: Option<StoreError>,
}

impl Heir {
    pub(super) fn make(path: &Path) -> Result<Self, StoreError> {
        let mut store = SqliteStore::open(path, SqliteOptions::default())?;
        let taken = store.take(SHARD, NODE)?;
        Ok(Self {
            store,
            epoch: taken.epoch,
            next_sequence: taken.next_sequence,
            rows: Vec::new(),
            bytes: 0,
            failed: None,
        })
    }

    /// Saves a row. An error is kept and returned by the next call that can return one; nothing
    /// is written after an error.
    pub(super) fn save(&mut self, row: Row) {
        if self.failed.is_some() {
            return;
        }
        self.bytes += size(&row);
        self.rows.push(row);
        if self.rows.len() >= COMMIT || self.bytes >= COMMIT_BYTES {
            self.failed = self.flush().err();
        }
    }

    /// Ends an execution as failed, because how it ended or where it stood is lost.
    pub(super) fn end_damaged(&mut self, owner: &Owner, now_ms: u64) {
        let ending = damaged(owner, now_ms);
        let dead_letter = ending.dead_letter();
        self.save(stored(EngineRow::Ending(Box::new(ending))));
        if let Some(row) = dead_letter {
            self.save(stored(row));
        }
    }

    pub(super) fn save_request(&mut self, request: RequestRow) {
        self.save(stored(EngineRow::Request(Box::new(request))));
    }

    /// The ids and tenants of executions, from the payloads that were saved. Executions whose
    /// payload cannot be decoded are left out.
    pub(super) fn owners(&mut self, births: &[Birth]) -> Result<Vec<(Birth, Owner)>, StoreError> {
        self.heads(&PAYLOAD, births, owner)
    }

    /// The endings that were saved or made. Those that cannot be decoded are left out.
    pub(super) fn endings(
        &mut self,
        births: &[Birth],
    ) -> Result<BTreeMap<Birth, EndingRow>, StoreError> {
        let read = |birth, ending: &Stored| row::ending::read(birth, "", &ending.head, None).ok();
        let read = self.heads(&ENDING, births, read);
        read.map(|endings| endings.into_iter().collect())
    }

    /// What the ends of executions mean for their descendants, from the payloads that were saved.
    pub(super) fn policies(
        &mut self,
        births: &[Birth],
    ) -> Result<BTreeMap<Birth, Cancellation>, StoreError> {
        let read = |_, payload: &Stored| row::payload::cancellation(&payload.head).ok();
        let read = self.heads(&PAYLOAD, births, read);
        read.map(|policies| policies.into_iter().collect())
    }

    /// What the heads of the rows of executions tell. Rows that are missing are left out.
    fn heads<T>(
        &mut self,
        family: &'static Family,
        births: &[Birth],
        tells: impl Fn(Birth, &Stored) -> Option<T>,
    ) -> Result<Vec<(Birth, T)>, StoreError> {
        self.flush()?;
        let mut reader = self.store.reader()?;
        let mut all = Vec::new();
        for births in births.chunks(COMMIT) {
            let keys: Vec<Key> = births.iter().map(|birth| Key::Number(*birth)).collect();
            let found = reader.get(family, &keys, Part::Head)?;
            let found = births.iter().zip(found);
            all.extend(found.filter_map(|(birth, lookup)| match lookup {
                Lookup::Found(stored) => Some((*birth, tells(*birth, &stored)?)),
                Lookup::Absent | Lookup::Damaged(_) => None,
            }));
        }
        Ok(all)
    }

    /// Writes the new log and removes the facts before it. The epoch of the next holder will be
    /// above `epoch`.
    pub(super) fn finish(mut self, log: &[Fact], epoch: u64) -> Result<(), StoreError> {
        self.flush()?;
        let begin = self.next_sequence;
        for facts in log.chunks(COMMIT) {
            self.append(facts)?;
        }
        let trim = Maintenance {
            trim_below_sequence: begin,
            limit: TRIMMED,
            ..Maintenance::default()
        };
        while self.store.maintain(self.epoch, &trim)? >= TRIMMED {}
        while self.epoch < epoch {
            self.epoch = self.store.take(SHARD, NODE)?.epoch;
        }
        Ok(())
    }

    /// Writes the rows that were saved since the last commit, with a fact that says nothing: a
    /// commit must hold a fact.
    fn flush(&mut self) -> Result<(), StoreError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        let nothing = FactKind::Log(LogFact::RoundBegan {
            next_birth: 1,
            next_item: 1,
        });
        self.append(&[fact(nothing, 0)])
    }

    fn append(&mut self, facts: &[Fact]) -> Result<(), StoreError> {
        let mut frame = Vec::new();
        for fact in facts {
            encode_fact(fact, &mut frame);
        }
        let commit = Commit {
            first_sequence: self.next_sequence,
            count: u32::try_from(facts.len()).unwrap_or(u32::MAX),
            frame,
            rows: std::mem::take(&mut self.rows),
        };
        self.bytes = 0;
        self.store.append(self.epoch, &commit)?;
        self.next_sequence = commit.next_sequence();
        Ok(())
    }
}

fn size(row: &Row) -> usize {
    match &row.change {
        backlane_store::Change::Put(put) => {
            put.head.len() + put.body.as_ref().map_or(0, |body| body.len())
        }
        backlane_store::Change::Delete | backlane_store::Change::Erase => 0,
    }
}

fn owner(birth: Birth, payload: &Stored) -> Option<Owner> {
    let id = row::payload::id(birth, &payload.head).ok()?;
    let tenant = row::payload::tenant(&payload.head).ok()?;
    Some(Owner {
        id,
        tenant: Arc::from(tenant),
    })
}

fn damaged(owner: &Owner, now_ms: u64) -> EndingRow {
    let message = "how the execution ended, or where it stood, was lost from the damaged disk";
    EndingRow {
        id: owner.id,
        tenant: owner.tenant.clone(),
        status: Status::Failed,
        reason: EndReason::DataDamaged,
        actor: Actor::of(ActorKind::Engine),
        ended_at_ms: now_ms,
        ended_lease: false,
        output: None,
        error: Some(Box::new(ErrorRecord {
            category: Category::KernelInternal,
            message: message.into(),
            code: Some("DATA_DAMAGED".into()),
            attempt: 0,
            occurred_at_ms: now_ms,
            extra: Box::default(),
        })),
        progress: Progress::newborn(Phase::Ready, now_ms),
    }
}

/// A fact that the salvage itself decides.
pub(super) fn fact(kind: FactKind, at_ms: u64) -> Fact {
    Fact {
        at_ms,
        actor: Actor::engine(),
        cause: None,
        kind,
    }
}
