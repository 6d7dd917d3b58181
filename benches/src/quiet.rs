//! Keeps other processes from disturbing a measurement: waits until they are idle, repeats
//! disturbed runs, and keeps the least disturbed. The criterion does not use the measured figures.

use std::io;
use std::thread;
use std::time::Duration;

use crate::machine;
use crate::process;

/// A run during which other processes used more of the machine than this is repeated.
pub(crate) const FOREIGN_CPU_SHARE_MAX: f64 = 0.10;

/// Long enough for 20 ticks a core.
const QUIET_WINDOW: Duration = Duration::from_millis(200);

/// A result, and how much other processes used the machine meanwhile.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    pub(crate) found: T,
    /// Share of the machine's CPU that was used by processes outside the measurement.
    pub(crate) foreign_cpu_share: f64,
}

/// Measures until there are `wanted` undisturbed runs, or until twice as many were made; keeps the
/// least disturbed ones, in no particular order. Waits before each run until other processes are
/// idle, at most `patience` in total. Also returns how many runs were dropped.
pub(crate) fn undisturbed<T>(
    wanted: usize,
    mut patience: Duration,
    mut measure: impl FnMut() -> io::Result<Watched<T>>,
) -> io::Result<(Vec<Watched<T>>, usize)> {
    let mut all: Vec<Watched<T>> = Vec::new();
    let quiet = |one: &&Watched<T>| one.foreign_cpu_share <= FOREIGN_CPU_SHARE_MAX;
    while all.iter().filter(quiet).count() < wanted && all.len() < 2 * wanted {
        patience -= wait_for_quiet(patience)?;
        all.push(measure()?);
    }
    let dropped = all.len() - wanted;
    all.sort_by(|a, b| a.foreign_cpu_share.total_cmp(&b.foreign_cpu_share));
    all.truncate(wanted);
    Ok((all, dropped))
}

/// The CPU seconds that the machine can provide in this time.
pub(crate) fn capacity(duration: Duration) -> f64 {
    duration.as_secs_f64() * machine::cores() as f64
}

/// Waits while other processes use the machine, at most `most`; returns how long it waited.
fn wait_for_quiet(most: Duration) -> io::Result<Duration> {
    let mut waited = Duration::ZERO;
    while waited + QUIET_WINDOW <= most {
        let before = process::machine_cpu_seconds()?;
        thread::sleep(QUIET_WINDOW);
        let used = process::machine_cpu_seconds()? - before;
        if used <= FOREIGN_CPU_SHARE_MAX * capacity(QUIET_WINDOW) {
            break;
        }
        waited += QUIET_WINDOW;
    }
    Ok(waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(shares: &[f64], wanted: usize) -> (Vec<f64>, usize) {
        let mut shares = shares.iter();
        let (kept, dropped) = undisturbed(wanted, Duration::ZERO, || {
            let foreign_cpu_share = *shares.next().unwrap();
            Ok(Watched {
                found: (),
                foreign_cpu_share,
            })
        })
        .unwrap();
        let kept = kept.iter().map(|one| one.foreign_cpu_share).collect();
        (kept, dropped)
    }

    #[test]
    fn what_was_disturbed_is_measured_again() {
        assert_eq!(measured(&[0.5, 0.0, 0.01], 2), (vec![0.0, 0.01], 1));
    }

    #[test]
    fn without_quiet_the_quietest_are_kept() {
        assert_eq!(measured(&[0.5, 0.2, 0.9, 0.3], 2), (vec![0.2, 0.3], 2));
    }
}
