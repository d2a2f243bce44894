//! Page checksums: `SQLite` reads and writes the database file through this module.
//!
//! Owns the last four bytes of every page of `backlane.db`: a CRC32C over the page's number and
//! the rest of the page. The checksum is written with the page and verified whenever the page is
//! read, so that a damaged page is an error and never wrong data or a missing row. Owns also the
//! only unsafe code of this crate. Refuses to know what a page contains.
//!
//! The module registers a virtual file system (`SQLite`'s "VFS") named [`NAME`]. It is the
//! default VFS with another `xOpen`, which gives the database file a table of methods in which
//! reading and writing are replaced. The write-ahead log is not covered: its frames have
//! checksums of `SQLite`'s own, which are verified after a crash.
//!
//! A write that a quota refuses is told as one that found the disk full, for both files: to the
//! default VFS it is any failed write.
//!
//! A page of zeros is accepted without a checksum. `SQLite` leaves such pages in the file where a
//! page was allocated and freed again before it was written. No page of a table or an index is
//! all zeros, so that `SQLite` refuses a zero page there; in an overflow page the checksum of the
//! row finds the damage.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, ffi};

/// The name of the VFS. Every connection that writes to the database must be opened with it, and
/// so must the target of a copy made with `SQLite`'s backup functions. A program that writes
/// without it, which includes moving the write-ahead log into the database, leaves pages whose
/// checksums are wrong.
pub const NAME: &CStr = c"backlane";

/// Bytes at the end of each page that `SQLite` leaves to the checksum. `SQLite`'s own checksum
/// VFS uses 8 bytes in another way; with 4 it leaves the file alone.
pub(super) const RESERVED_BYTES: u8 = 4;

const CHECKSUM_BYTES: usize = RESERVED_BYTES as usize;

/// Smaller reads and writes concern a part of the file header, not a page.
const SMALLEST_PAGE_BYTES: usize = 512;

/// The VFS on which this one rests.
static BASE: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());

/// What is noteworthy about a page that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Oddity {
    /// The checksum of the page with this number is wrong.
    Checksum(u64),
    /// The page with this number is all zeros.
    Zeros(u64),
}

thread_local! {
    static ODDITY: Cell<Option<Oddity>> = const { Cell::new(None) };
    static LOG_SYNCS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has synced a write-ahead log so far. Tests see by this that commits are
/// durable, which no reading back can show: a killed process leaves its writes to the kernel.
#[must_use]
pub fn log_syncs_of_this_thread() -> u64 {
    LOG_SYNCS.get()
}

/// The last odd page that was read on this thread since the previous call.
pub(super) fn take_oddity() -> Option<Oddity> {
    ODDITY.take()
}

/// Registers the VFS in this process.
pub(super) fn register() -> rusqlite::Result<()> {
    static OUTCOME: OnceLock<c_int> = OnceLock::new();
    match *OUTCOME.get_or_init(register_once) {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}

fn register_once() -> c_int {
    // SAFETY: `sqlite3_vfs_find` may be called at any time. A registered VFS is never freed, and
    // the copy made here is leaked, so that it outlives every connection. The copied methods
    // that are not replaced use nothing of the VFS but its other members, which are equal.
    unsafe {
        let base = ffi::sqlite3_vfs_find(ptr::null());
        if base.is_null() {
            return ffi::SQLITE_ERROR;
        }
        BASE.store(base, Ordering::Release);
        let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
            pNext: ptr::null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            ..*base
        }));
        ffi::sqlite3_vfs_register(vfs, 0)
    }
}

/// Has a new database leave room for the checksum in each page. Must be called before the first
/// page is written and after the page size is set.
pub(super) fn reserve(connection: &Connection) -> rusqlite::Result<()> {
    let mut bytes = c_int::from(RESERVED_BYTES);
    // SAFETY: the handle is valid while `connection` is borrowed, and this operation reads and
    // writes one `int` through its argument.
    let code = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_RESERVE_BYTES,
            (&raw mut bytes).cast(),
        )
    };
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
    }
}

