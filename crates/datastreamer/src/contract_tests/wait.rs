//! Waiting in tests: always with a deadline, and a panic when it expires.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for something that must happen. Far above any delay of a loaded machine,
/// so reaching it means that something hangs.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until a condition holds.
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

/// The number of measurements that decides: the majority of five.
const MOST: usize = 3;

/// Checks that a delay is below a bound in most of five measurements. A delay by design appears in
/// most of them; a delay by other work of the machine does not.
///
/// # Panics
/// If three measurements are above the bound.
pub fn promptly(what: &str, bound: Duration, mut measure: impl FnMut() -> Duration) {
    let (mut delays, mut below) = (Vec::new(), 0);
    while below < MOST {
        let delay = measure();
        delays.push(delay);
        below += usize::from(delay < bound);
        assert!(
            delays.len() - below < MOST,
            "{what}: {delays:?}, mostly not below {bound:?}"
        );
    }
}

/// Runs a function that must not hang on a thread of its own; returns its result.
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
