//! 200 clients that read 50 kB/s each of a stream of 100 MB: by how much the
//! server grows. (Twisted's original grew by 10.8 GB.)

use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::part::{MIB, Part, growth_mib, noise};
use crate::cli::Scale;
use crate::client;
use crate::process::Server;
use crate::report::{Bar, Limit};

const CLIENTS: usize = 200;
const STREAM_BYTES: u64 = 100_000_000;

/// 50 kB/s: 5,000 bytes ten times a second.
const READ_BYTES: u64 = 5_000;
const READ_EVERY: Duration = Duration::from_millis(100);

const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// 80 MB for 200 clients: 400 kB each.
const GROWTH_MAX_MB: f64 = 80.0;

pub(super) fn measure(server: &Server, scale: Scale) -> io::Result<Part> {
    let lasts = Duration::from_secs(if scale.quick { 15 } else { 45 });
    eprintln!("{CLIENTS} slow clients for {} s", lasts.as_secs());
    let before = server.resident_bytes()?;
    let until = Instant::now() + lasts;
    let address = server.address();
    let readers: Vec<_> = (0..CLIENTS)
        .map(|_| reader(address, until))
        .collect::<io::Result<_>>()?;
    let mut most = before;
    while Instant::now() < until {
        thread::sleep(SAMPLE_EVERY);
        most = most.max(server.resident_bytes()?);
    }
    let (served, arrived_bytes) = joined(readers);
    let growth_bytes = growth_mib(most, before) * MIB;
    Ok(Part {
        note: format!(
            "Slow: {served} of {CLIENTS} clients read for {} s, {:.1} kB/s each, from a stream of \
             100 MB; RSS rose from {:.1} to {:.1} MiB at most.",
            lasts.as_secs(),
            arrived_bytes as f64 / 1e3 / lasts.as_secs_f64() / CLIENTS as f64,
            before as f64 / MIB,
            most as f64 / MIB,
        ),
        bars: bars(served, growth_bytes),
    })
}

/// Reads slowly on a thread of its own; returns the bytes that arrived.
fn reader(address: SocketAddr, until: Instant) -> io::Result<JoinHandle<io::Result<u64>>> {
    let read = move || {
        let mut response = client::get(address, &noise(STREAM_BYTES))?;
        let mut arrived_bytes = 0;
        while Instant::now() < until {
            arrived_bytes += response.read_some(READ_BYTES, READ_BYTES as usize)?;
            thread::sleep(READ_EVERY);
        }
        Ok(arrived_bytes)
    };
    thread::Builder::new().stack_size(128 * 1024).spawn(read)
}

/// How many clients were served to the end, and the bytes of all.
fn joined(readers: Vec<JoinHandle<io::Result<u64>>>) -> (usize, u64) {
    let mut served = 0;
    let mut arrived_bytes = 0;
    for reader in readers {
        match reader.join() {
            Ok(Ok(bytes)) => {
                served += 1;
                arrived_bytes += bytes;
            }
            Ok(Err(error)) => eprintln!("a slow client: {error}"),
            Err(_) => eprintln!("a slow client panicked"),
        }
    }
    (served, arrived_bytes)
}

fn bars(served: usize, growth_bytes: f64) -> Vec<Bar> {
    vec![
        Bar {
            promise: format!("slow clients served, of {CLIENTS}"),
            figure: served as f64,
            limit: Limit::AtLeast(CLIENTS as f64),
            unit: "",
        },
        Bar {
            promise: format!("RSS growth under {CLIENTS} clients at 50 kB/s"),
            figure: growth_bytes / 1e6,
            limit: Limit::AtMost(GROWTH_MAX_MB),
            unit: "MB",
        },
    ]
}
