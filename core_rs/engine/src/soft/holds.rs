//! Holds: whether the worker of a lease is alive.
//!
//! Owns expiry and acknowledgement of leases, and the streams that keep them live. Refuses to end a
//! lease: it says when a lease has run out, and `decide` ends it.
//!
//! A lease taken over a stream lives as long as messages arrive on that stream. So a message costs
//! the same, however many leases it keeps live.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{OfferKey, StreamKey};
use crate::reply::LeaseEnds;
use crate::rules::id::{Birth, LeaseToken};
use crate::rules::limits::{PREFETCH_MS, STREAM_GRACE_MS};
use crate::time::Now;

/// The liveness of one lease. Times are monotonic milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Time at which the lease is lost; on a stream, only if no message arrives before.
    pub expires_ms: u64,
    /// The lease period, in milliseconds.
    pub duration_ms: u64,
    /// Time at which the attempt times out.
    pub attempt_ms: u64,
    /// Time at which the worker must have stopped, once it was asked to stop.
    pub grace_ms: Option<u64>,
    /// Time at which the lease began.
    pub leased_ms: u64,
    /// Worker time that the tenant was charged for the lease, in microseconds.
    pub charged_us: u64,
    /// The offer under which the lease was taken; unknown for a lease from before a restart.
    pub offer: Option<OfferKey>,
    /// The stream that keeps the lease live.
    pub stream: Option<StreamKey>,
    /// The lease token; unknown for a lease from before a restart, until the worker uses it.
    pub token: Option<LeaseToken>,
    /// Whether the lease has left the server. Before, its period does not run: a slow disk must not
    /// cost a worker its lease.
    pub is_sent: bool,
    /// Whether the lease is known to have arrived at the worker.
    pub acknowledged: bool,
    /// Whether the attempt begins only when the worker acknowledges the lease.
    pub is_prefetched: bool,
}

impl Hold {
    /// The hold of a lease that begins now.
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
            offer: None,
            stream,
            token: None,
            is_sent: false,
            acknowledged: false,
            is_prefetched: false,
        }
    }

    /// Whether the lease waits at its worker for the begin of the attempt.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.is_prefetched && !self.acknowledged
    }

    /// Worker time that the attempt has taken so far, in microseconds.
    #[must_use]
    pub const fn used_us(&self, now: Now) -> u64 {
        if self.waits() {
            return 0;
        }
        now.mono_ms.saturating_sub(self.leased_ms) * 1_000
    }

    /// Time at which the attempt times out; `None` before it begins.
    #[must_use]
    pub fn attempt_end(&self) -> Option<u64> {
        (self.is_sent && !self.waits()).then_some(self.attempt_ms)
    }
}

/// The state of one worker's stream.
#[derive(Debug, Default)]
pub struct StreamLife {
    /// Arrival of the newest message on the stream, in monotonic milliseconds.
    pub last_frame_ms: u64,
    /// Whether a lease of the stream was lost by silence since the newest message.
    pub is_mute: bool,
    /// The executions whose leases the stream keeps live.
    pub held: BTreeSet<Birth>,
}

