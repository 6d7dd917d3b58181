//! The log: one line for each event on standard error, without backtraces.
//!
//! A server's lines go through a bounded queue to a thread of their own: a standard error that
//! takes nothing (a pipe that nobody reads, a terminal that is held) must not hold the event
//! loop. Lines beyond the queue are lost, and counted.

use std::{
    io::{self, Write},
    panic,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::{EnvFilter, fmt::writer::BoxMakeWriter};

use crate::cli::LogFormat;

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";
/// Lines that wait for standard error: what a busy server logs in seconds, and about 1 MB.
const QUEUED_LINES_MAX: usize = 1024;
/// How long the end of the program waits for the last lines to be taken.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);
/// How often it tries meanwhile.
const LAST_LINES_LOOK: Duration = Duration::from_millis(5);

/// Who waits while standard error takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Whoever logs.
    OfTheReader,
    /// Nobody: lines are lost instead.
    OfTheProgram,
}

/// The log; dropping it waits for what is queued, for a moment.
#[derive(Debug)]
pub(crate) struct Log(Option<SyncSender<Entry>>);

/// Starts logging, and makes panics log lines: a source that panics is a failed transfer, not a
/// page of text on a terminal.
pub(crate) fn start(format: LogFormat, default_filter: Option<&str>, pace: Pace) -> Log {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(default_filter.unwrap_or(DEFAULT_FILTER)));
    let queue = (pace == Pace::OfTheProgram).then(start_queue).flatten();
    let log = Log(queue.as_ref().map(|queue| queue.entries.clone()));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(match queue {
            Some(queue) => BoxMakeWriter::new(move || queue.clone()),
            None => BoxMakeWriter::new(io::stderr),
        })
        // They would be printed where nothing can be printed, and that panics.
        .log_internal_errors(false)
        .with_ansi(
            io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none(),
        )
        .with_target(false);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let text = info.payload_as_str().unwrap_or("no text");
        tracing::error!(place, text, "panic");
    }));
    log
}

/// What the thread gets.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Asks for an answer when all before it is written.
    End(Sender<()>),
}

/// The writing end: each write is one whole line.
#[derive(Clone)]
struct Queue {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

/// Without a thread there is no queue.
fn start_queue() -> Option<Queue> {
    let (entries, queued) = mpsc::sync_channel(QUEUED_LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lost);
    let spawned = thread::Builder::new()
        .name("log".into())
        .spawn(move || write_all(&queued, &counted));
    spawned.ok().map(|_| Queue { entries, lost })
}

fn write_all(queued: &Receiver<Entry>, lost: &AtomicU64) {
    loop {
        let entry = match queued.try_recv() {
            Ok(entry) => entry,
            Err(_) => {
                report(lost); // Now there is room for one more.
                match queued.recv() {
                    Ok(entry) => entry,
                    Err(_) => return,
                }
            }
        };
        match entry {
            Entry::Line(line) => write(&line),
            Entry::End(answer) => {
                report(lost);
                while let Ok(Entry::Line(line)) = queued.try_recv() {
                    write(&line);
                }
                // Who has asked waits no longer than he likes.
                let _gone = answer.send(());
            }
        }
    }
}

fn write(line: &[u8]) {
    // Who has closed standard error wants no lines.
    let _closed = io::stderr().write_all(line);
}

fn report(lost: &AtomicU64) {
    match lost.swap(0, Ordering::Relaxed) {
        0 => {}
        lines => tracing::warn!(lines, "log lines were lost: nobody took them"),
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let Some(entries) = self.0.take() else { return };
        let deadline = Instant::now() + LAST_LINES_MAX;
        let (sender, written) = mpsc::channel();
        while entries.try_send(Entry::End(sender.clone())).is_err() {
            if Instant::now() >= deadline {
                return;
            }
            thread::sleep(LAST_LINES_LOOK);
        }
        let _late = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}
