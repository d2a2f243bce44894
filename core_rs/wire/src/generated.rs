//! The protobuf messages, as `build.rs` generates them from the .proto files.
//!
//! Owns no code of its own. Refuses to be visible outside of this crate: the crate's interface has
//! engine values and bytes.

#![allow(
    clippy::all,
    clippy::pedantic,
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated; the server writes many messages by hand, and only tests read them"
)]

include!(concat!(env!("OUT_DIR"), "/all.rs"));
