//! The best of the usual recipes: a blocking writer that coalesces into chunks
//! of 64 KiB and sends them through a bounded tokio channel of 8.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::pattern::{CHUNK_BYTES, Pieces};

/// 8 chunks of 64 KiB: half a megabyte a stream.
const CHUNKS: usize = 8;

pub(super) fn body(total_bytes: u64, piece_bytes: u64) -> Body {
    let (sender, receiver) = channel(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let mut out = Coalescer {
            chunk: Vec::with_capacity(CHUNK_BYTES),
            sender,
        };
        let mut pieces = Pieces::new(total_bytes, piece_bytes);
        while let Some(piece) = pieces.next_slice() {
            out.write_all(piece)?;
        }
        out.flush()
    });
    Body::new(Received(receiver))
}

/// Copies writes of any size into chunks.
struct Coalescer {
    chunk: Vec<u8>,
    sender: Sender<Bytes>,
}

impl Write for Coalescer {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let count = piece.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&piece[..count]);
        if self.chunk.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        let sent = self.sender.blocking_send(chunk.into());
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

struct Received(Receiver<Bytes>);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(context)
            .map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
