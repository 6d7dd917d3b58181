//! The source: the same blocking function for every peer, with counters of what it could write.

use std::{
    io::{self, BufWriter, Write},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::job::{Job, Place, Way};

/// A source that is silent ends after this long, whether its client is there or not.
pub const SILENCE_MAX: Duration = Duration::from_secs(6);

/// How often a silent source asks whether its client is there, and how long a paced one sleeps.
const PACE: Duration = Duration::from_millis(1);

/// The counter is brought up to date once in 4 KiB: an atomic addition for each write of 64 bytes
/// would be measured too.
const COUNT_EVERY_BYTES: u64 = 4096;

/// What a source writes, again and again.
static BYTES: [u8; 1 << 20] = [b'x'; 1 << 20];

/// Bytes that writers have accepted from all sources of this process.
static ACCEPTED_BYTES: AtomicU64 = AtomicU64::new(0);

/// When a source first learned that its client has disconnected, in microseconds since 1970; 0:
/// never.
static NOTICED_AT_US: AtomicU64 = AtomicU64::new(0);

/// A peer's writer.
pub trait Out: Write {
    /// Returns whether the client has disconnected. `None`: the peer can tell only through a write.
    fn is_gone(&mut self) -> Option<bool> {
        None
    }
}

impl<W: Out> Out for BufWriter<W> {
    fn is_gone(&mut self) -> Option<bool> {
        self.get_mut().is_gone()
    }
}

/// Runs the source of a job.
///
/// # Errors
/// The error of the job, if its source fails; that of the writer, if the client has disconnected.
pub fn run(job: Job, out: &mut impl Out) -> io::Result<()> {
    match job.way {
        Way::FailsEarly => return Err(io::Error::other("the database is gone")),
        Way::Paced => write(job, out, || thread::sleep(PACE))?,
        _ => write(job, out, || {})?,
    }
    match job.way {
        Way::Fails => Err(io::Error::other("the database is gone")),
        Way::Panics => fail_by_panic(),
        Way::Silent => {
            wait_for_hang_up(out);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Runs a closure where the job says.
pub fn run_at(place: Place, closure: impl FnOnce() + Send + 'static) {
    match place {
        Place::Blocking => drop(tokio::task::spawn_blocking(closure)),
        Place::Thread => drop(thread::spawn(closure)),
        Place::Task => drop(tokio::spawn(async move { closure() })),
    }
}

/// Returns the counters, as the text of `/report`.
pub fn report() -> String {
    let accepted_bytes = ACCEPTED_BYTES.load(Relaxed);
    let noticed_at_us = NOTICED_AT_US.load(Relaxed);
    format!("{accepted_bytes} {noticed_at_us}")
}

/// Returns the time as `/report` has it.
pub fn now_us() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0, |elapsed| elapsed.as_micros() as u64)
}

fn write(job: Job, out: &mut impl Out, after_each: impl Fn()) -> io::Result<()> {
    let result = write_all(job, out, after_each);
    if result.is_err() {
        note_hang_up();
    }
    result
}

fn write_all(job: Job, out: &mut impl Out, after_each: impl Fn()) -> io::Result<()> {
    let mut left = job.total_bytes;
    let mut uncounted = 0;
    while left > 0 {
        let bytes = left.min(job.write_bytes as u64);
        out.write_all(&BYTES[..bytes as usize])?;
        left -= bytes;
        uncounted += bytes;
        if uncounted >= COUNT_EVERY_BYTES {
            ACCEPTED_BYTES.fetch_add(uncounted, Relaxed);
            uncounted = 0;
        }
        after_each();
    }
    ACCEPTED_BYTES.fetch_add(uncounted, Relaxed);
    out.flush()
}

#[expect(clippy::panic, reason = "panics are what is measured")]
fn fail_by_panic() -> io::Result<()> {
    panic!("the source has a bug")
}

fn wait_for_hang_up(out: &mut impl Out) {
    let end = Instant::now() + SILENCE_MAX;
    while Instant::now() < end {
        if out.is_gone() == Some(true) {
            note_hang_up();
            return;
        }
        thread::sleep(PACE);
    }
}

fn note_hang_up() {
    let _first_wins = NOTICED_AT_US.compare_exchange(0, now_us(), Relaxed, Relaxed);
}
