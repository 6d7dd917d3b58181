//! Whether others leave the machine alone: waits for quiet, repeats what was
//! disturbed, and keeps the quietest. Its criterion never looks at the figures
//! that are measured.

use std::io;
use std::thread;
use std::time::Duration;

use crate::machine;
use crate::process;

/// What is measured while others used more of the machine than this is repeated.
pub(crate) const FOREIGN_CPU_SHARE_MAX: f64 = 0.10;

/// Long enough for 20 ticks a core.
const QUIET_WINDOW: Duration = Duration::from_millis(200);

/// Something measured while others may have used the machine.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    pub(crate) found: T,
    /// Share of the machine that was used by nobody concerned.
    pub(crate) foreign_cpu_share: f64,
}

/// Measures until there are `wanted` during which others kept quiet, or until
/// twice as many were measured; the quieter ones are kept, in no order. Waits
/// for quiet before each, `patience` in all. Also returns how many were dropped.
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

/// The CPU seconds that the machine has to give.
pub(crate) fn capacity(duration: Duration) -> f64 {
    duration.as_secs_f64() * machine::cores() as f64
}

/// Waits while others use the machine, `most` at the longest; returns how long.
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