/// The methods of a database file. `SQLite` sees a pointer to the first member, so that a method
/// can find the methods it replaces.
#[repr(C)]
struct Methods {
    methods: ffi::sqlite3_io_methods,
    base: &'static ffi::sqlite3_io_methods,
}

type Base = &'static ffi::sqlite3_io_methods;
type Made = Mutex<Vec<&'static Methods>>;

/// The methods of a database file.
fn replacing(base: Base) -> &'static Methods {
    static MADE: Made = Mutex::new(Vec::new());
    once(&MADE, base, || ffi::sqlite3_io_methods {
        // Version 2 has no memory-mapped reads, which would bypass the checksum.
        iVersion: base.iVersion.min(2),
        xRead: Some(read),
        xWrite: Some(write),
        xDeviceCharacteristics: Some(device_characteristics),
        ..*base
    })
}

/// The methods of a write-ahead log, whose syncs are counted.
fn counting(base: Base) -> &'static Methods {
    static MADE: Made = Mutex::new(Vec::new());
    once(&MADE, base, || ffi::sqlite3_io_methods {
        xWrite: Some(write_log),
        xSync: Some(sync),
        ..*base
    })
}

/// The methods that replace `base`, made once for each table of methods that the base VFS has.
fn once(
    made: &Made,
    base: Base,
    replace: impl FnOnce() -> ffi::sqlite3_io_methods,
) -> &'static Methods {
    let mut made = made.lock();
    if let Some(methods) = made.iter().find(|methods| ptr::eq(methods.base, base)) {
        return methods;
    }
    let methods = replace();
    let methods = Box::leak(Box::new(Methods { methods, base }));
    made.push(methods);
    methods
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let base = BASE.load(Ordering::Acquire);
    // SAFETY: SQLite calls this with the arguments of an `xOpen`, which the base VFS gets
    // unchanged. `file` has room for the base VFS's file, because both VFS state the same size.
    // After success `pMethods` points to a table that the base VFS never frees.
    unsafe {
        let Some(base_open) = (*base).xOpen else {
            return ffi::SQLITE_CANTOPEN;
        };
        let code = base_open(base, name, file, flags, out_flags);
        let replaced = match flags {
            _ if code != ffi::SQLITE_OK => return code,
            _ if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 => replacing(&*(*file).pMethods),
            _ if flags & ffi::SQLITE_OPEN_WAL != 0 => counting(&*(*file).pMethods),
            _ => return code,
        };
        (*file).pMethods = (&raw const *replaced).cast();
        code
    }
}

/// The methods that the base VFS gave this file.
///
/// # Safety
/// `file` must have been opened by [`open`] as a main database or a write-ahead log.
unsafe fn base_of(file: *mut ffi::sqlite3_file) -> &'static ffi::sqlite3_io_methods {
    // SAFETY: `open` set `pMethods` to a `Methods`, whose first member is the table of methods.
    unsafe { (*(*file).pMethods.cast::<Methods>()).base }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with the arguments of an `xRead` for a file that `open` opened.
    // After success `buffer` holds `amount` bytes.
    let (code, bytes) = unsafe {
        let Some(base_read) = base_of(file).xRead else {
            return ffi::SQLITE_IOERR_READ;
        };
        let code = base_read(file, buffer, amount, offset);
        (
            code,
            slice::from_raw_parts(buffer.cast::<u8>(), length(amount)),
        )
    };
    let number = page_number(bytes.len(), offset).filter(|_| code == ffi::SQLITE_OK);
    match number.and_then(|number| oddity(number, bytes)) {
        None => code,
        Some(oddity) => {
            // A thread that is ending keeps no note.
            let _ = ODDITY.try_with(|noted| noted.set(Some(oddity)));
            match oddity {
                Oddity::Checksum(_) => ffi::SQLITE_IOERR_DATA,
                Oddity::Zeros(_) => code,
            }
        }
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite calls this with the arguments of an `xWrite` for a file that `open` opened.
    // `buffer` holds `amount` bytes of memory that SQLite allocated for a page, and SQLite does
    // not use the reserved bytes at its end, which are the only ones changed.
    unsafe {
        if let Some(number) = page_number(length(amount), offset) {
            let page = slice::from_raw_parts_mut(buffer.cast_mut().cast::<u8>(), length(amount));
            if number == 1 && page[RESERVED_BYTES_AT] != RESERVED_BYTES {
                return ffi::SQLITE_IOERR_WRITE;
            }
            seal(number, page);
        }
        write_log(file, buffer, amount, offset)
    }
}

