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
