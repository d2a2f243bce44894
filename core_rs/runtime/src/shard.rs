//! The shard: one engine and everything that waits for it, without I/O.
//!
//! Owns the order of one step: due timers, inputs, leases, replies, upkeep, the commit. Refuses to
//! know threads, clocks and stores: [`Shard::step`] takes inputs and a time, and returns what is to
//! be done outside. The server's threads and the simulator drive the same code.

mod actions;
mod cache;
mod calls;
mod desk;
mod dispatch;
mod gone;
mod journal;
mod notices;
mod page;
mod piece;
mod pump;
mod room;
pub(crate) mod rows;
mod settings;
mod show;
mod stream;
mod takers;
mod tally;
mod upkeep;
mod waits;
mod walk;
mod work;

use backlane_engine::Engine;
use backlane_engine::command::{Known, Needs};
use backlane_engine::state::State;
use backlane_engine::time::Now;

use crate::message::{Input, Output, UnaryCall};

pub use settings::{Position, Random, Settings};

use cache::Cache;
use desk::Desk;
use journal::Journal;
use room::{Caller, Job, Room};
use tally::Tally;

/// Most entities that one step looks at because their timers are due. The next steps look at the
/// others.
const TICK_LOOKS: usize = 4_096;

/// One shard.
pub struct Shard {
    room: Room,
    epoch: u64,
}

impl Shard {
    /// A shard that starts on the state its log led to.
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
        let desk = Desk {
            engine,
            journal: Journal::new(position.next_sequence),
            cache: Cache::new(settings.cache_bytes),
            gone: gone::Gone::default(),
            tally: Tally::new(position.facts_in_log),
            settings,
            random,
            draining: false,
            leaving: std::collections::VecDeque::new(),
            room_bytes: u64::MAX,
            now,
            out: Vec::new(),
            ended: Vec::new(),
            noticed: std::collections::BTreeSet::new(),
        };
        Self {
            room: Room::new(desk),
            epoch: position.epoch,
        }
    }

    /// The engine, for reading.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.room.desk.engine
    }

    /// The engine, for commands that no call of the API gives yet.
    pub const fn engine_mut(&mut self) -> &mut Engine {
        &mut self.room.desk.engine
    }

    /// The epoch that appends to the log carry.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The difference between the counts of running executions and the live leases at the newest
    /// audit.
    #[must_use]
    pub const fn permit_drift(&self) -> u64 {
        self.room.desk.tally.permit_drift
    }

    /// Whether all decisions are durable and nothing waits for the store.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.room.desk.journal.is_empty() && self.room.has_read_all()
    }

    /// Announces the hours whose request ids will come in [`Input::Requests`].
    pub fn expect_requests(&mut self, hours: impl IntoIterator<Item = u32>) {
        self.room.desk.engine.requests_mut().expect(hours);
    }

    /// Processes inputs in order, at one time. Returns what is to be done outside.
    pub fn step(&mut self, inputs: impl IntoIterator<Item = Input>, now: Now) -> Vec<Output> {
        let room = &mut self.room;
        room.desk.now = now;
        room.desk.tally.overdue = room.desk.engine.tick(TICK_LOOKS, now);
        room.desk.absorb();
        room.desk.step_agenda();
        for input in inputs {
            take(room, input);
            pump::go_on(room);
        }
        dispatch::give_out(room);
        pump::go_on(room);
        calls::lease::finish_due(room);
        calls::wait::finish_due(room);
        notices::tell(room);
        room.desk.maintain();
        room.desk.seal();
        std::mem::take(&mut room.desk.out)
    }

    /// Milliseconds until the shard needs its next step even if no input comes.
    #[must_use]
    pub fn wake_in_ms(&self, now: Now) -> Option<u64> {
        let room = &self.room;
        if room.desk.tally.overdue || room.desk.can_step_agenda() {
            return Some(0);
        }
        let (wall, mono) = room.desk.engine.next_tick();
        let wall = wall.map(|at_ms| at_ms.saturating_sub(now.wall_ms));
        let poll = room.takers.first_expiry().map(|(at_ms, _)| at_ms);
        let wait = room.waits.first_expiry().map(|(at_ms, _)| at_ms);
        let mono = [mono, poll, wait]
            .into_iter()
            .flatten()
            .map(|at_ms| at_ms.saturating_sub(now.mono_ms));
        wall.into_iter().chain(mono).min()
    }

    /// Whether a step now does no more than its inputs ask for: no timer is due, and no audit.
    #[must_use]
    pub fn is_at_ease(&self, now: Now) -> bool {
        self.wake_in_ms(now) != Some(0) && now.mono_ms < self.room.desk.tally.audit_at_ms
    }
}

fn take(room: &mut Room, input: Input) {
    match input {
        Input::Call(unary) => call(room, unary),
        Input::Abandon(ticket) => {
            // The caller is gone: its wait ends, and leases of its reply did not arrive.
            room.waits.remove(ticket);
            room.walks.remove(&ticket);
            calls::lease::take_back(room, ticket);
        }
        Input::Open {
            ticket,
            method,
            principal,
        } => pump::open(room, ticket, method, principal),
        Input::Frame(ticket, bytes) => pump::frame(room, ticket, bytes),
        Input::HalfClose(ticket) => pump::half_close(room, ticket),
        Input::Close(ticket) => pump::close(room, ticket),
        Input::Written(ticket, size) => pump::written(room, ticket, size),
        Input::Committed(sequence) => room.desk.committed(sequence),
        Input::Read(id, found) => room.read_done(id, found),
        Input::Room(bytes) => {
            room.desk.room_bytes = bytes;
            room.desk.watch_room();
        }
        Input::Requests { hour, keys, last } => learn_requests(room, hour, keys, last),
        Input::Drain => drain(room),
    }
}

fn call(room: &mut Room, call: UnaryCall) {
    let UnaryCall {
        ticket,
        method,
        principal,
        timeout_ms,
        bytes,
    } = call;
    let allowed = principal.may_call(method.entry().role);
    let caller = Caller {
        ticket,
        principal,
        timeout_ms,
    };
    let job = allowed
        .map_err(backlane_wire::ApiError::from)
        .and_then(|()| calls::job(method, &mut room.desk, caller, &bytes));
    let size = bytes.len();
    match job {
        Ok(job) => room.run(Box::new(Counted { job, size }), Known::default()),
        Err(error) => {
            room.desk.refuse(ticket, &error);
            room.desk.journal.park(Output::CallDecided(size));
        }
    }
}

/// A call whose bytes count as undecided until it is decided, which may have to wait for a read.
struct Counted {
    job: Box<dyn Job>,
    size: usize,
}

impl Job for Counted {
    fn needs(&self, desk: &Desk, known: &Known) -> Needs {
        self.job.needs(desk, known)
    }

    fn decide(self: Box<Self>, room: &mut Room, known: &Known) {
        self.job.decide(room, known);
        room.desk.journal.park(Output::CallDecided(self.size));
    }
}

fn learn_requests(room: &mut Room, hour: u32, keys: Vec<[u8; 16]>, last: bool) {
    let requests = room.desk.engine.requests_mut();
    for key in keys {
        requests.learn(hour, key);
    }
    if last {
        requests.learned(hour);
    }
}

fn drain(room: &mut Room) {
    room.desk.draining = true;
    calls::lease::finish_all(room);
    calls::wait::finish_all(room);
    work::drain(&mut room.desk, &mut room.streams);
}
