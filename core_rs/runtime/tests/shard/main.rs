//! The shard from outside: encoded calls in, encoded answers out, and a store done by hand.
//!
//! Owns the proofs of what scenarios do not reach: what waits for what, streams, drain, sizes.
//! Refuses to look inside the shard.

mod desk;
mod drain;
mod durability;
mod enqueue_stream;
mod leases;
mod lists;
mod requests;
mod retention;
mod sizes;
mod waits;
mod work;
mod work_stream;
