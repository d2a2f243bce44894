//! Messages: the inputs of a shard and its outputs.
//!
//! Owns the shape of both. Refuses to know the carrier: threads in the server, a loop in the
//! simulator.

use std::collections::BTreeMap;
use std::sync::Arc;

use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Status;
use backlane_store::{Commit, Damage, Family, Key, Lookup, Maintenance, Part};
use backlane_wire::{ApiError, Method};

/// Names a call or a stream of one process. 0 is nobody's: what it carries concerns the server.
pub type Ticket = u64;
/// Names a read under way.
pub type ReadId = u64;

/// What a shard is told.
#[derive(Debug)]
pub enum Input {
    /// A unary call came in.
    Call(UnaryCall),
    /// The caller is gone: nothing more reaches it, and what it was given did not either.
    Abandon(Ticket),
    /// A stream began.
    Open {
        /// Whom its messages go to.
        ticket: Ticket,
        /// Which call.
        method: Method,
        /// Who calls.
        principal: Arc<Principal>,
    },
    /// A message came on a stream.
    Frame(Ticket, Vec<u8>),
    /// The client sends nothing more on a stream.
    HalfClose(Ticket),
    /// The stream is gone.
    Close(Ticket),
    /// So many bytes of a stream's messages, or a unary reply, left for the network.
    Written(Ticket, usize),
    /// Everything below this sequence is durable.
    Committed(u64),
    /// A read is done.
    Read(ReadId, Found),
    /// Whether the store has no room for new executions.
    StoreIsFull(bool),
    /// Request ids the store holds of an hour; the last portion says so.
    Requests {
        /// Hours since the epoch.
        hour: u32,
        /// Their hashes.
        keys: Vec<[u8; 16]>,
        /// Whether the hour is complete now.
        last: bool,
    },
    /// No further leases; workers are told, parked calls are answered.
    Drain,
}

/// A unary call.
#[derive(Debug)]
pub struct UnaryCall {
    /// Whom the reply goes to.
    pub ticket: Ticket,
    /// Which call.
    pub method: Method,
    /// Who calls.
    pub principal: Arc<Principal>,
    /// The caller waits no longer than so many milliseconds.
    pub timeout_ms: Option<u64>,
    /// The encoded request.
    pub bytes: Vec<u8>,
}

/// What a shard wants done.
#[derive(Debug)]
pub enum Output {
    /// Make this durable, then say [`Input::Committed`]. Never more than one at a time.
    Append(Commit),
    /// Read this, then say [`Input::Read`].
    Read(ReadId, Query),
    /// Forget this, in bounded chunks, when there is time.
    Maintain(Maintenance),
    /// Give this to the transport.
    Complete(Completion),
    /// So many bytes of a call or a stream are decided, and that is durable; or nobody waits for
    /// them any more.
    Decided(Ticket, usize),
}

/// Something for a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Whom.
    pub ticket: Ticket,
    /// What it is.
    pub kind: CompletionKind,
}

/// The kinds of completions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompletionKind {
    /// The reply of a unary call.
    Reply(Vec<u8>),
    /// A message of a stream.
    Message(Vec<u8>),
    /// A stream whose reading was paused may be read again.
    Resume,
    /// A stream ends well.
    End,
    /// A call or a stream ends badly.
    Error {
        /// The gRPC status code.
        code: i32,
        /// A message for people.
        message: String,
        /// The encoded `google.rpc.Status`.
        status: Vec<u8>,
    },
    /// A line for the server's log, under the ticket 0.
    Notice(String),
}

/// What is to be read from the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Rows by their keys.
    pub rows: Vec<Wanted>,
    /// Request ids, by hash.
    pub requests: Vec<[u8; 16]>,
    /// The oldest hour whose request ids count.
    pub since_hour: u32,
    /// A page of finished executions. Their endings and payloads are found as well.
    pub list: Option<ListQuery>,
    /// Rows of one entity.
    pub range: Option<RangeQuery>,
}

impl Query {
    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let no_rows = self.rows.is_empty() && self.requests.is_empty();
        no_rows && self.list.is_none() && self.range.is_none()
    }
}

/// One row to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The family of the row.
    pub family: &'static Family,
    /// The key of the row.
    pub key: Key,
    /// The part to read.
    pub part: Part,
}

/// A page of a tenant's finished executions, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// The tenant's name.
    pub tenant: Box<str>,
    /// Only executions that ended so.
    pub status: Option<Status>,
    /// Only executions that were born before.
    pub before: Birth,
    /// Most executions of the page.
    pub limit: usize,
    /// The part of each row to read.
    pub part: Part,
}

/// Rows of one entity in a family with ordinals, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// The family.
    pub family: &'static Family,
    /// Number of the entity.
    pub number: u64,
    /// The first ordinal.
    pub from: u32,
    /// Most rows.
    pub limit: usize,
}

/// What a read found. A row that is missing here is not in the store.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The rows, by the number of their family and their key.
    pub rows: BTreeMap<(u16, Key), Lookup>,
    /// The request ids.
    pub requests: BTreeMap<[u8; 16], Lookup>,
    /// The page, newest first.
    pub listed: Vec<Birth>,
    /// Why the page could not be read.
    pub list_damage: Option<Damage>,
    /// The rows of one entity, by ordinal.
    pub range: Vec<(u32, Lookup)>,
    /// Why the rows of one entity could not be read.
    pub range_damage: Option<Damage>,
}

impl Found {
    /// The outcome of looking for a row.
    #[must_use]
    pub fn row(&self, family: &'static Family, key: &Key) -> Option<&Lookup> {
        self.rows.get(&(family.number, key.clone()))
    }
}

impl From<&ApiError> for CompletionKind {
    fn from(error: &ApiError) -> Self {
        Self::Error {
            code: error.reason().code(),
            message: error.message().to_owned(),
            status: error.to_status(),
        }
    }
}
