//! The shard: one engine with everything that waits for it, without I/O.
//!
//! Owns the road of every call: decode, read what the decision rests on, decide, seal the facts
//! into a commit, and hold every answer back until what it rests on is durable. Refuses to know
//! threads, clocks and stores: [`Shard::step`] takes inputs and a time, and says what it wants
//! done. The server's threads and the simulator drive the same code.

mod answer;
mod calls;
mod dispatch;
mod finished;
mod journal;
mod producer;
mod query;
mod reads;
mod records;
mod stream;
mod upkeep;
mod wait;
mod work;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use backlane_engine::Engine;
use backlane_engine::rules::access::Principal;
use backlane_engine::rules::limits::Limits;
use backlane_engine::state::State;
use backlane_engine::time::Now;
use backlane_wire::{ApiError, Context};

use crate::message::{Completion, CompletionKind, Input, Output, Ticket};

use dispatch::Takers;
use journal::Journal;
use reads::Reads;
use records::Records;
use stream::Stream;
use upkeep::Upkeep;
use wait::Waits;

/// Looks at due timers in one step; what is due beyond is worked off in the next.
const TICK_LOOKS: usize = 4_096;

/// How a shard is set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The limits on everything.
    pub limits: Limits,
    /// Bytes of payloads and endings kept in memory.
    pub cache_bytes: usize,
    /// How long finished executions can be read, milliseconds.
    pub retention_ms: u64,
    /// Facts between two rounds of carrying the living, after which the log before can go: this
    /// many and as many as there are living.
    pub round_after_facts: u64,
    /// What workers are told on their streams.
    pub server_version: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            cache_bytes: 16 << 20,
            retention_ms: 7 * 24 * 3_600_000,
            round_after_facts: 250_000,
            server_version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Where a shard's log goes on.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    /// The epoch the shard was taken under.
    pub epoch: u64,
    /// Sequence of the next fact.
    pub next_sequence: u64,
    /// Facts in the log since its start.
    pub facts_in_log: u64,
}

/// A source of randomness: an input, like time.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

/// One shard.
pub struct Shard {
    engine: Engine,
    epoch: u64,
    settings: Settings,
    journal: Journal,
    records: Records,
    reads: Reads,
    takers: Takers,
    waits: Waits,
    streams: BTreeMap<Ticket, Stream>,
    upkeep: Upkeep,
    // Streams whose message was decided after a read: their backlog goes on.
    unblocked: Vec<Ticket>,
    random: Random,
    draining: bool,
    now: Now,
    out: Vec<Output>,
}

impl Shard {
    /// A shard over a folded state.
    #[must_use]
    pub fn start(
        state: State,
        position: Position,
        settings: Settings,
        random: Random,
        now: Now,
    ) -> Self {
        let mut engine = Engine::start(state, position.epoch, settings.limits, now);
        let requests = engine.requests_mut();
        requests.durable_up_to(requests.mark());
        Self {
            engine,
            epoch: position.epoch,
            journal: Journal::new(position.next_sequence),
            records: Records::new(settings.cache_bytes),
            reads: Reads::default(),
            takers: Takers::default(),
            waits: Waits::default(),
            streams: BTreeMap::new(),
            upkeep: Upkeep::new(position.facts_in_log),
            unblocked: Vec::new(),
            random,
            draining: false,
            now,
            out: Vec::new(),
            settings,
        }
    }

    /// The engine, to look at.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, for what no call of the API reaches yet.
    pub const fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The epoch its appends carry.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether all that was decided is durable and nothing waits for the store.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.journal.is_empty() && self.reads.is_empty()
    }

    /// Hours whose request ids will come in [`Input::Requests`].
    pub fn expect_requests(&mut self, hours: impl IntoIterator<Item = u32>) {
        self.engine.requests_mut().expect(hours);
    }

    /// Takes inputs in order at one time and answers what it wants done.
    pub fn step(&mut self, inputs: impl IntoIterator<Item = Input>, now: Now) -> Vec<Output> {
        self.now = now;
        let overdue = self.engine.tick(TICK_LOOKS, now);
        self.upkeep.overdue = overdue;
        self.absorb_timers();
        for input in inputs {
            self.take(input);
            while let Some(ticket) = self.unblocked.pop() {
                self.next_frame(ticket);
            }
        }
        self.expire_waits();
        self.dispatch();
        self.expire_polls();
        self.answer_satisfied();
        self.tell_streams();
        self.maintain();
        self.seal();
        std::mem::take(&mut self.out)
    }

    /// Milliseconds until the shard wants to be stepped again though nothing came in.
    #[must_use]
    pub fn wake_in_ms(&self, now: Now) -> Option<u64> {
        if self.upkeep.overdue {
            return Some(0);
        }
        let (wall, mono) = self.engine.next_tick();
        let wall = wall.map(|at_ms| at_ms.saturating_sub(now.wall_ms));
        let mono = [mono, self.takers.next_expiry(), self.waits.next_expiry()];
        let mono = mono
            .into_iter()
            .flatten()
            .map(|at_ms| at_ms.saturating_sub(now.mono_ms));
        wall.into_iter().chain(mono).min()
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Call(call) => self.call(call),
            Input::Abandon(ticket) => self.abandon(ticket),
            Input::Open {
                ticket,
                method,
                principal,
            } => self.open(ticket, method, principal),
            Input::Frame(ticket, bytes) => self.frame(ticket, bytes),
            Input::HalfClose(ticket) => self.half_close(ticket),
            Input::Close(ticket) => self.close(ticket),
            Input::Written(ticket, size) => self.written(ticket, size),
            Input::Committed(sequence) => self.committed(sequence),
            Input::Read(id, found) => self.read_done(id, &found),
            Input::StoreIsFull(full) => self.engine.set_store_is_full(full),
            Input::Requests { hour, keys, last } => self.learn_requests(hour, keys, last),
            Input::Drain => self.drain(),
        }
    }

    fn learn_requests(&mut self, hour: u32, keys: Vec<[u8; 16]>, last: bool) {
        let requests = self.engine.requests_mut();
        for key in keys {
            requests.learn(hour, key);
        }
        if last {
            requests.learned(hour);
        }
    }

    fn context<'a>(
        limits: &'a Limits,
        principal: &'a Arc<Principal>,
        random: &'a mut Random,
    ) -> Context<'a> {
        Context {
            limits,
            principal,
            random,
        }
    }

    /// Parks something for a caller until all that was decided so far is durable. Errors and
    /// reads are parked as well: they may rest on what is not durable yet.
    fn complete(&mut self, ticket: Ticket, kind: CompletionKind) {
        self.journal
            .park(Output::Complete(Completion { ticket, kind }));
    }

    fn refuse(&mut self, ticket: Ticket, error: &ApiError) {
        self.complete(ticket, CompletionKind::from(error));
    }
}
