//! tokio's I/O traits: [`ChunkReader`] implements `AsyncRead`, an `AsyncWrite` can be the consumer,
//! and an `AsyncRead` can be the source.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::{config::StreamOptions, error::Error, reader::ChunkReader};

impl AsyncRead for ChunkReader {
    /// Reads at most one chunk. A failed stream is an error that [`Error::find_in`] finds, at this
    /// and every later read, never an end of file.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reader = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if let Some(error) = reader.failure() {
            return Poll::Ready(Err(error.clone().into()));
        }
        let mut chunk = ready!(reader.poll_partly(cx))
            .transpose()?
            .unwrap_or_default();
        let taken = chunk.len().min(buf.remaining());
        buf.put_slice(&chunk[..taken]);
        chunk.advance(taken);
        reader.put_back(chunk);
        Poll::Ready(Ok(()))
    }
}

impl ChunkReader {
    /// Writes the complete stream to `consumer` (a socket, a file), then flushes it; returns the bytes
    /// written. Only `Ok` means that the consumer has the complete file. On an error the caller
    /// must make the failure visible (reset the socket, remove the file).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), datastreamer::Error> {
    /// let chunks = datastreamer::stream_out(|out| out.write_slice(b"a file"));
    /// let mut socket = Vec::new(); // any `AsyncWrite`
    /// assert_eq!(chunks.write_to_async(&mut socket).await?, 6);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why the stream failed, or [`crate::ErrorKind::ConsumerFailed`] with the consumer's own
    /// error, in which case the source is stopped with that error.
    pub async fn write_to_async<W>(mut self, consumer: &mut W) -> Result<u64, Error>
    where
        W: AsyncWrite + Unpin + ?Sized,
    {
        self.hold_verdict();
        let mut bytes = 0;
        while let Some(chunk) = self.next_chunk().await {
            let chunk = chunk?;
            let written = consumer.write_all(&chunk).await;
            written.map_err(|error| self.consumer_failed(error))?;
            bytes += chunk.len() as u64;
        }
        let flushed = consumer.flush().await;
        flushed.map_err(|error| self.consumer_failed(error))?;
        self.confirm();
        Ok(bytes)
    }
}

impl StreamOptions {
    /// Streams the bytes of an `AsyncRead`, without a thread: see
    /// [`StreamOptions::stream_out_async`].
    ///
    /// **Not for the reading half of a pipe into which a task of yours writes** (`tokio::io::duplex`):
    /// if that task fails or panics, its half of the pipe is dropped, which the reading half sees as
    /// the end of the file, and a truncated file is delivered as a complete one. **Nor for the output of a
    /// child process**, which ends the same way when the process is killed. Write the file with
    /// [`stream_out_async_write`](crate::stream_out_async_write) instead, where the result decides: of the
    /// task, or of `child.wait()` behind `tokio::io::copy`.
    pub fn stream_out_async_read<R>(self, source: R) -> ChunkReader
    where
        R: AsyncRead + Send + 'static,
    {
        let chunk_bytes = self.resolve().chunk.base;
        self.stream_out_async(Reads {
            source: Box::pin(source),
            chunk_bytes,
            buffer: BytesMut::new(),
        })
    }
}

/// Turns reads into items of at most one chunk.
struct Reads<R> {
    source: Pin<Box<R>>,
    chunk_bytes: usize,
    buffer: BytesMut,
}

impl<R: AsyncRead> Stream for Reads<R> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // Reading without unsafe code needs initialised memory; `resize` zeroes only what it adds.
        this.buffer.resize(this.chunk_bytes, 0);
        let mut buf = ReadBuf::new(&mut this.buffer);
        let read = this.source.as_mut().poll_read(cx, &mut buf);
        let filled = buf.filled().len();
        Poll::Ready(match ready!(read) {
            Ok(()) if filled == 0 => None,
            Ok(()) => Some(Ok(this.buffer.split_to(filled).freeze())),
            Err(error) => Some(Err(error)),
        })
    }
}
