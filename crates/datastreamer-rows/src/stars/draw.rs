//! Random numbers that depend on what they are for, not on those before: any of them can be had
//! by itself.

/// Another catalogue would have another.
const SEED: u64 = 42;

/// The odd integer next to 2^64 divided by the golden ratio, and two more without a pattern: they
/// keep the counters of rows and columns apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const COLUMN_STEP: u64 = 0xd1b5_4a32_d192_ed03;
const SECOND: u64 = 0x8cb9_2ba7_2f3d_8dd7;

/// 64 random bits of one row, for one purpose.
#[derive(Clone, Copy)]
pub(super) struct Draw(u64);

impl Draw {
    #[inline]
    pub(super) fn of(row: u64, what: u64) -> Self {
        let stream = mixed(SEED ^ what.wrapping_mul(COLUMN_STEP));
        Self(mixed(stream.wrapping_add(row.wrapping_mul(GOLDEN))))
    }

    /// An integer from 0 up to a limit, exclusive: the high half of a product (Lemire 2019). How
    /// often a value comes is off by a factor of at most limit / 2^64.
    #[inline]
    pub(super) fn below(self, limit: u64) -> u64 {
        ((u128::from(self.0) * u128::from(limit)) >> 64) as u64
    }

    /// A float from 0 to 1, exclusive, in steps of 2^-53.
    #[inline]
    pub(super) fn unit(self) -> f64 {
        (self.0 >> 11) as f64 * 2.0_f64.powi(-53)
    }

    /// An exponential variate of mean 1.
    #[inline]
    pub(super) fn exponential(self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// A normal variate of mean 0 and deviation 1 (Box and Muller 1958).
    #[inline]
    pub(super) fn normal(self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        let angle = std::f64::consts::TAU * Self(mixed(self.0 ^ SECOND)).unit();
        radius * angle.cos()
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
#[inline]
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
