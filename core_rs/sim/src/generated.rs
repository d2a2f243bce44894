//! The API's messages, as `build.rs` generates them from the .proto files.
//!
//! Owns no code of its own. Refuses manual edits.

#![allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated"
)]

include!(concat!(env!("OUT_DIR"), "/all.rs"));
