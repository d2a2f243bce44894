//! Measures the disk, so that a durable figure can be read beside what the disk can do.
//!
//! Owns that one measurement. Refuses to judge it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

/// Median time of `appends` small appends in this directory, each followed by fdatasync, in
/// microseconds.
///
/// # Errors
/// Whatever the file system answers.
pub fn fdatasync_micros(directory: &Path, appends: usize) -> io::Result<u64> {
    let path = directory.join(format!("fdatasync.{}", std::process::id()));
    let mut file = File::create(&path)?;
    let times = (0..appends.max(1))
        .map(|_| timed_append(&mut file))
        .collect::<io::Result<Vec<_>>>();
    fs::remove_file(&path)?;
    let mut times = times?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

fn timed_append(file: &mut File) -> io::Result<u64> {
    let begun = Instant::now();
    file.write_all(&[0; 512])?;
    file.sync_data()?;
    Ok(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX))
}
