//! Promises of the store in memory alone: planned faults, and two holders at once.
//!
//! Owns those. Refuses to repeat the contract.

use backlane_store::{
    Fault, FaultPlan, Key, Lookup, Maintenance, MemoryDisk, MemoryStore, PAYLOAD, Part, Store,
    StoreError, Volume,
};

use crate::world::{SHARD, facts, found, get, payload, replayed, with_payloads};

fn taken(disk: &MemoryDisk) -> (MemoryStore, u64) {
    let mut store = disk.store();
    let epoch = store.take(SHARD, "node").unwrap().epoch;
    (store, epoch)
}

/// Returns the error of a second append that meets this fault, and how many frames survive.
fn suffer(fault: Fault) -> (StoreError, usize) {
    let disk = MemoryDisk::new();
    disk.plan(FaultPlan::default().at(2, fault));
    let (mut store, epoch) = taken(&disk);
    store.append(epoch, &facts(1, 1)).unwrap();
    let error = store.append(epoch, &facts(2, 1)).unwrap_err();
    let repeated = store.append(epoch, &facts(2, 1)).unwrap_err();
    assert_eq!(error.to_string(), repeated.to_string());
    assert_eq!(fault.is_fatal(), store.take(SHARD, "node").is_err());
    (error, replayed(&mut disk.store()).len())
}

#[test]
fn a_fatal_fault_ends_the_store_with_or_without_the_commit() {
    for (fault, survive) in [(Fault::FatalLost, 1), (Fault::FatalWritten, 2)] {
        let (error, frames) = suffer(fault);
        assert!(matches!(error, StoreError::Fatal { .. }), "{error:?}");
        assert_eq!(survive, frames);
    }
}

#[test]
fn an_unknown_outcome_is_learned_by_taking_again() {
    for (fault, survive) in [(Fault::UnknownLost, 1), (Fault::UnknownWritten, 2)] {
        let (error, frames) = suffer(fault);
        assert!(
            matches!(
                error,
                StoreError::Unknown {
                    first_sequence: 2,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(survive, frames);
    }
}

#[test]
fn a_second_holder_fences_the_first() {
    let disk = MemoryDisk::new();
    let (mut first, old) = taken(&disk);
    let (mut second, new) = taken(&disk);
    let refused = first.append(old, &facts(1, 1));
    assert!(
        matches!(
            refused,
            Err(StoreError::Fenced {
                held: 1,
                current: 2
            })
        ),
        "{refused:?}"
    );
    second.append(new, &facts(1, 1)).unwrap();
    first.take(SHARD, "node").unwrap();
    assert!(matches!(
        second.append(new, &facts(2, 1)),
        Err(StoreError::Fenced { .. })
    ));
}

#[test]
fn refused_appends_do_not_use_up_the_plan() {
    let disk = MemoryDisk::new();
    let (mut store, epoch) = taken(&disk);
    disk.plan(FaultPlan::default().at(1, Fault::FatalLost));
    assert!(matches!(
        store.append(epoch, &facts(9, 1)),
        Err(StoreError::Gap { .. })
    ));
    assert!(matches!(
        store.append(epoch, &facts(1, 1)),
        Err(StoreError::Fatal { .. })
    ));
}

#[test]
fn a_full_disk_has_no_headroom_but_still_takes_commits() {
    let disk = MemoryDisk::new();
    let (mut store, epoch) = taken(&disk);
    assert!(store.headroom().unwrap().free_bytes > 0);
    disk.set_full(true);
    assert_eq!(0, store.headroom().unwrap().free_bytes);
    store.append(epoch, &with_payloads(1, &[1])).unwrap();
    disk.set_full(false);
    assert!(store.headroom().unwrap().free_bytes > 0);
}

#[test]
fn a_commit_that_does_not_fit_is_refused_and_fits_when_there_is_room_again() {
    let disk = MemoryDisk::new();
    let (mut store, epoch) = taken(&disk);
    disk.resize(Volume::new(10_000, 0, 0));
    disk.leave_free(1);
    let commit = with_payloads(1, &[1]);
    assert!(matches!(
        store.append(epoch, &commit),
        Err(StoreError::Full { free_bytes: 1, .. })
    ));
    disk.leave_free(10_000);
    store.append(epoch, &commit).unwrap();
}

#[test]
fn the_reserve_is_for_commits_and_is_made_again() {
    let disk = MemoryDisk::new();
    let (mut store, epoch) = taken(&disk);
    disk.resize(Volume::new(10_000, 1_000, 500));
    disk.leave_free(0);
    let before = store.headroom().unwrap();
    assert_eq!((1_000, 0), (before.reserve_bytes, before.room_bytes));
    store.append(epoch, &with_payloads(1, &[1])).unwrap();
    let after = store.headroom().unwrap();
    assert!((1..1_000).contains(&after.reserve_bytes), "{after:?}");
    disk.leave_free(3_000);
    let again = store.headroom().unwrap();
    let room = again.free_bytes - 500;
    assert_eq!((1_000, room), (again.reserve_bytes, again.room_bytes));
}

#[test]
fn a_fault_in_maintenance_ends_the_writer_and_the_next_one_goes_on() {
    for (fault, left) in [(Fault::FatalLost, 2), (Fault::FatalWritten, 1)] {
        let disk = MemoryDisk::new();
        let (mut store, epoch) = taken(&disk);
        for first in [1, 2] {
            store.append(epoch, &facts(first, 1)).unwrap();
        }
        disk.plan(FaultPlan::default().in_maintenance(fault));
        let work = Maintenance {
            trim_below_sequence: 2,
            limit: 9,
            ..Maintenance::default()
        };
        let failed = store.maintain(epoch, &work);
        assert!(
            matches!(failed, Err(StoreError::Fatal { .. })),
            "{failed:?}"
        );
        let (mut next, epoch) = taken(&disk);
        assert_eq!(left, replayed(&mut next).len());
        assert!(next.maintain(epoch, &work).is_ok());
    }
}

#[test]
fn replay_lets_its_caller_read() {
    let disk = MemoryDisk::new();
    let (mut store, epoch) = taken(&disk);
    store.append(epoch, &with_payloads(1, &[1])).unwrap();
    let mut reader = store.reader().unwrap();
    let mut read = Vec::new();
    store
        .replay(&mut |_| {
            read = reader.get(&PAYLOAD, &[Key::Number(1)], Part::Whole)?;
            Ok(())
        })
        .unwrap();
    assert_eq!(vec![found(&payload(1), Part::Whole)], read);
}

#[test]
fn a_spoiled_row_is_damaged_and_its_neighbours_are_found() {
    let disk = MemoryDisk::new();
    let (mut store, epoch) = taken(&disk);
    store.append(epoch, &with_payloads(1, &[1, 2])).unwrap();
    disk.spoil(&PAYLOAD, &Key::Number(1));
    let mut reader = store.reader().unwrap();
    let spoiled = get(&mut *reader, &PAYLOAD, &Key::Number(1));
    assert!(matches!(spoiled, Lookup::Damaged(_)), "{spoiled:?}");
    let neighbour = get(&mut *reader, &PAYLOAD, &Key::Number(2));
    assert_eq!(found(&payload(2), Part::Whole), neighbour);
}