unsafe extern "C" fn write_log(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite or `write` calls this with the arguments of an `xWrite` for a file that
    // `open` opened, and the base VFS gets them unchanged.
    unsafe {
        let Some(base_write) = base_of(file).xWrite else {
            return ffi::SQLITE_IOERR_WRITE;
        };
        match base_write(file, buffer, amount, offset) {
            ffi::SQLITE_IOERR_WRITE if last_errno(file) == OVER_QUOTA => ffi::SQLITE_FULL,
            code => code,
        }
    }
}

/// What the system said of a write for which a quota leaves no room.
const OVER_QUOTA: c_int = rustix::io::Errno::DQUOT.raw_os_error();

/// The system's error number of the last failed operation on a file.
///
/// # Safety
/// As for [`base_of`].
unsafe fn last_errno(file: *mut ffi::sqlite3_file) -> c_int {
    let mut number: c_int = 0;
    // SAFETY: this operation writes one `int` through its argument.
    unsafe {
        if let Some(base_control) = base_of(file).xFileControl {
            let out = (&raw mut number).cast();
            base_control(file, ffi::SQLITE_FCNTL_LAST_ERRNO, out);
        }
    }
    number
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // A thread that is ending counts nothing.
    let _ = LOG_SYNCS.try_with(|syncs| syncs.set(syncs.get() + 1));
    // SAFETY: SQLite calls this with the arguments of an `xSync` for a file that `open` opened.
    unsafe {
        match base_of(file).xSync {
            Some(base_sync) => base_sync(file, flags),
            None => ffi::SQLITE_IOERR_FSYNC,
        }
    }
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite calls this for a file that `open` opened.
    let characteristics = unsafe {
        let base = base_of(file).xDeviceCharacteristics;
        base.map_or(0, |base| base(file))
    };
    // Reading a part of a page would bypass the checksum.
    characteristics & !ffi::SQLITE_IOCAP_SUBPAGE_READ
}

/// Where the file header, in page 1, says how many bytes are reserved in each page.
pub(super) const RESERVED_BYTES_AT: usize = 20;

fn length(amount: c_int) -> usize {
    usize::try_from(amount).unwrap_or(0)
}

/// The number of the page that a read or write of so many bytes concerns, if it concerns one.
fn page_number(bytes: usize, offset: i64) -> Option<u64> {
    let offset = u64::try_from(offset).ok()?;
    let is_page = bytes >= SMALLEST_PAGE_BYTES && bytes.is_power_of_two();
    let is_aligned = offset.is_multiple_of(bytes as u64);
    (is_page && is_aligned).then(|| offset / bytes as u64 + 1)
}

fn checksum(number: u64, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let seed = crc32c::crc32c(&number.to_le_bytes());
    crc32c::crc32c_append(seed, content).to_le_bytes()
}

fn seal(number: u64, page: &mut [u8]) {
    if let Some((content, stored)) = page.split_last_chunk_mut::<CHECKSUM_BYTES>() {
        *stored = checksum(number, content);
    }
}

fn oddity(number: u64, page: &[u8]) -> Option<Oddity> {
    let (content, stored) = page.split_last_chunk::<CHECKSUM_BYTES>()?;
    if checksum(number, content) == *stored {
        None
    } else if page.iter().all(|byte| *byte == 0) {
        Some(Oddity::Zeros(number))
    } else {
        Some(Oddity::Checksum(number))
    }
}

#[cfg(test)]
mod tests;
