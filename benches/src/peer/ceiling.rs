//! The ceiling: a body without a producer, clones of one chunk. What
//! hyper, the kernel and this machine can do when making bytes costs nothing;
//! the chunk stays in the cache, which no real producer's bytes do.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;

use crate::pattern;

pub(super) fn body(total_bytes: u64, chunk_bytes: usize) -> Body {
    Body::new(Ceiling {
        chunk: pattern::repeated(chunk_bytes, chunk_bytes),
        left_bytes: total_bytes,
    })
}

struct Ceiling {
    chunk: Bytes,
    left_bytes: u64,
}

impl http_body::Body for Ceiling {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left_bytes == 0 {
            return Poll::Ready(None);
        }
        let length = self.left_bytes.min(self.chunk.len() as u64);
        self.left_bytes -= length;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.slice(..length as usize)))))
    }
}
