//! datastreamer itself: the same pieces, written or handed over.

use std::io::{self, Write};

use axum::body::Body;
use datastreamer::stream_out;

use crate::pattern::Pieces;

pub(super) fn body(total_bytes: u64, piece_bytes: u64) -> Body {
    Body::new(stream_out(move |out| {
        let mut pieces = Pieces::new(total_bytes, piece_bytes);
        while let Some(piece) = pieces.next_slice() {
            out.write_all(piece)?;
        }
        Ok::<(), io::Error>(())
    }))
}

/// Hands over owned pieces, which need no copy.
pub(super) fn body_of_bytes(total_bytes: u64, piece_bytes: u64) -> Body {
    Body::new(stream_out(move |out| {
        let mut pieces = Pieces::new(total_bytes, piece_bytes);
        while let Some(piece) = pieces.next_bytes() {
            out.write_bytes(piece)?;
        }
        Ok::<(), datastreamer::Error>(())
    }))
}
