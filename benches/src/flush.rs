//! How long bytes wait when the source writes nothing after them: from the write's return to the
//! client's read, over loopback.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use datastreamer::{ChunkReader, stream_out};

use crate::cli::Scale;
use crate::client;
use crate::in_process::{self, InProcess};
use crate::report::{Bar, Limit, Report, Table, quantity};
use crate::stats::Sample;

/// The default `flush_after`, timers and scheduling included.
const SILENT_MAX_MS: f64 = 250.0;

/// A flush crosses two threads and the loopback; the rest is scheduling.
const FLUSHED_MAX_MS: f64 = 50.0;

/// How often the idle source checks whether its client has disconnected.
const IDLE: Duration = Duration::from_millis(2);

/// What a source writes before it becomes idle.
#[derive(Debug, Clone, Copy)]
struct Case {
    name: &'static str,
    path: &'static str,
    written_bytes: usize,
    flush: bool,
    most_ms: f64,
}

const CASES: [Case; 3] = [
    Case {
        name: "100 B, then silence",
        path: "/few",
        written_bytes: 100,
        flush: false,
        most_ms: SILENT_MAX_MS,
    },
    Case {
        name: "1 MB and 100 B, then silence",
        path: "/many",
        written_bytes: 1_000_100,
        flush: false,
        most_ms: SILENT_MAX_MS,
    },
    Case {
        name: "100 B and `flush`, then silence",
        path: "/flushed",
        written_bytes: 100,
        flush: true,
        most_ms: FLUSHED_MAX_MS,
    },
];

/// Measures every case, one stream at a time.
pub(crate) fn measure(scale: Scale) -> io::Result<Report> {
    let streams = if scale.quick { 8 } else { 30 };
    let (wrote, written) = channel();
    let server = in_process::serve(router(&wrote))?;
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for case in CASES {
        let milliseconds = wait(&server, case, &written, streams)?;
        rows.push(row(case, &milliseconds));
        bars.push(Bar {
            promise: format!("{}, worst", case.name),
            figure: milliseconds.max(),
            limit: Limit::AtMost(case.most_ms),
            unit: "ms",
        });
    }
    let header = vec![
        "the source writes",
        "streams",
        "min ms",
        "p50 ms",
        "worst ms",
    ];
    Ok(Report {
        title: "Silence".into(),
        notes: vec![
            "From the return of the source's last write (or flush) to the client having read the \
             last byte, in one process, with the default `flush_after` of 250 ms."
                .into(),
        ],
        tables: vec![Table { header, rows }],
        bars,
    })
}

fn router(wrote: &Sender<Instant>) -> Router {
    CASES.into_iter().fold(Router::new(), |router, case| {
        let wrote = wrote.clone();
        router.route(case.path, get(async move || Body::new(silent(case, wrote))))
    })
}

/// Writes, reports the time of the write, and then waits until the client disconnects.
fn silent(case: Case, wrote: Sender<Instant>) -> ChunkReader {
    stream_out(move |out| {
        out.write_all(&vec![1; case.written_bytes])?;
        if case.flush {
            out.flush()?;
        }
        let _ = wrote.send(Instant::now()); // The measurement may have given up.
        while !out.is_stopped() {
            thread::sleep(IDLE);
        }
        Ok::<(), io::Error>(())
    })
}

fn wait(
    server: &InProcess,
    case: Case,
    written: &Receiver<Instant>,
    streams: usize,
) -> io::Result<Sample> {
    let mut milliseconds = Vec::new();
    for _ in 0..streams {
        let mut response = client::get(server.address(), case.path)?;
        response.read_some(case.written_bytes as u64, 64 * 1024)?;
        let arrived = Instant::now();
        let written = written.recv().map_err(io::Error::other)?;
        milliseconds.push(arrived.saturating_duration_since(written).as_secs_f64() * 1e3);
    }
    Ok(Sample::new(milliseconds))
}

fn row(case: Case, milliseconds: &Sample) -> Vec<String> {
    let figures = [
        milliseconds.min(),
        milliseconds.median(),
        milliseconds.max(),
    ];
    let mut row = vec![case.name.to_owned(), milliseconds.len().to_string()];
    row.extend(figures.map(|figure| quantity(figure, "")));
    row
}
