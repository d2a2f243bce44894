//! Tests of the page checksums, and of a quota, which is played by what `SQLite` writes with.

use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_void};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::ptr;

use rusqlite::ffi;
use rustix::io::Errno;

use super::{Oddity, oddity, page_number, seal};
use crate::{Commit, SqliteOptions, SqliteStore, Store as _, StoreError};

fn sealed(number: u64) -> Vec<u8> {
    let mut page = vec![7; 1024];
    seal(number, &mut page);
    page
}

#[test]
fn a_sealed_page_is_sound_in_its_place_alone() {
    let page = sealed(5);
    let expected = (None, Some(Oddity::Checksum(6)));
    assert_eq!(expected, (oddity(5, &page), oddity(6, &page)));
}

#[test]
fn every_flipped_bit_of_a_page_is_noticed() {
    let page = sealed(5);
    let flipped = |bit: usize| {
        let mut page = page.clone();
        page[bit / 8] ^= 1 << (bit % 8);
        page
    };
    let unnoticed = (0..page.len() * 8).filter(|bit| oddity(5, &flipped(*bit)).is_none());
    assert_eq!(0, unnoticed.count());
}

#[test]
fn a_page_of_zeros_is_told_from_a_damaged_one() {
    assert_eq!(Some(Oddity::Zeros(9)), oddity(9, &[0; 512]));
}

#[test]
fn only_whole_pages_in_their_places_are_pages() {
    assert_eq!(Some(3), page_number(4096, 8192));
    assert_eq!(None, page_number(100, 0));
    assert_eq!(None, page_number(4096, 512));
    assert_eq!(None, page_number(1000, 0));
}

/// The most bytes that this thread may have in a directory, and the error number of more.
struct Quota {
    directory: PathBuf,
    bytes: u64,
    error: c_int,
}

thread_local! {
    static QUOTA: RefCell<Option<Quota>> = const { RefCell::new(None) };
}

fn used_bytes(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).unwrap();
    let blocks = files.map(|file| file.unwrap().metadata().unwrap().blocks());
    blocks.sum::<u64>() * 512
}

/// Lets this thread have so many bytes in the directory, in addition to those that it has.
fn leave(directory: &Path, more: u64, error: c_int) {
    QUOTA.set(Some(Quota {
        directory: directory.to_owned(),
        bytes: used_bytes(directory) + more,
        error,
    }));
}

/// Refuses to write so many bytes, as a system call does, if that is more than there may be.
fn is_refused(bytes: usize) -> bool {
    QUOTA.with_borrow(|quota| {
        let Some(quota) = quota else {
            return false;
        };
        let is_refused = used_bytes(&quota.directory) + bytes as u64 > quota.bytes;
        if is_refused {
            // SAFETY: the location is this thread's for as long as the thread lives.
            unsafe { *__errno_location() = quota.error };
        }
        is_refused
    })
}

unsafe extern "C" {
    fn write(file: c_int, bytes: *const c_void, count: usize) -> isize;
    fn pwrite(file: c_int, bytes: *const c_void, count: usize, at: i64) -> isize;
    fn __errno_location() -> *mut c_int;
}

unsafe extern "C" fn limited_write(file: c_int, bytes: *const c_void, count: usize) -> isize {
    if is_refused(count) {
        return -1;
    }
    // SAFETY: the arguments are those of a `write`.
    unsafe { write(file, bytes, count) }
}

unsafe extern "C" fn limited_pwrite(
    file: c_int,
    bytes: *const c_void,
    count: usize,
    at: i64,
) -> isize {
    if is_refused(count) {
        return -1;
    }
    // SAFETY: the arguments are those of a `pwrite`.
    unsafe { pwrite(file, bytes, count, at) }
}

/// Has `SQLite` write by functions that know the quota of their thread.
fn watch_writes() {
    // SAFETY: the default VFS takes functions of the signatures that it calls them with, and
    // ignores names that it does not use. Threads without a quota write as before.
    unsafe {
        let vfs = ffi::sqlite3_vfs_find(ptr::null());
        let set = (*vfs).xSetSystemCall.unwrap();
        let replace = |name: &CStr, call: *const ()| {
            let call = std::mem::transmute::<*const (), unsafe extern "C" fn()>(call);
            set(vfs, name.as_ptr(), Some(call));
        };
        replace(c"write", limited_write as *const ());
        replace(c"pwrite", limited_pwrite as *const ());
        replace(c"pwrite64", limited_pwrite as *const ());
    }
}

const MIB: u64 = 1 << 20;

/// A store in use whose directory may grow by that much.
fn store_with_quota(directory: &Path, reserve_bytes: u64, more: u64) -> (SqliteStore, u64) {
    watch_writes();
    let options = SqliteOptions {
        reserve_bytes,
        ..SqliteOptions::default()
    };
    let mut store = SqliteStore::open(directory, options).unwrap();
    let epoch = store.take(0, "node").unwrap().epoch;
    store.headroom().unwrap();
    leave(directory, more, Errno::DQUOT.raw_os_error());
    (store, epoch)
}

fn large(sequence: u64) -> Commit {
    Commit {
        first_sequence: sequence,
        count: 1,
        frame: vec![7; 2 << 20],
        rows: Vec::new(),
    }
}

#[test]
fn a_quota_that_is_used_up_is_a_full_disk_and_ends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, epoch) = store_with_quota(directory.path(), 0, MIB);
    let refused = store.append(epoch, &large(1)).unwrap_err();
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    let headroom = store.headroom().unwrap();
    assert_eq!((0, 0), (headroom.free_bytes, headroom.room_bytes));
    QUOTA.set(None);
    store.append(epoch, &large(1)).unwrap();
    assert_eq!(0, store.headroom().unwrap().room_bytes);
    store.idle().unwrap();
    assert!(store.headroom().unwrap().room_bytes > 0);
}

#[test]
fn a_store_that_is_never_idle_notices_that_a_quota_leaves_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, epoch) = store_with_quota(directory.path(), 0, MIB);
    store.append(epoch, &large(1)).unwrap_err();
    QUOTA.set(None);
    let mut looks = (0..100).map(|_| store.headroom().unwrap().room_bytes > 0);
    assert_eq!(
        (Some(false), true),
        (looks.next(), looks.any(|has_room| has_room))
    );
}

#[test]
fn the_reserve_is_given_up_where_a_quota_leaves_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, epoch) = store_with_quota(directory.path(), 32 * MIB, MIB);
    store.append(epoch, &large(1)).unwrap();
    let headroom = store.headroom().unwrap();
    assert_eq!((16 * MIB, 0), (headroom.reserve_bytes, headroom.room_bytes));
}

#[test]
fn a_write_that_fails_for_another_reason_is_no_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, epoch) = store_with_quota(directory.path(), 0, MIB);
    leave(directory.path(), MIB, Errno::IO.raw_os_error());
    let failed = store.append(epoch, &large(1)).unwrap_err();
    assert!(matches!(failed, StoreError::Fatal { .. }), "{failed}");
}
