//! The common approach: a blocking writer on `SyncIoBridge`, a `tokio::io::duplex` of 64 KiB, a
//! `ReaderStream` with its default capacity. (A failed writer looks like one that has ended, which
//! is the reason not to use it.)

use std::io::Write;

use axum::body::Body;
use tokio_util::io::{ReaderStream, SyncIoBridge};

use crate::pattern::{CHUNK_BYTES, Pieces};

pub(super) fn body(total_bytes: u64, piece_bytes: u64) -> Body {
    let (writer, reader) = tokio::io::duplex(CHUNK_BYTES);
    let mut out = SyncIoBridge::new(writer);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces::new(total_bytes, piece_bytes);
        while let Some(piece) = pieces.next_slice() {
            out.write_all(piece)?;
        }
        out.shutdown()
    });
    Body::from_stream(ReaderStream::new(reader))
}
