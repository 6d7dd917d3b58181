//! A stream's resolved settings, which need no further check.
//!
//! `config.rs` makes them from what the caller asked for; the core reads them.

use std::{sync::Arc, time::Duration};

use crate::{depth::Growing, share::Share};

/// What happens to a consumer that is still connected when the stream is stopped with an error of
/// kind [`crate::ErrorKind::Stopped`]. A stop of any other kind (a shutdown, a stall) always
/// aborts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EndOnStop {
    /// The consumer is aborted: it must not take a truncated file for a complete one.
    #[default]
    Abort,
    /// The consumer is finished: for endless streams, where any prefix counts as complete.
    Finish,
}

/// The resolved settings that the core uses; made once by `StreamOptions::resolve`.
#[derive(Clone)]
pub(crate) struct Settings {
    /// At least 1.
    pub(crate) chunk: Growing,
    /// At least twice `chunk`.
    pub(crate) buffer: Growing,
    pub(crate) flush_after: Option<Duration>,
    pub(crate) length: Option<u64>,
    pub(crate) consumer_stall: Option<Duration>,
    /// 0: no minimum.
    pub(crate) min_bytes_per_second: u64,
    pub(crate) source_stall: Option<Duration>,
    pub(crate) end_on_stop: EndOnStop,
    pub(crate) context: Arc<str>,
    pub(crate) shares: Vec<Share>,
}
