//! How many unsent bytes the kernel may hold for one connection.
//!
//! A stalled client costs that much kernel memory, so the mark is low; a connection that drains
//! quickly would run dry between two writes, so there it grows with the rate. [`Armed`](super::Armed)
//! reports what the socket takes, and sets the mark on the [`Socket`](super::Socket).

use std::time::Duration;

use tokio::time::Instant;

/// 128 KiB, at the start and while a client takes little. Without a limit a stalled client costs
/// 2.3 MB of kernel memory, with this one 0.25 MB.
pub(super) const UNSENT_BYTES_MIN: u32 = 128 * 1024;

/// 1 MiB: as much as a connection of 100 MB/s takes in [`RESERVE_TIME`]; more is not faster.
const UNSENT_BYTES_MAX: u32 = 1024 * 1024;

/// What is unsent lasts for 10 ms: as long as a task may have to wait for a busy processor.
const RESERVE_TIME: Duration = Duration::from_millis(10);

/// The rate is measured over so many bytes: more than the buffers of the two kernels take at once
/// from a client that reads slowly.
const MEASURED_BYTES: u64 = 8 * 1024 * 1024;

/// A socket that takes nothing for this long has stalled.
pub(super) const STALLED: Duration = Duration::from_millis(200);

/// The mark of one connection.
#[derive(Debug)]
pub(super) struct UnsentMark {
    bytes: u32,
    /// Taken by the socket since the measurement began.
    taken: u64,
    /// `None`: the next bytes begin a measurement.
    since: Option<Instant>,
}

impl Default for UnsentMark {
    fn default() -> Self {
        Self {
            bytes: UNSENT_BYTES_MIN,
            taken: 0,
            since: None,
        }
    }
}

impl UnsentMark {
    /// Notes that the socket has taken bytes; returns the new mark if it changes.
    pub(super) fn note_taken(&mut self, bytes: usize) -> Option<u32> {
        self.taken += bytes as u64;
        match self.since {
            None => {
                self.since = Some(Instant::now());
                None
            }
            Some(_) if self.taken < MEASURED_BYTES => None,
            Some(since) => {
                let now = Instant::now();
                let wanted = mark_for(self.taken, now.saturating_duration_since(since));
                (self.taken, self.since) = (0, Some(now));
                self.change_to(wanted)
            }
        }
    }

    /// Notes that the socket has taken nothing for some time; returns the new mark if it changes.
    pub(super) fn note_stall(&mut self) -> Option<u32> {
        (self.taken, self.since) = (0, None);
        self.change_to(UNSENT_BYTES_MIN)
    }

    fn change_to(&mut self, wanted: u32) -> Option<u32> {
        let changes = wanted != self.bytes;
        self.bytes = wanted;
        changes.then_some(wanted)
    }
}

/// What a connection of this rate takes in [`RESERVE_TIME`], within the bounds: a power of two, so
/// that the mark does not follow each change of the rate.
fn mark_for(bytes: u64, time: Duration) -> u32 {
    let reserve = bytes as f64 * RESERVE_TIME.as_secs_f64() / time.as_secs_f64().max(1e-9);
    let within = reserve.clamp(UNSENT_BYTES_MIN.into(), UNSENT_BYTES_MAX.into());
    1 << (within as u32).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_what_the_connection_takes_in_ten_milliseconds() {
        const MIB: u64 = 1024 * 1024;
        let second = Duration::from_secs(1);
        assert_eq!(mark_for(MIB, second), UNSENT_BYTES_MIN);
        assert_eq!(mark_for(24 * MIB, second), UNSENT_BYTES_MIN);
        assert_eq!(mark_for(26 * MIB, second), 256 * 1024);
        assert_eq!(mark_for(52 * MIB, second), 512 * 1024);
        assert_eq!(mark_for(101 * MIB, second), UNSENT_BYTES_MAX);
        assert_eq!(mark_for(3000 * MIB, second), UNSENT_BYTES_MAX);
        assert_eq!(mark_for(MIB, Duration::ZERO), UNSENT_BYTES_MAX);
        assert_eq!(mark_for(0, Duration::ZERO), UNSENT_BYTES_MIN);
    }

    #[test]
    fn a_stall_takes_the_mark_back() {
        let mut mark = UnsentMark::default();
        let grown = (0..2000).find_map(|_| mark.note_taken(64 * 1024));
        assert_eq!(grown, Some(UNSENT_BYTES_MAX));
        assert_eq!(mark.note_stall(), Some(UNSENT_BYTES_MIN));
        assert_eq!(mark.note_stall(), None);
        // What was taken before does not count.
        assert_eq!(mark.note_taken(MEASURED_BYTES as usize), None);
    }
}
