//! Measures how fast the `SQLite` store appends and expires rows, and the disk's fdatasync.
//!
//! Owns the figures that comments of the store quote. Refuses to judge them.
//!
//! `cargo bench -p backlane-store [-- DIRECTORY]`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backlane_store::{
    Bytes, Change, Class, Commit, ENDING, Family, Key, Listing, Maintenance, PAYLOAD, Put, REQUEST,
    Row, SqliteOptions, SqliteStore, Store, fdatasync_micros,
};

const COMMITS: u64 = 1_000;
const PAYLOAD_BYTES: usize = 300;
const HEAD_BYTES: usize = 20;
const ENDING_BYTES: usize = 160;
const REQUEST_BYTES: usize = 28;
/// About how many bytes a fact takes in a frame.
const FACT_BYTES: usize = 60;

type Failure = Box<dyn std::error::Error>;

/// One shape of load.
struct Load {
    name: &'static str,
    rows: u64,
    make: fn(&mut Commit, u64),
}

const LOADS: [Load; 6] = [
    Load {
        name: "payloads, 64 a commit",
        rows: 64,
        make: payload,
    },
    Load {
        name: "payloads, 500 a commit",
        rows: 500,
        make: payload,
    },
    Load {
        name: "payloads and request ids, 500",
        rows: 500,
        make: payload_with_request,
    },
    Load {
        name: "endings of one tenant, 500",
        rows: 500,
        make: ending_of_one,
    },
    Load {
        name: "endings of 1000 tenants, 500",
        rows: 500,
        make: ending_of_many,
    },
    Load {
        name: "whole lives, 500",
        rows: 500,
        make: whole_life,
    },
];

fn main() -> Result<(), Failure> {
    let asked = std::env::args().nth(1).filter(|arg| !arg.starts_with("--"));
    let root = asked.map_or_else(std::env::temp_dir, PathBuf::from);
    println!(
        "fdatasync: {} us (median of 200)",
        fdatasync_micros(&root, 200)?
    );
    for (page_bytes, checkpoint_mib) in [(4096, 32), (8192, 32)] {
        println!("pages of {page_bytes} B, checkpoints at {checkpoint_mib} MiB");
        for load in &LOADS {
            let checkpoint_bytes = checkpoint_mib << 20;
            let options = SqliteOptions {
                page_bytes,
                checkpoint_bytes,
                ..SqliteOptions::default()
            };
            measure(&root, load, options)?;
        }
    }
    Ok(())
}

fn measure(root: &Path, load: &Load, options: SqliteOptions) -> Result<(), Failure> {
    let directory = tempfile::tempdir_in(root)?;
    let mut store = SqliteStore::open(directory.path(), options)?;
    let epoch = store.take(1, "bench")?.epoch;
    let commits: Vec<_> = (0..COMMITS).map(|number| commit(load, number)).collect();
    let mut times = Vec::with_capacity(commits.len());
    let written = written_bytes();
    let begun = Instant::now();
    for commit in &commits {
        let before = Instant::now();
        store.append(epoch, commit)?;
        times.push(before.elapsed());
    }
    let took = begun.elapsed();
    report(load, took, times, written_bytes() - written);
    forget(&mut store, epoch)
}

fn report(load: &Load, took: Duration, mut times: Vec<Duration>, written: u64) {
    times.sort_unstable();
    let rows = COMMITS * load.rows;
    println!(
        "  {:<30} {:>7} rows/s, {:>5} B written a row; commit p50 {:?} p99 {:?} max {:?}",
        load.name,
        u128::from(rows) * 1_000_000 / took.as_micros(),
        written / rows,
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times[times.len() - 1],
    );
}

/// Bytes that this process has had the kernel write to disks; 0 where the kernel does not tell.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Expires and drops everything, in chunks of a thousand.
fn forget(store: &mut SqliteStore, epoch: u64) -> Result<(), Failure> {
    let work = Maintenance {
        trim_below_sequence: u64::MAX,
        expire: Some((Class::Execution, u64::MAX)),
        drop_hours_below: u32::MAX,
        limit: 1_000,
    };
    let (mut gone, mut longest) = (0, Duration::ZERO);
    let begun = Instant::now();
    loop {
        let before = Instant::now();
        let rows = store.maintain(epoch, &work)?;
        longest = longest.max(before.elapsed());
        gone += rows;
        if rows < work.limit {
            break;
        }
    }
    println!(
        "              forgot {gone} rows in {:?}, longest chunk {longest:?}",
        begun.elapsed()
    );
    Ok(())
}

fn commit(load: &Load, number: u64) -> Commit {
    let first_sequence = number * load.rows + 1;
    let rows = usize::try_from(load.rows).unwrap_or(usize::MAX);
    let mut commit = Commit {
        first_sequence,
        count: u32::try_from(load.rows).unwrap_or(u32::MAX),
        frame: noise(first_sequence)
            .into_iter()
            .cycle()
            .take(rows * FACT_BYTES)
            .collect(),
        ..Commit::default()
    };
    for number in first_sequence..first_sequence + load.rows {
        (load.make)(&mut commit, number);
    }
    commit
}

fn put(commit: &mut Commit, family: &'static Family, key: Key, put: Put) {
    let change = Change::Put(put);
    commit.rows.push(Row {
        family,
        key,
        change,
    });
}

fn some(number: u64, bytes: usize) -> Bytes {
    let content = noise(number).into_iter().cycle().take(bytes);
    Arc::from(content.collect::<Vec<u8>>())
}

fn payload(commit: &mut Commit, number: u64) {
    let row = Put {
        head: some(number, HEAD_BYTES),
        body: Some(some(number, PAYLOAD_BYTES - HEAD_BYTES)),
        ..Put::default()
    };
    put(commit, &PAYLOAD, Key::Number(number), row);
}

fn payload_with_request(commit: &mut Commit, number: u64) {
    payload(commit, number);
    let key = Key::Digest {
        hour: 500_000,
        digest: noise(number),
    };
    let row = Put {
        head: some(number, REQUEST_BYTES),
        ..Put::default()
    };
    put(commit, &REQUEST, key, row);
}

fn ending_of_one(commit: &mut Commit, number: u64) {
    ending(commit, number, "tenant_acme".into());
}

fn ending_of_many(commit: &mut Commit, number: u64) {
    let tenant = u16::from_le_bytes([noise(number)[0], noise(number)[1]]) % 1_000;
    ending(commit, number, format!("tenant_{tenant}").into());
}

fn whole_life(commit: &mut Commit, number: u64) {
    payload_with_request(commit, number);
    ending_of_one(commit, number);
}

fn ending(commit: &mut Commit, number: u64, tenant: Arc<str>) {
    let tag = if number.is_multiple_of(10) { 2 } else { 1 };
    let row = Put {
        version: 1,
        at_ms: number / 50,
        listing: Some(Listing { tenant, tag }),
        head: some(number, ENDING_BYTES),
        body: None,
    };
    put(commit, &ENDING, Key::Number(number), row);
}

/// Sixteen bytes that look random, the same for the same seed (`SplitMix64`).
fn noise(seed: u64) -> [u8; 16] {
    let mix = |n: u64| {
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    };
    let first = mix(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let pair = u128::from(first) << 64 | u128::from(mix(first));
    pair.to_le_bytes()
}
