//! Facts on disk.
//!
//! Owns `log.v1.Fact` and what is in it, both ways. Refuses to know frames, sequences and files.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::decode_facts;
pub(crate) use decode::{actor, error_record, progress as read_progress};
pub use encode::encode_fact;
pub(crate) use encode::{error_fields, policy, progress, put_actor};
