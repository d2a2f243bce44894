//! The API's messages, as `build.rs` makes them from the .proto files.
//!
//! Owns nothing. Refuses to be edited.

#![allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]

include!(concat!(env!("OUT_DIR"), "/all.rs"));
