//! Whether the time of large writes is linear in their size: one write of 1 GB compared with ten
//! downloads with one write of 100 MB each, by copy and without.

use std::io::{self, Write};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use bytes::Bytes;
use datastreamer::stream_out;

use crate::cli::Scale;
use crate::client;
use crate::in_process::{self, InProcess};
use crate::pattern::{self, PROGRAM_PERIOD_BYTES};
use crate::report::{Bar, Limit, Report, Table, quantity};
use crate::stats::Sample;

const LARGE_BYTES: u64 = 1_000_000_000;
const SMALL_BYTES: u64 = 100_000_000;

/// "About 1": quadratic behaviour would be near 10, noise is a tenth.
const RATIO_MAX: f64 = 1.25;

/// How the source passes its bytes on, and the route that does so.
const WAYS: [(&str, &str); 2] = [("write_all", "/copied"), ("write_bytes", "/handed")];

/// Seconds of the same number of bytes in large and in small writes.
struct Pair {
    large_seconds: f64,
    small_seconds: f64,
}

/// Measures both ways of writing.
pub(crate) fn measure(scale: Scale) -> io::Result<Report> {
    let pairs = if scale.quick { 3 } else { 9 };
    let server = in_process::serve(router(&pattern::repeated(
        PROGRAM_PERIOD_BYTES,
        LARGE_BYTES as usize,
    )))?;
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for (name, route) in WAYS {
        pair(&server, route)?; // Warm-up.
        let pairs: Vec<Pair> = (0..pairs)
            .map(|_| pair(&server, route))
            .collect::<io::Result<_>>()?;
        rows.push(row(name, &pairs));
        bars.push(promise(name, &pairs));
    }
    let table = Table {
        header: vec![
            "call",
            "1 GB write, MB/s",
            "100 MB writes, MB/s",
            "ratio of times (min–max)",
        ],
        rows,
    };
    Ok(Report {
        title: "One huge write".into(),
        notes: vec![format!(
            "Time to download one write of 1 GB against ten downloads of one write of 100 MB, \
             {pairs} pairs; server and client in one process."
        )],
        tables: vec![table],
        bars,
    })
}

fn router(buffer: &Bytes) -> Router {
    let handed = buffer.clone();
    let copied = buffer.clone();
    Router::new()
        .route(
            "/copied/{n}",
            get(async move |Path(n): Path<usize>| write_at_once(copied.slice(..n))),
        )
        .route(
            "/handed/{n}",
            get(async move |Path(n): Path<usize>| hand_over(handed.slice(..n))),
        )
}

fn write_at_once(piece: Bytes) -> Body {
    Body::new(stream_out(move |out| out.write_all(&piece)))
}

fn hand_over(piece: Bytes) -> Body {
    Body::new(stream_out(move |out| out.write_bytes(piece)))
}

fn pair(server: &InProcess, route: &str) -> io::Result<Pair> {
    let large_seconds = seconds(server, route, LARGE_BYTES)?;
    let mut small_seconds = 0.0;
    for _ in 0..LARGE_BYTES / SMALL_BYTES {
        small_seconds += seconds(server, route, SMALL_BYTES)?;
    }
    Ok(Pair {
        large_seconds,
        small_seconds,
    })
}

fn seconds(server: &InProcess, route: &str, bytes: u64) -> io::Result<f64> {
    let started = Instant::now();
    let counted = client::get(server.address(), &format!("{route}/{bytes}"))?.count()?;
    if counted != bytes {
        return Err(io::Error::other(format!(
            "{counted} bytes arrived instead of {bytes}"
        )));
    }
    Ok(started.elapsed().as_secs_f64())
}

fn ratio(pairs: &[Pair]) -> Sample {
    Sample::new(
        pairs
            .iter()
            .map(|pair| pair.large_seconds / pair.small_seconds),
    )
}

fn row(name: &str, pairs: &[Pair]) -> Vec<String> {
    let rate = |seconds: fn(&Pair) -> f64| {
        let rates = pairs
            .iter()
            .map(|pair| LARGE_BYTES as f64 / 1e6 / seconds(pair));
        quantity(Sample::new(rates).median(), "")
    };
    let ratio = ratio(pairs);
    let [median, low, high] =
        [ratio.median(), ratio.min(), ratio.max()].map(|figure| quantity(figure, ""));
    vec![
        format!("`{name}`"),
        rate(|pair| pair.large_seconds),
        rate(|pair| pair.small_seconds),
        format!("{median} ({low}–{high})"),
    ]
}

fn promise(name: &str, pairs: &[Pair]) -> Bar {
    Bar {
        promise: format!("time per byte of 1 GB in one {name} to that of 100 MB"),
        figure: ratio(pairs).median(),
        limit: Limit::AtMost(RATIO_MAX),
        unit: "",
    }
}
