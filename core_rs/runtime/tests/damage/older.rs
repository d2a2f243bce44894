//! A directory that was restored from an older copy.
//!
//! Owns what becomes of leases that the older copy does not know, and of copies whose files do not
//! belong together. Refuses to know how copies are made.

use backlane_sim::api::v1;

use crate::calls::{enqueue, record};
use crate::directory::{Directory, Image};
use crate::server::Server;

/// Two copies of one directory: before an execution was leased, and after. And the lease.
fn copies() -> (Image, Image, v1::Lease) {
    let directory = Directory::new();
    let server = Server::open(directory.path());
    server.make(&enqueue("acme", "mail", 1));
    server.stop();
    let before = Image::of(directory.path());
    let server = Server::open(directory.path());
    let lease = server.lease("mail", 1).remove(0);
    server.stop();
    (before, Image::of(directory.path()), lease)
}

#[test]
fn an_older_copy_with_its_watermark_starts_and_refuses_the_leases_it_does_not_know() {
    let (before, _, old) = copies();
    let restored = before.placed();
    let server = Server::open_elsewhere(restored.path()).expect("the copy is whole");
    assert_eq!("LEASE_LOST", server.try_complete(&old, "of the old lease"));
    let new = server.lease("mail", 1).remove(0);
    assert_eq!("LEASE_LOST", server.try_complete(&old, "of the old lease"));
    server.complete(&new, "of the new lease");
    let id = &record(&new).execution_id;
    let output = server.get("acme", id).expect("it is found").output;
    assert_eq!(
        Some(backlane_sim::api::json_text("of the new lease")),
        output
    );
}

#[test]
fn an_older_database_under_a_newer_watermark_is_refused_and_the_missing_facts_are_named() {
    let (before, after, _) = copies();
    let mixed = Image {
        watermark: after.watermark,
        ..before
    };
    let refusal = Server::try_open(mixed.placed().path()).err();
    let refusal = refusal.expect("facts are missing");
    assert!(refusal.contains("facts 2 to 2 are missing"), "{refusal}");
}
