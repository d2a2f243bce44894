//! The runtime: feeds the engine, makes its facts durable, and sends replies only after that.
//!
//! Owns the shard (which does no I/O), and the threads, clock, readers and writer around it.
//! Refuses to know Python and gRPC: the owner of the [`Runtime`] collects the completions and sends
//! them.

mod backup;
mod clock;
mod flow;
mod fresh;
mod inspect;
mod keeper;
pub mod message;
mod open;
pub mod reader;
mod recover;
mod runtime;
mod salvage;
mod scan;
pub mod shard;
mod writer;

pub use backup::{CopyError, backup, restore};
pub use clock::{Ahead, Clock, TooFarAhead};
pub use fresh::FreshError;
pub use inspect::{Findings, check};
pub use keeper::{Appended, Disk, Keeper, Surroundings};
pub use message::{Completion, CompletionKind, Input, Output, Ticket, UnaryCall};
pub use open::{OpenError, OpenOptions, open};
pub use recover::{RecoverError, machine_random, recover, request_hours};
pub use runtime::Runtime;
pub use salvage::{Salvage, SalvageError, salvage};
pub use shard::{Random, Settings, Shard};

// The types of the lower crates that the bindings need: the bindings depend on this crate only.
pub use backlane_engine::rules::access::{Principal, TenantScope};
pub use backlane_engine::rules::role::Role;
pub use backlane_store::StoreError;
pub use backlane_wire::{METHODS, Method, Reason};
