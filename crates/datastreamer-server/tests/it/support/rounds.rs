//! How often a sweep is repeated and what chance decides in it: both from the environment, so that
//! a long sweep can be run by hand and a failed one repeated.

use std::env;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns `DATASTREAMER_ABORT_ROUNDS`: how many times every way of failing is tried with every
/// client, 1 if not set.
pub(crate) fn rounds() -> u32 {
    env::var("DATASTREAMER_ABORT_ROUNDS").map_or(1, |text| {
        text.parse()
            .expect("DATASTREAMER_ABORT_ROUNDS is a whole number")
    })
}

/// Chance that can be repeated: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    /// Starts from `DATASTREAMER_ABORT_SEED`, or else from the time of day, and prints the seed.
    pub(crate) fn new(subject: &str) -> Self {
        let seed = env::var("DATASTREAMER_ABORT_SEED").map_or_else(
            |_| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                now.expect("it is after 1970").as_micros() as u64
            },
            |text| {
                text.parse()
                    .expect("DATASTREAMER_ABORT_SEED is a whole number")
            },
        );
        println!("{subject}: DATASTREAMER_ABORT_SEED={seed}");
        Self { state: seed }
    }

    /// Returns a number in `range`, which is not empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
