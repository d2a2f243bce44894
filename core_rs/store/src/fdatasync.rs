//! Measures how long the disk takes to make a small append durable.
//!
//! Owns that one measurement, so that a throughput figure can be compared with what the disk
//! allows. Refuses to judge the disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Instant;

/// Appends `appends` times 512 bytes to a file in `directory`, calls fdatasync after each, and
/// returns the median duration in microseconds.
///
/// # Errors
/// The error of the file system, if the file cannot be written or removed.
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
