//! Enforces the deadlines of all streams on one thread of the process: delayed flushes, stalls of
//! either side, waits for admission.
//!
//! The thread checks each stream a few times within its shortest deadline, so that the write path
//! never reads a clock. In return a flush may come as early as half of the configured delay.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::{
    config::DEFAULT_CONSUMER_STALL,
    error::{Error, ErrorKind},
    outcome::BlockedOn,
    pending::SourceMark,
    pool::no_thread,
    queue::{End, Snapshot},
    stream_core::StreamCore,
    sync::std_lock,
    writer::hand_over_if_idle,
};

/// Least interval between two checks of a stream: a thousand streams at this rate cost one percent
/// of a core.
const CHECK_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Greatest interval between two checks, so that a change of state is noticed within a second.
const CHECK_INTERVAL_MAX: Duration = Duration::from_secs(1);

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

struct Watchdog {
    watched: Mutex<BinaryHeap<Watched>>,
    sooner: Condvar,
}

/// Watches a stream until it is done. If the watchdog's thread cannot be started, no deadline could
/// be enforced, so the stream is refused.
pub(crate) fn watch(core: &Arc<StreamCore>) {
    let watchdog = WATCHDOG.get_or_init(|| Watchdog {
        watched: Mutex::new(BinaryHeap::new()),
        sooner: Condvar::new(),
    });
    if let Err(error) = ensure_thread() {
        core.stop(no_thread(&error));
        core.end_source(End::Abort(Error::of_kind(ErrorKind::Busy)));
        return;
    }
    let entry = Watched::new(core);
    let mut watched = std_lock(&watchdog.watched);
    let is_next = watched.peek().is_none_or(|next| entry.due < next.due);
    watched.push(entry);
    drop(watched);
    if is_next {
        watchdog.sooner.notify_one();
    }
}

fn ensure_thread() -> std::io::Result<()> {
    static RUNNING: Mutex<bool> = Mutex::new(false);
    let mut running = std_lock(&RUNNING);
    if !*running {
        thread::Builder::new()
            .name("datastreamer-watch".into())
            .spawn(run)?;
        *running = true;
    }
    Ok(())
}

