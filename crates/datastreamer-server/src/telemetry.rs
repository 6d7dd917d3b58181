//! The log: one line for each event on standard error, without backtraces.
//!
//! The lines of a server go through a bounded queue to a thread of their own: a standard error that
//! takes nothing (an unread pipe, a stopped terminal) must not block the event loop. Lines that find
//! the queue full are dropped and counted.
//!
//! `tracing-appender` has such a queue, but not for an unread standard error at the end of the
//! program: its guard waits only 100 ms for a place in a full queue, and then prints to standard
//! output, which panics if that is closed.

use std::{
    fmt,
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

use datastreamer_http::controls_direction;
use tracing::field::Field;
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt,
    fmt::{
        format::{Writer, debug_fn},
        writer::BoxMakeWriter,
    },
};

use crate::cli::LogFormat;

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";
/// Lines that wait for standard error: what a busy server logs in seconds, and about 1 MB.
const QUEUED_LINES_MAX: usize = 1024;
/// How long the program waits at its end for the last lines to be written.
const LAST_LINES_MAX: Duration = Duration::from_secs(1);
/// How often it tries to get a place in the queue meanwhile.
const LAST_LINES_LOOK: Duration = Duration::from_millis(5);

/// What happens to a line while standard error takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The thread that logs it waits.
    OfTheReader,
    /// It is dropped if the queue is full.
    OfTheProgram,
}

/// The log. Dropping it waits up to [`LAST_LINES_MAX`] for the queued lines to be written.
#[derive(Debug)]
pub(crate) struct Log(Option<SyncSender<Entry>>);

/// Starts logging. Panics become log lines too: a source that panics is a failed transfer, not a
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
        // They would be printed to standard error, which panics if that is closed.
        .log_internal_errors(false)
        .with_ansi(
            io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none(),
        )
        .with_target(false);
    match format {
        LogFormat::Text => {
            let fields = debug_fn(write_field).delimited(" ");
            subscriber.fmt_fields(fields).init();
        }
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        let text = info.payload_as_str().unwrap_or("no text");
        tracing::error!(place, text, "panic");
    }));
    log
}

/// Writes a field as tracing-subscriber does, but for characters that could pass for another line or
/// move the cursor of a terminal: they may come from a client.
fn write_field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    for character in format!("{value:?}").chars() {
        match is_harmful(character) {
            true => write!(writer, "{}", character.escape_default())?,
            false => writer.write_char(character)?,
        }
    }
    Ok(())
}

/// Whether a character controls how a line is shown (Unicode, categories Cc, Zl, Zp, and the controls
/// of bidirectional text).
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}')
        || controls_direction(character)
}

/// A message to the thread that writes.
#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    /// Asks for an answer when all earlier lines are written.
    End(Sender<()>),
}

/// The writing end: each write is one complete line.
#[derive(Clone)]
struct Queue {
    entries: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

/// Returns `None` if the thread cannot be started.
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
                report(lost); // The queue is empty: this line finds a place.
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
                // The receiver may have stopped waiting.
                let _gone = answer.send(());
            }
        }
    }
}

fn write(line: &[u8]) {
    // If standard error is closed, there is nowhere to report it.
    let _closed = io::stderr().write_all(line);
}

fn report(lost: &AtomicU64) {
    match lost.swap(0, Ordering::Relaxed) {
        0 => {}
        lines => tracing::warn!(
            lines,
            "log lines were lost: standard error was not read in time"
        ),
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
