//! What the measurements of memory share: their part of the report, the URL of
//! a download, waiting, and units.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::report::Bar;

/// 2^20 bytes.
pub(super) const MIB: f64 = 1_048_576.0;

/// One measurement's share of the report.
pub(super) struct Part {
    pub(super) note: String,
    pub(super) bars: Vec<Bar>,
}

/// The path of `total_bytes` in ordinary pieces.
pub(super) fn noise(total_bytes: u64) -> String {
    format!("/noise.bin?n={total_bytes}&piece=65536")
}

/// Checks every 100 ms until `done` or until `most` has passed.
pub(super) fn wait_until(
    most: Duration,
    mut done: impl FnMut() -> io::Result<bool>,
) -> io::Result<()> {
    let started = Instant::now();
    while !done()? && started.elapsed() < most {
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// By how much `now` exceeds `before`, in MiB; 0 when it does not.
pub(super) fn growth_mib(now: u64, before: u64) -> f64 {
    now.saturating_sub(before) as f64 / MIB
}
