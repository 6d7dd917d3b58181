//! Time from the connection to the first byte of the body, for a warm request: the same table has
//! been downloaded completely before.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::finding::Finding;
use crate::cli::Scale;
use crate::client;
use crate::process::Server;
use crate::report::{Bar, Limit, quantity};
use crate::stats::Sample;

const REQUESTS: usize = 50;

/// With `--quick`.
const REQUESTS_QUICK: usize = 10;

/// The previous client disconnected; the end of its stream must not affect the next measurement.
const REST: Duration = Duration::from_millis(50);

/// A delay that a person does not notice.
const FIRST_BYTE_MAX_MS: f64 = 50.0;

/// The share of requests that must meet the limit: a tail, not the median.
const PROMISED_SHARE: f64 = 0.9;

pub(super) const HEADER: [&str; 5] = [
    "path",
    "first byte ms, median",
    "90 %",
    "worst",
    "complete download before, s",
];

pub(super) fn method(rows: u64) -> String {
    format!(
        "A table of {rows} rows is downloaded once to its end; then {REQUESTS} requests \
         ({REQUESTS_QUICK} with --quick), one after the other, each on a connection of its own \
         that is closed after the first bytes. The time is from before the connection until the \
         first byte of the body. A path that the server does not have is a line that failed."
    )
}

pub(super) fn measure(server: &Server, path: &str, scale: Scale) -> Finding {
    let (cells, figure) = match times(server, path, scale) {
        Ok((whole_seconds, times)) => {
            let promised = times.nearest_rank(PROMISED_SHARE);
            let figures = [times.median(), promised, times.max(), whole_seconds];
            (figures.map(|figure| quantity(figure, "")), promised)
        }
        Err(error) => {
            let mut cells = [const { String::new() }; 4];
            cells[0] = format!("failed: {error}");
            (cells, f64::NAN)
        }
    };
    Finding {
        cells: [path.into()].into_iter().chain(cells).collect(),
        bar: Bar {
            promise: format!("first byte of {path}, 90 % of requests"),
            figure,
            limit: Limit::AtMost(FIRST_BYTE_MAX_MS),
            unit: "ms",
        },
    }
}

/// Seconds of the complete download, and milliseconds to the first byte of each one after it.
fn times(server: &Server, path: &str, scale: Scale) -> io::Result<(f64, Sample)> {
    let started = Instant::now();
    client::get(server.address(), path)?.count()?;
    let whole_seconds = started.elapsed().as_secs_f64();
    let requests = if scale.quick {
        REQUESTS_QUICK
    } else {
        REQUESTS
    };
    let times = (0..requests).map(|_| one(server, path));
    let times = times.collect::<io::Result<Vec<f64>>>()?;
    Ok((whole_seconds, Sample::new(times)))
}

/// Milliseconds until the first byte.
fn one(server: &Server, path: &str) -> io::Result<f64> {
    thread::sleep(REST);
    let started = Instant::now();
    let mut response = client::get(server.address(), path)?;
    response.read_some(1, 1_024)?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
