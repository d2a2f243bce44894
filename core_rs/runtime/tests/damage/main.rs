//! Damaged data under a whole server: everything that was acknowledged is answered as it was, or
//! an answer, or the refusal to start, says that it is damaged.
//!
//! Owns the proofs that rest on the store, the wire and the shard together: random damage, one
//! damaged row of each family, damage under the writer, directories from older copies, the check
//! and the salvage. Refuses to prove again what the store's own tests prove.

mod calls;
mod check;
mod decay;
mod dice;
mod directory;
mod kin;
mod older;
mod rows;
mod runs;
mod salvage;
mod sample;
mod server;
mod truth;
mod writer;
