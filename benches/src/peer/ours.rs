//! datastreamer itself: the same pieces, written by copy or passed on as owned buffers.

use std::io::{self, Write};

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use datastreamer::{StreamWriter, stream_out};
use datastreamer_http::{Download, DownloadBody};

use crate::pattern::Pieces;

pub(super) fn body(total_bytes: u64, piece_bytes: u64) -> Body {
    Body::new(stream_out(source(total_bytes, piece_bytes)))
}

/// The complete path: commit window, head, armed connection.
pub(super) fn response(
    request: &Request,
    total_bytes: u64,
    piece_bytes: u64,
) -> impl Future<Output = Response<DownloadBody>> + use<> {
    Download::new("application/octet-stream").respond(request, move |options| {
        options.stream_out(source(total_bytes, piece_bytes))
    })
}

fn source(
    total_bytes: u64,
    piece_bytes: u64,
) -> impl FnOnce(&mut StreamWriter) -> io::Result<()> + Send {
    move |out| {
        let mut pieces = Pieces::new(total_bytes, piece_bytes);
        while let Some(piece) = pieces.next_slice() {
            out.write_all(piece)?;
        }
        Ok(())
    }
}

/// Passes owned pieces on without a copy.
pub(super) fn body_of_bytes(total_bytes: u64, piece_bytes: u64) -> Body {
    Body::new(stream_out(move |out| {
        let mut pieces = Pieces::new(total_bytes, piece_bytes);
        while let Some(piece) = pieces.next_bytes() {
            out.write_bytes(piece)?;
        }
        Ok::<(), datastreamer::Error>(())
    }))
}
