//! The runtime: feeds the engine, makes its facts durable, and only then lets anything out.
//!
//! Owns the shard (without I/O), and the threads, clock, reader and writer around it. Refuses to
//! know Python and gRPC: completions are taken by whoever holds the [`Runtime`].

mod clock;
mod flow;
mod inspect;
pub mod message;
mod open;
pub mod reader;
mod recover;
mod runtime;
mod salvage;
pub mod shard;
mod writer;

pub use clock::{Ahead, Clock, TooFarAhead};
pub use inspect::{Findings, check};
pub use message::{Completion, CompletionKind, Input, Output, Ticket, UnaryCall};
pub use open::{OpenError, OpenOptions, open};
pub use recover::{RecoverError, machine_random, recover, request_hours};
pub use runtime::Runtime;
pub use salvage::{Salvage, SalvageError, salvage};
pub use shard::{Random, Settings, Shard};

// What the bindings need of the floors below: they see this crate alone.
pub use backlane_engine::rules::access::{Principal, TenantScope};
pub use backlane_engine::rules::role::Role;
pub use backlane_store::StoreError;
pub use backlane_wire::{METHODS, Method, Reason};
