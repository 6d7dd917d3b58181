//! A reader is an HTTP body.
//!
//! Polled by hyper; calls `reader.rs::poll_chunk`. A failed stream is a body error, and never a
//! body that just ends: hyper would send the final chunk after the latter and make a truncated
//! file look whole.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{error::Error, reader::ChunkReader};

impl Body for ChunkReader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.get_mut()
            .poll_chunk(cx)
            .map(|next| next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        match self.bytes_left() {
            // An empty file: hyper would not even ask for the end, and whether the source has
            // ended well is only known then. So the length is not told before.
            Some(0) if !self.is_over() => SizeHint::default(),
            Some(bytes) => SizeHint::with_exact(bytes),
            None => SizeHint::default(),
        }
    }
}

#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for ChunkReader {
    /// Answers 200 with the stream as the body and no headers of its own.
    fn into_response(self) -> axum_core::response::Response {
        axum_core::response::Response::new(axum_core::body::Body::new(self))
    }
}
