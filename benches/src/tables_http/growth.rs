//! How much the server's memory grows while it streams a table, once and twenty times at once, to
//! fast and to slow clients.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::finding::Finding;
use crate::cli::Scale;
use crate::client;
use crate::process::Server;
use crate::report::{Bar, Limit, quantity};

const MIB: f64 = 1_048_576.0;

/// 1 MB/s: 100 kB ten times a second.
const SLOW_READ_BYTES: usize = 100_000;
const SLOW_READ_EVERY: Duration = Duration::from_millis(100);

/// Of a fast reader, so that a look at the clock costs nothing.
const FAST_READ_BYTES: usize = 256 * 1024;
const FAST_PAYLOAD_BYTES: u64 = 8 * 1024 * 1024;

/// Readers that have not come to the end leave then: whatever grows with the
/// rows has shown by that time.
const READ_MAX: Duration = Duration::from_secs(15);
const READ_MAX_QUICK: Duration = Duration::from_secs(4);

/// Resident memory that a stream may add.
const GROWTH_MAX_MB: f64 = 64.0;

pub(super) const HEADER: [&str; 7] = [
    "path",
    "streams",
    "readers",
    "MB/s each",
    "RSS before MiB",
    "peak MiB",
    "growth per stream MB",
];

/// How fast a client reads.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Fast,
    Slow,
}

/// The number of clients at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    streams: usize,
    pace: Pace,
}

pub(super) const LOADS: [Load; 4] = [
    Load {
        streams: 1,
        pace: Pace::Fast,
    },
    Load {
        streams: 1,
        pace: Pace::Slow,
    },
    Load {
        streams: 20,
        pace: Pace::Fast,
    },
    Load {
        streams: 20,
        pace: Pace::Slow,
    },
];

pub(super) fn method(scale: Scale) -> String {
    format!(
        "A fresh server for each line, after one request of its index page. Growth is the peak of \
         resident memory (VmHWM in /proc/PID/status) above VmRSS before, divided by the streams. \
         Fast readers take all they get, slow ones 1 MB/s; all leave after {} s, or at the end. \
         One that is refused, or whose stream breaks, makes the line fail.",
        read_max(scale).as_secs()
    )
}

const fn read_max(scale: Scale) -> Duration {
    if scale.quick {
        READ_MAX_QUICK
    } else {
        READ_MAX
    }
}

pub(super) fn measure(
    server: &Server,
    path: &str,
    load: Load,
    scale: Scale,
) -> io::Result<Finding> {
    let before_bytes = server.resident_bytes()?;
    server.reset_peak()?;
    let read = read_all(server.address(), path, load, read_max(scale));
    let peak_bytes = server.peak_resident_bytes()?;
    let growth_bytes = peak_bytes.saturating_sub(before_bytes) as f64 / load.streams as f64;
    let pace = load.pace.name();
    let (rate, figure) = match read {
        Ok(bytes_per_second) => (quantity(bytes_per_second / 1e6, ""), growth_bytes / 1e6),
        Err(error) => (format!("failed: {error}"), f64::NAN),
    };
    Ok(Finding {
        cells: vec![
            path.into(),
            load.streams.to_string(),
            pace.into(),
            rate,
            quantity(before_bytes as f64 / MIB, ""),
            quantity(peak_bytes as f64 / MIB, ""),
            quantity(growth_bytes / 1e6, ""),
        ],
        bar: Bar {
            promise: format!("RSS growth per stream of {path}, {} {pace}", load.streams),
            figure,
            limit: Limit::AtMost(GROWTH_MAX_MB),
            unit: "MB",
        },
    })
}

/// Bytes a second of one client, on average, once all have read.
fn read_all(address: SocketAddr, path: &str, load: Load, most: Duration) -> io::Result<f64> {
    let rates = thread::scope(|scope| {
        let clients: Vec<_> = (0..load.streams)
            .map(|_| scope.spawn(|| load.pace.read(address, path, most)))
            .collect();
        let joined = clients.into_iter().map(|client| {
            client
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a client panicked")))
        });
        joined.collect::<io::Result<Vec<f64>>>()
    })?;
    Ok(rates.iter().sum::<f64>() / load.streams as f64)
}

impl Pace {
    const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
        }
    }

    /// Reads until the end, or for so long; returns bytes a second.
    fn read(self, address: SocketAddr, path: &str, most: Duration) -> io::Result<f64> {
        let started = Instant::now();
        let mut response = client::get(address, path)?;
        let mut arrived_bytes = 0;
        while started.elapsed() < most {
            let (wanted_bytes, read_bytes, rest) = match self {
                Self::Fast => (FAST_PAYLOAD_BYTES, FAST_READ_BYTES, Duration::ZERO),
                Self::Slow => (SLOW_READ_BYTES as u64, SLOW_READ_BYTES, SLOW_READ_EVERY),
            };
            let count = response.read_some(wanted_bytes, read_bytes)?;
            arrived_bytes += count;
            if count == 0 {
                break; // The end.
            }
            thread::sleep(rest);
        }
        Ok(arrived_bytes as f64 / started.elapsed().as_secs_f64())
    }
}
