//! How many times their size compressed data may become: one setting for text files, the buffers of
//! Arrow and the pages of Parquet.

use datafusion::{catalog::Session, prelude::SessionConfig};
use std::sync::Arc;

/// 1100 times: more than gzip can compress (1032 times), and tables of other programs are compressed
/// less, while a page of zeros in Brotli or Zstandard, a few bytes long, could fill the memory.
pub const DEFAULT_EXPANSION_MAX: u64 = 1100;

/// The setting, as part of a session's configuration.
struct ExpansionMax(u64);

pub(crate) fn with_expansion_max(config: SessionConfig, times: u64) -> SessionConfig {
    config.with_extension(Arc::new(ExpansionMax(times)))
}

pub(crate) fn expansion_max_of(session: &dyn Session) -> u64 {
    let set = session.config().get_extension::<ExpansionMax>();
    set.map_or(DEFAULT_EXPANSION_MAX, |set| set.0)
}

/// Says that data is refused for its size, and by which setting.
pub(crate) fn too_large(what: &str, bytes: u64, becomes: u64, free: u64, times: u64) -> String {
    let [bytes, becomes, free] = [bytes, becomes, free].map(with_unit);
    format!(
        "{what} of {bytes} would become {becomes}, more than {free} and {times} times its size \
         (tables.expansion_max)"
    )
}

/// Writes a number of bytes in the largest unit that it has one of.
pub(crate) fn with_unit(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        None => format!("{bytes} bytes"),
        Some((shift, unit)) if bytes.trailing_zeros() >= shift => {
            format!("{} {unit}", bytes >> shift)
        }
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (bytes, wanted) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (14_712, "14.4 KiB"),
            (256 << 20, "256 MiB"),
            (480_000_375, "457.8 MiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 50, "1024 TiB"),
        ] {
            assert_eq!(with_unit(bytes), wanted);
        }
    }
}