fn run() {
    let Some(watchdog) = WATCHDOG.get() else {
        return;
    };
    let mut watched = std_lock(&watchdog.watched);
    loop {
        let now = Instant::now();
        match watched.peek() {
            None => {
                watched = watchdog
                    .sooner
                    .wait(watched)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            Some(next) if next.due > now => {
                let pause = next.due - now;
                watched = watchdog
                    .sooner
                    .wait_timeout(watched, pause)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            Some(_) => {
                let entry = watched.pop();
                drop(watched);
                let entry = entry.and_then(|entry| entry.check_catching_panics(now));
                watched = std_lock(&watchdog.watched);
                watched.extend(entry);
            }
        }
    }
}

/// One watched stream and its state at the last check.
struct Watched {
    due: Instant,
    core: Weak<StreamCore>,
    source: SourceMark,
    bytes_pushed: u64,
    source_moved: Instant,
    moves: u64,
    consumer_moved: Instant,
    /// Since when the consumer has had something to take or release without a break, and how many
    /// bytes it had taken then.
    owing: Option<(Instant, u64)>,
}

impl Watched {
    fn new(core: &Arc<StreamCore>) -> Self {
        let now = Instant::now();
        Self {
            due: now + interval(core, false),
            core: Arc::downgrade(core),
            source: SourceMark::default(),
            bytes_pushed: 0,
            source_moved: now,
            moves: 0,
            consumer_moved: now,
            owing: None,
        }
    }

    /// Checks the stream; `None` when it needs no more checks. A stop runs foreign code (wakers,
    /// drops); a panic there must not end the watchdog of all streams.
    fn check_catching_panics(mut self, now: Instant) -> Option<Self> {
        let checked = catch_unwind(AssertUnwindSafe(|| self.check(now)));
        checked.unwrap_or(true).then_some(self)
    }

    /// Checks the stream; returns whether it needs more checks.
    fn check(&mut self, now: Instant) -> bool {
        self.due = now + CHECK_INTERVAL_MAX;
        let Some(core) = self.core.upgrade() else {
            return false;
        };
        let snapshot = core.queue.snapshot();
        if snapshot.is_done {
            return false;
        }
        if core.is_waiting_for_admission() {
            self.source_moved = now;
            refuse_if_late(&core);
        } else if !snapshot.source_done {
            self.check_source(&core, &snapshot, now);
        }
        self.check_consumer(&core, &snapshot, now);
        self.due = now + interval(&core, snapshot.source_done);
        true
    }

    fn check_source(&mut self, core: &Arc<StreamCore>, snapshot: &Snapshot, now: Instant) {
        let last = core.settings.flush_after.map(|_| self.source);
        let seen = hand_over_if_idle(core, last);
        let moved = seen != Some(self.source)
            || snapshot.figures.bytes_pushed != self.bytes_pushed
            || snapshot.blocked_on == BlockedOn::Consumer;
        self.source = seen.unwrap_or(self.source);
        self.bytes_pushed = snapshot.figures.bytes_pushed;
        if moved {
            self.source_moved = now;
        }
        let waited = now - self.source_moved;
        let stall = core.settings.source_stall;
        if let Some(stall) = stall.filter(|stall| waited >= *stall) {
            core.stop(Error::new(
                ErrorKind::SourceStalled,
                format!("no byte written for {stall:?}"),
            ));
        }
    }

    fn check_consumer(&mut self, core: &Arc<StreamCore>, snapshot: &Snapshot, now: Instant) {
        let minimum = core.settings.min_bytes_per_second;
        let stall = core.settings.consumer_stall;
        let figures = &snapshot.figures;
        // At the first check that finds something owed, it may have been owed for only a moment.
        // The time since the last check does not count: on a busy machine it can be long.
        let owes_already = snapshot.consumer_owes && self.owing.is_some();
        if figures.moves != self.moves || !owes_already {
            self.consumer_moved = now;
        }
        self.moves = figures.moves;
        if let Some(stall) = stall.filter(|stall| now - self.consumer_moved >= *stall) {
            stop_stalled(core, format!("no byte taken for {stall:?}"));
            return;
        }
        if !snapshot.consumer_owes {
            self.owing = None;
            return;
        }
        let taken = figures.bytes_delivered;
        let (since, taken_then) = *self.owing.get_or_insert((now, taken));
        if now - since >= stall.unwrap_or(DEFAULT_CONSUMER_STALL) {
            self.owing = Some((now, taken));
            let rate = (taken - taken_then) as f64 / (now - since).as_secs_f64();
            if rate < minimum as f64 {
                stop_stalled(core, format!("{rate:.0} B/s are below {minimum} B/s"));
            }
        }
    }
}

fn stop_stalled(core: &Arc<StreamCore>, detail: String) {
    core.stop(Error::new(ErrorKind::ConsumerStalled, detail));
}

fn refuse_if_late(core: &Arc<StreamCore>) {
    let timeout = core.pool.queue_timeout();
    if core.age() >= timeout {
        let share = core.pool.check_late(core.id);
        let text = || format!("no place within {timeout:?}");
        core.stop(
            share
                .err()
                .unwrap_or_else(|| Error::new(ErrorKind::Busy, text())),
        );
    }
}

/// How long until the next check. A partial chunk is handed over when two checks have seen it: so
/// there are two checks per flush delay, with a fifth of the delay left for delivery. A stall is
/// noticed with an error of a quarter of its deadline.
fn interval(core: &StreamCore, source_done: bool) -> Duration {
    let settings = &core.settings;
    let flush = settings.flush_after.filter(|_| !source_done);
    let admission = core
        .is_waiting_for_admission()
        .then(|| core.pool.queue_timeout() / 4);
    [
        flush.map(|delay| delay / 5 * 2),
        Some(settings.consumer_stall.unwrap_or(DEFAULT_CONSUMER_STALL) / 4),
        settings.source_stall.map(|stall| stall / 4),
        admission,
    ]
    .into_iter()
    .flatten()
    .min()
    .unwrap_or(CHECK_INTERVAL_MAX)
    .clamp(CHECK_INTERVAL_MIN, CHECK_INTERVAL_MAX)
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Watched {}

impl PartialOrd for Watched {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Watched {
    /// The heap pops its greatest entry first, so the earliest due time counts as the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.due.cmp(&self.due)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Outcome, StreamOptions, reader::ChunkReader, writer::StreamWriter};

    #[test]
    fn a_minimum_rate_holds_without_a_stall_deadline() {
        for (minimum, outcome) in [(1, Some(Outcome::ClientStalled)), (0, None)] {
            let options = StreamOptions::new().consumer_stall(None).source_stall(None);
            let core = options.min_bytes_per_second(minimum).new_stream();
            core.note_source_started();
            let reader = ChunkReader::new(Arc::clone(&core));
            let writer = StreamWriter::new(Arc::clone(&core));
            writer.write_slice(b"for nobody").unwrap();
            writer.flush_now().unwrap();
            let mut watched = Watched::new(&core);
            let begin = Instant::now();
            assert!(watched.check(begin));
            assert!(watched.check(begin + DEFAULT_CONSUMER_STALL / 2));
            assert_eq!(core.record().outcome, None);
            watched.check(begin + DEFAULT_CONSUMER_STALL);
            assert_eq!(core.record().outcome, outcome, "{minimum} B/s");
            // Takes the queue along, whose chunk owns the stream.
            drop(reader);
        }
    }
}
