//! When to try again, and when to give up: a bounded number of tries without progress, with waits
//! that grow and differ between clients.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use super::failure::{Again, Failure};

/// The first wait; a proxy that restarts is back by the third.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// The longest wait that is not asked for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The longest `Retry-After` that is waited for: whoever is told to come back tomorrow wants to
/// know now.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// A try that gets so many bytes further than all before counts as progress. Less would let a
/// server that breaks after each packet hold a client for as long as the file has packets.
const PROGRESS_BYTES: u64 = 64 * 1024;

/// Counts the tries of one sequence of requests.
#[derive(Debug)]
pub(crate) struct Retry {
    /// Tries without progress, after the first.
    max: u32,
    tried: u32,
    /// The most bytes that were there at the end of a try.
    high: u64,
}

impl Retry {
    /// Allows `max` tries without progress, besides the first; `held` bytes are there.
    pub(crate) fn new(max: u32, held: u64) -> Self {
        Self {
            max,
            tried: 0,
            high: held,
        }
    }

    /// Returns how long to wait before the next try, or `None` if there is none.
    pub(crate) fn next(&mut self, failure: &Failure, held: u64) -> Option<Duration> {
        if held >= self.high.saturating_add(PROGRESS_BYTES) {
            (self.tried, self.high) = (0, held);
        }
        let least = match failure.again {
            Again::Never => return None,
            Again::Later => Duration::ZERO,
            Again::After(wait) if wait <= RETRY_AFTER_MAX => wait,
            Again::After(_) => return None,
        };
        if self.tried >= self.max {
            return None;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << self.tried.min(20));
        self.tried += 1;
        Some(least + jittered(wait.min(LONGEST_WAIT)))
    }
}

/// Returns between half of a wait and all of it: clients of one server that broke at once come
/// back apart.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0; 2];
    // Without random bytes the wait is the shortest.
    let _ = SystemRandom::new().fill(&mut random);
    let part = f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX);
    wait.mul_f64(0.5 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut retry = Retry::new(9, 0);
        let failure = Failure::broken("reset");
        let waits: Vec<_> = std::iter::from_fn(|| retry.next(&failure, 0)).collect();
        assert_eq!(waits.len(), 9);
        for (tried, wait) in waits.iter().enumerate() {
            let longest = (FIRST_WAIT * (1 << tried)).min(LONGEST_WAIT);
            assert!(
                *wait <= longest && *wait >= longest / 2,
                "{tried}: {wait:?}"
            );
        }
    }

    #[test]
    fn progress_allows_as_many_tries_again_and_a_packet_is_none() {
        let failure = Failure::broken("reset");
        let mut retry = Retry::new(1, 1000);
        assert!(retry.next(&failure, 1000).is_some());
        assert!(retry.next(&failure, 1000 + PROGRESS_BYTES).is_some());
        assert!(retry.next(&failure, 1000 + PROGRESS_BYTES + 1460).is_none());
    }

    #[test]
    fn a_server_that_names_a_time_is_obeyed_within_bounds() {
        let failure = |again| Failure {
            again,
            ..Failure::broken("503")
        };
        let mut retry = Retry::new(5, 0);
        let wait = retry.next(&failure(Again::After(Duration::from_secs(7))), 0);
        assert!(wait >= Some(Duration::from_secs(7)) && wait < Some(Duration::from_secs(8)));
        let tomorrow = Duration::from_secs(86_400);
        assert_eq!(retry.next(&failure(Again::After(tomorrow)), 0), None);
        assert_eq!(retry.next(&failure(Again::Never), 0), None);
    }
}
