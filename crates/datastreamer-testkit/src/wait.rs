//! Waiting in tests: always with a deadline, and loud at it.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for what must come. Far above any delay of a loaded machine: to reach
/// it means that something hangs.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until something holds.
///
/// # Panics
/// If it does not within [`DEADLINE`].
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < DEADLINE, "never came: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Checks that a delay is below a bound: at the first measurement, or at one of four more. What
/// is late by design is late every time; what the machine's other work delays is not.
///
/// # Panics
/// If all five measurements are above.
pub fn promptly(what: &str, bound: Duration, mut measure: impl FnMut() -> Duration) {
    let mut delays = Vec::new();
    while delays.len() < 5 {
        let delay = measure();
        if delay < bound {
            return;
        }
        delays.push(delay);
    }
    panic!("{what}: {delays:?}, never below {bound:?}");
}

/// Runs something that must not hang, on a thread of its own; returns what it returned.
///
/// # Panics
/// If it is not done within [`DEADLINE`], or panics.
pub fn within<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let running = thread::spawn(run);
    eventually(what, || running.is_finished());
    running
        .join()
        .unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}
