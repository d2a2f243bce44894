//! Holds: whether the worker behind a lease is alive.
//!
//! Owns expiry, acknowledgement and the streams leases live on. Refuses to end a lease: it says
//! when one has run out, and `decide` does the rest.
//!
//! A lease taken over a stream lives as long as frames come on that stream, so a frame costs the
//! same however many leases it keeps alive.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::StreamKey;
use crate::rules::id::{Birth, LeaseToken};
use crate::rules::limits::STREAM_GRACE_MS;
use crate::time::Now;

/// The liveness of one lease. Times are monotonic milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// When it is lost; on a stream, unless frames come.
    pub expires_ms: u64,
    /// The lease period.
    pub duration_ms: u64,
    /// When the attempt times out.
    pub attempt_ms: u64,
    /// When a holder that was asked to stop must have stopped.
    pub grace_ms: Option<u64>,
    /// When it was leased.
    pub leased_ms: u64,
    /// What its tenant was charged, worker-microseconds.
    pub charged_us: u64,
    /// The stream it lives on.
    pub stream: Option<StreamKey>,
    /// What the holder shows; unknown for a lease from before a restart until it is used.
    pub token: Option<LeaseToken>,
    /// Whether the worker is known to have got it.
    pub acknowledged: bool,
}

impl Hold {
    /// A hold that begins now.
    #[must_use]
    pub const fn new(
        duration_ms: u64,
        attempt_ms: u64,
        stream: Option<StreamKey>,
        now: Now,
    ) -> Self {
        Self {
            expires_ms: now.mono_ms.saturating_add(duration_ms),
            duration_ms,
            attempt_ms,
            grace_ms: None,
            leased_ms: now.mono_ms,
            charged_us: 0,
            stream,
            token: None,
            acknowledged: false,
        }
    }
}

/// The life of one worker's stream.
#[derive(Debug, Default)]
pub struct StreamLife {
    /// Monotonic milliseconds of its newest frame.
    pub last_frame_ms: u64,
    /// The leases that live on it.
    pub held: BTreeSet<Birth>,
}

/// Every live lease's liveness.
#[derive(Debug, Default)]
pub struct Holds {
    holds: BTreeMap<Birth, Hold>,
    streams: BTreeMap<StreamKey, StreamLife>,
}

impl Holds {
    /// The hold of an execution.
    #[must_use]
    pub fn get(&self, birth: Birth) -> Option<&Hold> {
        self.holds.get(&birth)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.holds.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    /// A lease began.
    pub fn insert(&mut self, birth: Birth, hold: Hold) {
        if let Some(stream) = hold.stream {
            self.streams.entry(stream).or_default().held.insert(birth);
        }
        self.holds.insert(birth, hold);
    }

    /// A lease ended.
    pub fn remove(&mut self, birth: Birth) -> Option<Hold> {
        let hold = self.holds.remove(&birth)?;
        self.leave_stream(birth, &hold);
        Some(hold)
    }

    /// Something of a lease changed.
    pub fn replace(&mut self, birth: Birth, hold: Hold) {
        if self.remove(birth).is_some() {
            self.insert(birth, hold);
        }
    }

    fn leave_stream(&mut self, birth: Birth, hold: &Hold) {
        if let Some(life) = hold.stream.and_then(|stream| self.streams.get_mut(&stream)) {
            life.held.remove(&birth);
        }
    }

    /// When a lease is lost if nothing more is heard.
    #[must_use]
    pub fn expiry(&self, hold: &Hold) -> u64 {
        let life = hold.stream.and_then(|stream| self.streams.get(&stream));
        let heard = life.map(|life| life.last_frame_ms.saturating_add(hold.duration_ms));
        heard.map_or(hold.expires_ms, |until| until.max(hold.expires_ms))
    }

    /// When a lease must be looked at again.
    #[must_use]
    pub fn next_look(&self, hold: &Hold) -> u64 {
        let first = self.expiry(hold).min(hold.attempt_ms);
        hold.grace_ms.map_or(first, |grace| first.min(grace))
    }

    /// A frame came on a stream: all its leases begin their period anew.
    pub fn frame(&mut self, stream: StreamKey, now: Now) {
        let life = self.streams.entry(stream).or_default();
        life.last_frame_ms = life.last_frame_ms.max(now.mono_ms);
    }

    /// The leases that live on a stream.
    #[must_use]
    pub fn on_stream(&self, stream: StreamKey) -> Vec<Birth> {
        let life = self.streams.get(&stream);
        life.map(|life| life.held.iter().copied().collect())
            .unwrap_or_default()
    }

    /// A stream ended: its leases wait a grace for their worker. Answers which.
    pub fn stream_ended(&mut self, stream: StreamKey, now: Now) -> Vec<Birth> {
        let held = self
            .streams
            .remove(&stream)
            .map(|life| life.held)
            .unwrap_or_default();
        for birth in &held {
            if let Some(hold) = self.holds.get_mut(birth) {
                hold.stream = None;
                hold.expires_ms = now.mono_ms + STREAM_GRACE_MS.min(hold.duration_ms);
            }
        }
        held.into_iter().collect()
    }

    /// The worker is known to have got it.
    pub fn acknowledge(&mut self, birth: Birth) {
        if let Some(hold) = self.holds.get_mut(&birth) {
            hold.acknowledged = true;
        }
    }

    /// A worker showed a lease's token: it has it, and it is alive.
    pub fn heard(&mut self, birth: Birth, renewal: Renewal, now: Now) {
        let Some(mut hold) = self.holds.get(&birth).copied() else {
            return;
        };
        hold.acknowledged = true;
        hold.token = Some(renewal.token);
        hold.duration_ms = renewal.duration_ms.unwrap_or(hold.duration_ms);
        hold.stream = renewal.stream.or(hold.stream);
        hold.expires_ms = now.mono_ms.saturating_add(hold.duration_ms);
        self.replace(birth, hold);
    }
}

/// How a lease is kept.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    /// What the holder showed.
    pub token: LeaseToken,
    /// A new period; `None` keeps the old.
    pub duration_ms: Option<u64>,
    /// The stream it lives on from now on; `None` leaves it where it is.
    pub stream: Option<StreamKey>,
}
