//! Messages: the inputs of a shard and its outputs.
//!
//! Owns the form of inputs and outputs. Refuses to know how they are carried: by threads in the
//! server, by a loop in the simulator.

use std::collections::BTreeMap;
use std::sync::Arc;

use backlane_engine::rules::access::Principal;
use backlane_engine::rules::id::Birth;
use backlane_engine::rules::status::Status;
use backlane_store::{Commit, Damage, Family, Key, Lookup, Maintenance, Part};
use backlane_wire::filter::Filter;
use backlane_wire::{ApiError, Method};

/// The number of a call or a stream within one process. 0 belongs to no call: a completion with it
/// is about the server.
pub type Ticket = u64;
/// The number of a read in progress.
pub type ReadId = u64;

/// An input of a shard.
#[derive(Debug)]
pub enum Input {
    /// A unary call came in.
    Call(UnaryCall),
    /// The caller of a unary call is gone: no reply can reach the caller, and leases of an earlier
    /// reply did not arrive.
    Abandon(Ticket),
    /// A stream began.
    Open {
        /// The ticket of the stream.
        ticket: Ticket,
        /// The method that opened the stream.
        method: Method,
        /// The caller.
        principal: Arc<Principal>,
    },
    /// A message arrived on a stream.
    Frame(Ticket, Vec<u8>),
    /// The client will send no more messages on a stream.
    HalfClose(Ticket),
    /// A stream has ended.
    Close(Ticket),
    /// This many bytes of a stream's messages, or a unary reply, were handed to the network.
    Written(Ticket, usize),
    /// All facts with a lower sequence number are durable.
    Committed(u64),
    /// A read has finished.
    Read(ReadId, Found),
    /// The bytes of disk that new executions may use, beside all commits that are durable.
    Room(u64),
    /// Hashed request ids of one hour that the store has. The last portion of an hour has a flag.
    Requests {
        /// The hour, counted since the epoch.
        hour: u32,
        /// The hashed request ids.
        keys: Vec<[u8; 16]>,
        /// Whether this is the last portion of the hour.
        last: bool,
    },
    /// The server is about to stop: the shard gives no more leases, tells the workers, and answers
    /// waiting calls.
    Drain,
}

/// A unary call.
#[derive(Debug)]
pub struct UnaryCall {
    /// The ticket that the reply goes to.
    pub ticket: Ticket,
    /// The method of the call.
    pub method: Method,
    /// The caller.
    pub principal: Arc<Principal>,
    /// Longest time that the caller waits, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The encoded request.
    pub bytes: Vec<u8>,
}

/// A request of a shard to its surroundings.
#[derive(Debug)]
pub enum Output {
    /// Make this commit durable, then send [`Input::Committed`]. At most one commit is in progress.
    Append(Commit),
    /// Run this query, then send [`Input::Read`].
    Read(ReadId, Query),
    /// Remove these rows and facts, in bounded chunks, when there is time.
    Maintain(Maintenance),
    /// Pass this to the transport.
    Complete(Completion),
    /// A unary call of this many bytes is decided.
    CallDecided(usize),
    /// This many bytes of a stream are decided and durable.
    Decided(Ticket, usize),
}

/// A reply or message for a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The ticket of the call or stream.
    pub ticket: Ticket,
    /// The reply, message or error.
    pub kind: CompletionKind,
}

/// The kinds of completions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompletionKind {
    /// The reply of a unary call.
    Reply(Vec<u8>),
    /// A message on a stream.
    Message(Vec<u8>),
    /// A stream whose reading was paused may be read again.
    Resume,
    /// A stream ends without an error.
    End,
    /// A call or a stream ends with an error.
    Error {
        /// The gRPC status code.
        code: i32,
        /// A message for people.
        message: String,
        /// The encoded `google.rpc.Status`.
        status: Vec<u8>,
    },
    /// A line for the server's log. Its ticket is 0.
    Notice(String),
}

/// A query for the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// Rows to read by their keys.
    pub rows: Vec<Wanted>,
    /// Request ids to look up, hashed.
    pub requests: Vec<[u8; 16]>,
    /// The oldest hour of request ids to look at.
    pub since_hour: u32,
    /// A page of finished executions to read, with their endings and payloads.
    pub list: Option<ListQuery>,
    /// Rows of single entities to read.
    pub ranges: Vec<RangeQuery>,
    /// Finished executions to look through.
    pub scan: Option<ScanQuery>,
}

impl Query {
    /// Whether the query asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let no_rows = self.rows.is_empty() && self.requests.is_empty();
        no_rows && self.list.is_none() && self.ranges.is_empty() && self.scan.is_none()
    }
}

/// One row to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The family of the row.
    pub family: &'static Family,
    /// The key of the row.
    pub key: Key,
    /// The part of the row to read.
    pub part: Part,
}

/// A page of a tenant's finished executions, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// The family whose rows say which executions are listed.
    pub family: &'static Family,
    /// The tenant's name.
    pub tenant: Box<str>,
    /// The status that listed executions must have; `None` for every status.
    pub status: Option<Status>,
    /// Lists only executions with a lower birth number.
    pub before: Birth,
    /// Most executions on the page.
    pub limit: usize,
    /// The part of each row to read.
    pub part: Part,
}

/// A part of a tenant's finished executions to look through, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanQuery {
    /// The tenant's name.
    pub tenant: Box<str>,
    /// The statuses that executions must have.
    pub statuses: Vec<Status>,
    /// Looks only at executions with a lower birth number.
    pub before: Birth,
    /// Looks only at executions with this birth number or a higher one.
    pub floor: Birth,
    /// Most executions to look at.
    pub looks: usize,
    /// What is looked for.
    pub filter: Arc<Filter>,
}

/// What a look through finished executions found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The executions that the filter keeps, newest first.
    pub kept: Vec<Birth>,
    /// The look went down to this birth number. Below, executions may be left.
    pub covered: Birth,
    /// Executions of which damaged rows do not tell whether the filter keeps them, with the damage.
    pub unknown: Vec<(Birth, Box<str>)>,
    /// The damage that ended the look.
    pub damage: Option<Damage>,
}

/// Rows of one entity in a family whose keys have ordinals, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// The family of the rows.
    pub family: &'static Family,
    /// The number of the entity.
    pub number: u64,
    /// The lowest ordinal to read.
    pub from: u32,
    /// Most rows to read.
    pub limit: usize,
}

/// The results of a query. A row that is missing here does not exist in the store.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The rows, by the number of their family and their key.
    pub rows: BTreeMap<(u16, Key), Lookup>,
    /// The request ids that were looked up.
    pub requests: BTreeMap<[u8; 16], Lookup>,
    /// The executions on the page, newest first.
    pub listed: Vec<Birth>,
    /// Whether the page ended early, because its rows are large.
    pub list_is_cut: bool,
    /// The damage that made the page unreadable.
    pub list_damage: Option<Damage>,
    /// For each range of the query: the rows by ordinal, or the damage that made them unreadable.
    pub ranges: Vec<Result<Vec<(u32, Lookup)>, Damage>>,
    /// What the look through finished executions found.
    pub scanned: Option<Box<Scanned>>,
}

impl Found {
    /// The result of reading a row; `None` where the row was not found.
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
