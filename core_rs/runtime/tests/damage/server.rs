//! A server's core on a directory: calls in, decoded replies out.
//!
//! Owns waiting for completions. Refuses to know what is asked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use backlane_runtime::{
    Ahead, Clock, CompletionKind, Method, Principal, Random, Runtime, Settings, Ticket, UnaryCall,
};
use backlane_sim::api;
use backlane_store::{SqliteOptions, SqliteStore};
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// Numbers that look random and are the same in every run, so that a failure comes again.
fn random() -> Random {
    let mut drawn = 0_u64;
    Box::new(move || {
        drawn += 1;
        drawn.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

/// How long any answer may take.
const PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// Why a call has no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The call was refused: code, reason and message.
    Refused(i32, String, String),
    /// The server failed.
    Dead(String),
}

impl Refusal {
    /// Whether the refusal says that data is damaged.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Refused(15, reason, _) if reason == "DATA_DAMAGED")
    }

    /// The message of a refusal that says that data is damaged.
    pub(crate) fn damage(&self) -> &str {
        match self {
            Self::Refused(15, reason, message) if reason == "DATA_DAMAGED" => message,
            other => panic!("no damage but {other:?}"),
        }
    }
}

pub(crate) type Outcome<R> = Result<R, Refusal>;

pub(crate) struct Server {
    runtime: Runtime,
    ahead: Arc<Ahead>,
    came: RefCell<BTreeMap<Ticket, CompletionKind>>,
    notices: RefCell<Vec<String>>,
}

impl Server {
    /// Opens a directory, at the instant at which all tests begin. Rounds are short, so that the
    /// log does not repeat everything that rows hold.
    pub(crate) fn try_open(path: &Path) -> Result<Self, String> {
        Self::try_open_at(path, START_MS)
    }

    pub(crate) fn try_open_at(path: &Path, now_ms: u64) -> Result<Self, String> {
        Self::try_open_with(path, now_ms, random())
    }

    /// Opens a directory that another process took elsewhere: nobody draws the same numbers again.
    pub(crate) fn open_elsewhere(path: &Path) -> Result<Self, String> {
        Self::try_open_with(path, START_MS, backlane_runtime::machine_random())
    }

    fn try_open_with(path: &Path, now_ms: u64, random: Random) -> Result<Self, String> {
        let clock = Clock::standing_at(now_ms);
        let ahead = clock.ahead();
        let settings = Settings {
            round_after_facts: 100,
            ..Settings::default()
        };
        let store = SqliteStore::open(path, SqliteOptions::default());
        let store = Box::new(store.map_err(|error| error.to_string())?);
        let runtime = Runtime::start(store, "node", settings, random, clock);
        Ok(Self {
            runtime: runtime.map_err(|error| error.to_string())?,
            ahead,
            came: RefCell::default(),
            notices: RefCell::default(),
        })
    }

    pub(crate) fn open(path: &Path) -> Self {
        Self::try_open(path).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Moves the clock on.
    pub(crate) fn advance(&self, ms: u64) {
        self.ahead.advance(ms).expect("not too far");
        self.runtime.look();
    }

    /// Asks one call and decodes its reply.
    pub(crate) fn ask<R: Message + Default>(
        &self,
        method: Method,
        request: &impl Message,
    ) -> Outcome<R> {
        let mut outcomes = self.ask_all(method, std::slice::from_ref(request));
        outcomes.remove(0)
    }

    /// Asks many calls at once and decodes their replies, in the order of the requests.
    pub(crate) fn ask_all<R: Message + Default>(
        &self,
        method: Method,
        requests: &[impl Message],
    ) -> Vec<Outcome<R>> {
        let call = |request| self.call(method, request);
        let tickets: Vec<Ticket> = requests.iter().map(call).collect();
        self.runtime.wake();
        tickets
            .into_iter()
            .map(|ticket| self.outcome(ticket))
            .collect()
    }

    fn call(&self, method: Method, request: &impl Message) -> Ticket {
        let ticket = self.runtime.ticket();
        self.runtime.call(UnaryCall {
            ticket,
            method,
            principal: Arc::new(Principal::default()),
            timeout_ms: None,
            bytes: request.encode_to_vec(),
        });
        ticket
    }

    fn outcome<R: Message + Default>(&self, ticket: Ticket) -> Outcome<R> {
        match self.wait_for(ticket)? {
            CompletionKind::Reply(bytes) => Ok(R::decode(&*bytes).expect("a reply of that kind")),
            CompletionKind::Error {
                code,
                message,
                status,
            } => Err(Refusal::Refused(code, api::reason(&status), message)),
            other => panic!("no reply but {other:?}"),
        }
    }

    fn wait_for(&self, ticket: Ticket) -> Outcome<CompletionKind> {
        loop {
            for completion in self.runtime.drain() {
                match completion.kind {
                    CompletionKind::Notice(line) => self.notices.borrow_mut().push(line),
                    kind => {
                        self.came.borrow_mut().insert(completion.ticket, kind);
                    }
                }
            }
            if let Some(kind) = self.came.borrow_mut().remove(&ticket) {
                return Ok(kind);
            }
            if let Some(why) = self.runtime.failure() {
                return Err(Refusal::Dead(why));
            }
            self.wait_for_the_bell();
        }
    }

    fn wait_for_the_bell(&self) {
        #[expect(
            unsafe_code,
            reason = "the descriptor is open as long as the runtime is"
        )]
        // SAFETY: the runtime owns the descriptor and outlives this call.
        let bell = unsafe { BorrowedFd::borrow_raw(self.runtime.bell()) };
        let mut bells = [PollFd::new(&bell, PollFlags::IN)];
        let rung = poll(&mut bells, Some(&PATIENCE)).expect("polling");
        assert!(rung > 0, "no answer came in {} s", PATIENCE.tv_sec);
    }

    /// Why the server failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.runtime.failure()
    }

    /// The lines for the server's log so far.
    pub(crate) fn notices(&self) -> Vec<String> {
        self.notices.borrow().clone()
    }

    /// Stops the server, which leaves all data in the database file.
    pub(crate) fn stop(self) {
        self.runtime.stop();
    }
}
