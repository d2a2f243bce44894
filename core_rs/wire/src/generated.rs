//! The messages, as `build.rs` makes them from the .proto files.
//!
//! Owns nothing. Refuses to be seen outside this crate: it shows engine values and bytes.

#![allow(
    clippy::all,
    clippy::pedantic,
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated; much of what a server sends is written by hand, and read by tests alone"
)]

include!(concat!(env!("OUT_DIR"), "/all.rs"));
