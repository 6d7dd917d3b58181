//! Implements `http_body::Body` for [`ChunkReader`].
//!
//! Polled by hyper; calls `reader.rs::poll_chunk`. A failed stream is a body error, never a body
//! that just ends: in that case hyper would send the final chunk, and a truncated file would look
//! complete.
//!
//! It is no response: `datastreamer-http` makes those, because a status, HTTP/1.0 and the end of a
//! connection need more than a body can do.

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
            // An empty file. If hyper knew the length it would not poll for the end, and only the
            // end says whether the source has succeeded. So no length is given before the end.
            Some(0) if !self.is_over() => SizeHint::default(),
            Some(bytes) => SizeHint::with_exact(bytes),
            None => SizeHint::default(),
        }
    }
}
