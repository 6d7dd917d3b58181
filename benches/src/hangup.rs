//! How soon a source is notified that its client disconnected: from the client's `close` to the
//! source's `on_stop` callback, for idle sources and for sources that are blocked in a write.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use datastreamer::{BlockedOn, ChunkReader, StreamHandle, StreamWriter, stream_out};

use crate::cli::Scale;
use crate::client;
use crate::in_process::{self, InProcess};
use crate::report::{Bar, Limit, Report, Table, quantity};
use crate::stats::Sample;

/// The measurement fails if the source is not blocked within this time.
const BLOCKED_MAX: Duration = Duration::from_secs(5);

/// The measurement fails if the source is not notified within this time.
const TOLD_MAX: Duration = Duration::from_secs(5);

/// How often an idle source checks whether it was stopped; not part of the figure.
const IDLE: Duration = Duration::from_millis(2);

/// Before its hang-up a client stays for 0 to 6 ms, so that hang-ups meet an
/// idle source's server in every state: starting, delivering, waiting.
const STAYS_MS: u64 = 7;

/// What the source does when its client disconnects.
const SOURCES: [Source; 2] = [
    Source {
        name: "idle",
        path: "/idle",
        blocks: false,
    },
    Source {
        name: "blocked in a write",
        path: "/blocked",
        blocks: true,
    },
];

#[derive(Debug, Clone, Copy)]
struct Source {
    name: &'static str,
    path: &'static str,
    /// The client disconnects only once the source is blocked.
    blocks: bool,
}

/// What the streams report to the measurement.
struct Tidings {
    started: Receiver<StreamHandle>,
    told: Receiver<Instant>,
}

/// Measures hang-ups one after another.
pub(crate) fn measure(scale: Scale) -> io::Result<Report> {
    // Of 2,000 the 99.9th percentile is the third worst.
    let hangups = if scale.quick { 1_000 } else { 3_000 };
    let (start, started) = channel();
    let (tell, told) = channel();
    let server = in_process::serve(router(start, tell))?;
    let tidings = Tidings { started, told };
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for source in SOURCES {
        hang_up(&server, source, &tidings, 50)?;
        let milliseconds = hang_up(&server, source, &tidings, hangups)?;
        rows.push(row(source.name, &milliseconds));
        bars.extend(promises(source.name, &milliseconds));
    }
    let table = Table {
        header: vec![
            "source", "hang-ups", "p50 ms", "p99 ms", "p99.9 ms", "worst ms",
        ],
        rows,
    };
    Ok(Report {
        title: "Hang-up".into(),
        notes: vec![
            "From just before the client's `close` to the source's `on_stop` callback, in one \
             process, one hang-up at a time, a connection each. Idle sources have written 1,000 \
             bytes and write nothing more; blocked ones write without end to a client that reads \
             1,000 bytes and no more, and leaves once the source is blocked."
                .into(),
        ],
        tables: vec![table],
        bars,
    })
}

fn router(start: Sender<StreamHandle>, tell: Sender<Instant>) -> Router {
    let route = |stream: fn(Sender<Instant>) -> ChunkReader| {
        let (start, tell) = (start.clone(), tell.clone());
        get(async move || {
            let reader = stream(tell.clone());
            let _ = start.send(reader.handle()); // The measurement may have given up.
            Body::new(reader)
        })
    };
    Router::new()
        .route("/idle", route(idle))
        .route("/blocked", route(blocked))
}

fn idle(told: Sender<Instant>) -> ChunkReader {
    stream_out(move |out| {
        tell_on_stop(out, told);
        out.write_all(&[1; 1_000])?;
        out.flush()?;
        while !out.is_stopped() {
            thread::sleep(IDLE);
        }
        Ok::<(), io::Error>(())
    })
}

fn blocked(told: Sender<Instant>) -> ChunkReader {
    stream_out(move |out| -> io::Result<()> {
        tell_on_stop(out, told);
        let piece = vec![1; 64 * 1024];
        loop {
            out.write_all(&piece)?;
        }
    })
}

fn tell_on_stop(out: &StreamWriter, told: Sender<Instant>) {
    out.on_stop(move |_| {
        let _ = told.send(Instant::now()); // The measurement may have given up.
    })
    .keep();
}

/// Milliseconds from hang-up to callback, of each.
fn hang_up(
    server: &InProcess,
    source: Source,
    tidings: &Tidings,
    count: u64,
) -> io::Result<Sample> {
    let mut milliseconds = Vec::new();
    for number in 0..count {
        let mut response = client::get(server.address(), source.path)?;
        response.read_some(1_000, 1_000)?;
        let stream = tidings.started.recv().map_err(io::Error::other)?;
        if source.blocks {
            wait_until_blocked(&stream)?;
        } else {
            thread::sleep(Duration::from_millis(number % STAYS_MS));
        }
        let left = Instant::now();
        drop(response);
        let told = tidings
            .told
            .recv_timeout(TOLD_MAX)
            .map_err(io::Error::other)?;
        milliseconds.push(told.saturating_duration_since(left).as_secs_f64() * 1e3);
    }
    Ok(Sample::new(milliseconds))
}

/// Waits until two checks find the source blocked: it still continues while buffers fill up.
fn wait_until_blocked(stream: &StreamHandle) -> io::Result<()> {
    let started = Instant::now();
    let mut written_then = None;
    while started.elapsed() < BLOCKED_MAX {
        let record = stream.record();
        let blocked = record.blocked_on == BlockedOn::Consumer;
        if blocked && written_then == Some(record.bytes_written) {
            return Ok(());
        }
        written_then = blocked.then_some(record.bytes_written);
        thread::sleep(IDLE);
    }
    Err(io::Error::other("the source did not block"))
}

fn row(name: &str, milliseconds: &Sample) -> Vec<String> {
    let mut row = vec![name.to_owned(), milliseconds.len().to_string()];
    let figures = [0.5, 0.99, 0.999, 1.0].map(|share| milliseconds.nearest_rank(share));
    row.extend(figures.map(|figure| quantity(figure, "")));
    row
}

fn promises(name: &str, milliseconds: &Sample) -> [Bar; 2] {
    let bar = |share: &str, figure, most| Bar {
        promise: format!("notified of a hang-up, {name} source, {share}"),
        figure,
        limit: Limit::AtMost(most),
        unit: "ms",
    };
    [
        bar("p50", milliseconds.nearest_rank(0.5), 5.0),
        bar("p99.9", milliseconds.nearest_rank(0.999), 50.0),
    ]
}