/// The liveness of every live lease.
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

    /// The executions whose leases a stream keeps live.
    pub fn of_stream(&self, stream: StreamKey) -> impl Iterator<Item = Birth> + '_ {
        let life = self.streams.get(&stream);
        life.into_iter().flat_map(|life| life.held.iter().copied())
    }

    /// The leases that no stream keeps live: those of unary calls, and those from before a restart.
    pub fn of_calls(&self) -> impl Iterator<Item = (Birth, &Hold)> {
        let holds = self.holds.iter().map(|(birth, hold)| (*birth, hold));
        holds.filter(|(_, hold)| hold.stream.is_none())
    }

    /// Number of live leases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.holds.len()
    }

    /// Whether no lease is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    /// Adds the hold of a new lease.
    pub fn insert(&mut self, birth: Birth, hold: Hold) {
        if let Some(stream) = hold.stream {
            self.streams.entry(stream).or_default().held.insert(birth);
        }
        self.holds.insert(birth, hold);
    }

    /// Removes the hold of a lease that ended.
    pub fn remove(&mut self, birth: Birth) -> Option<Hold> {
        let hold = self.holds.remove(&birth)?;
        self.leave_stream(birth, &hold);
        Some(hold)
    }

    /// Replaces the hold of a lease that changed.
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

    /// Time at which a lease is lost if the worker stays silent. A prefetched lease whose attempt
    /// does not begin is lost even if the worker speaks.
    #[must_use]
    pub fn expiry(&self, hold: &Hold) -> u64 {
        let silence_ms = self.silence_end(hold);
        if hold.waits() {
            silence_ms.min(hold.leased_ms.saturating_add(PREFETCH_MS))
        } else {
            silence_ms
        }
    }

    /// Time at which the worker of a lease has been silent for the lease's period.
    #[must_use]
    pub fn silence_end(&self, hold: &Hold) -> u64 {
        let life = hold.stream.and_then(|stream| self.streams.get(&stream));
        let heard = life.map(|life| life.last_frame_ms.saturating_add(hold.duration_ms));
        heard.map_or(hold.expires_ms, |until| until.max(hold.expires_ms))
    }

    /// The ends of a lease if the worker stays silent.
    #[must_use]
    pub fn ends(&self, hold: &Hold) -> LeaseEnds {
        LeaseEnds {
            lease_ms: self.expiry(hold),
            attempt_ms: hold.attempt_ms,
        }
    }

    /// Time at which a lease must be looked at again, if anything will be due by itself.
    #[must_use]
    pub fn next_look(&self, hold: &Hold) -> Option<u64> {
        let expiry = hold.is_sent.then(|| self.expiry(hold));
        let ends = [expiry, hold.attempt_end(), hold.grace_ms];
        ends.into_iter().flatten().min()
    }

    /// Notes that a lease leaves the server: its period and its attempt begin now. The attempt may
    /// take `timeout_ms`.
    pub fn sent(&mut self, birth: Birth, timeout_ms: u64, now: Now) {
        if let Some(hold) = self.holds.get_mut(&birth).filter(|hold| !hold.is_sent) {
            hold.is_sent = true;
            hold.leased_ms = now.mono_ms;
            hold.expires_ms = now.mono_ms.saturating_add(hold.duration_ms);
            hold.attempt_ms = now.mono_ms.saturating_add(timeout_ms);
        }
    }

    /// Notes a message on a stream: the periods of all its leases restart. Returns whether the
    /// worker had lost a lease by silence.
    pub fn frame(&mut self, stream: StreamKey, now: Now) -> bool {
        let life = self.streams.entry(stream).or_default();
        life.last_frame_ms = life.last_frame_ms.max(now.mono_ms);
        std::mem::take(&mut life.is_mute)
    }

    /// Notes that a lease of a stream was lost by silence.
    pub fn lost(&mut self, stream: StreamKey) {
        if let Some(life) = self.streams.get_mut(&stream) {
            life.is_mute = true;
        }
    }

    /// Whether a worker lost a lease by silence and sent no message since. It may be frozen.
    #[must_use]
    pub fn is_mute(&self, stream: StreamKey) -> bool {
        self.streams.get(&stream).is_some_and(|life| life.is_mute)
    }

    /// The executions whose leases a stream keeps live.
    #[must_use]
    pub fn on_stream(&self, stream: StreamKey) -> Vec<Birth> {
        let life = self.streams.get(&stream);
        life.map(|life| life.held.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Ends a stream: its leases stay live for a grace period. Returns their executions.
    pub fn stream_ended(&mut self, stream: StreamKey, now: Now) -> Vec<Birth> {
        let held = self
            .streams
            .remove(&stream)
            .map(|life| life.held)
            .unwrap_or_default();
        for birth in &held {
            if let Some(hold) = self.holds.get_mut(birth) {
                hold.stream = None;
                // A lease that has not left yet has nowhere to go: only the grace period runs.
                hold.is_sent = true;
                hold.expires_ms = now.mono_ms + STREAM_GRACE_MS.min(hold.duration_ms);
            }
        }
        held.into_iter().collect()
    }

    /// Notes that a lease has arrived at its worker. The attempt of a prefetched lease begins now
    /// and may take `timeout_ms`.
    pub fn acknowledge(&mut self, birth: Birth, timeout_ms: u64, now: Now) {
        if let Some(hold) = self.holds.get_mut(&birth) {
            hold.is_sent = true;
            if hold.waits() {
                hold.leased_ms = now.mono_ms;
                hold.attempt_ms = now.mono_ms.saturating_add(timeout_ms);
            }
            hold.acknowledged = true;
        }
    }

    /// Notes that a worker showed a lease token: the lease has arrived, and the worker is alive.
    pub fn heard(&mut self, birth: Birth, renewal: Renewal, now: Now) {
        let Some(mut hold) = self.holds.get(&birth).copied() else {
            return;
        };
        hold.is_sent = true;
        hold.acknowledged = true;
        hold.token = Some(renewal.token);
        hold.duration_ms = renewal.duration_ms.unwrap_or(hold.duration_ms);
        hold.stream = renewal.stream.or(hold.stream);
        hold.expires_ms = now.mono_ms.saturating_add(hold.duration_ms);
        self.replace(birth, hold);
    }
}

/// How a lease is renewed.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    /// The lease token that the worker showed.
    pub token: LeaseToken,
    /// The new lease period, in milliseconds; `None` keeps the old one.
    pub duration_ms: Option<u64>,
    /// The stream that keeps the lease live from now on; `None` changes nothing.
    pub stream: Option<StreamKey>,
}
