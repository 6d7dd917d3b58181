//! The async source's end of a stream: as [`StreamWriter`], but a full buffer is pending instead of
//! blocking.
//!
//! Given to the future that `async_source.rs` polls; calls `writer.rs`.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::{
    error::Error,
    record::StreamId,
    stop_token::{OnStopGuard, StopToken},
    writer::StreamWriter,
};

/// The writer that an async source receives: see
/// [`stream_out_async_write`](crate::stream_out_async_write).
///
/// With the feature `tokio` it is tokio's `AsyncWrite`, with the feature `futures-io` that of
/// `futures-io`. It may be moved to another task. There is nothing to close: the stream ends when the
/// source's future is ready, and it is complete only if the future's result is a success. A writer
/// used after that gets [`ErrorKind::Ended`](crate::ErrorKind::Ended). Dropping it does nothing, and
/// shutting it down only flushes.
///
/// Its futures are cancel-safe in this sense: what has been accepted is not taken back, and each of
/// [`write_slice`](Self::write_slice) and [`write_bytes`](Self::write_bytes) that is dropped early
/// has accepted a part of its data.
pub struct AsyncStreamWriter {
    writer: StreamWriter,
}

impl AsyncStreamWriter {
    pub(crate) fn new(writer: StreamWriter) -> Self {
        Self { writer }
    }

    /// Writes as much of `data` as fits into the chunk being filled, and returns how much that was;
    /// pending while the buffer is full.
    ///
    /// # Errors
    /// As [`StreamWriter::write_slice`].
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Error>> {
        self.writer.poll_write(data, cx)
    }

    /// Hands over what has been written so far, as a partial chunk; pending while the buffer is
    /// full.
    ///
    /// # Errors
    /// As [`StreamWriter::write_slice`].
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.writer.poll_flush(cx)
    }

    /// Writes all of `data`; waits while the buffer is full.
    ///
    /// # Errors
    /// As [`StreamWriter::write_slice`].
    pub async fn write_slice(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let taken = poll_fn(|cx| self.poll_write(cx, data)).await?;
            data = &data[taken..];
        }
        Ok(())
    }

    /// Writes an owned buffer, a large one without a copy: see [`StreamWriter::write_bytes`].
    ///
    /// # Errors
    /// As [`StreamWriter::write_slice`].
    pub async fn write_bytes(&mut self, mut data: Bytes) -> Result<(), Error> {
        if !self.writer.passes_through(data.len()) {
            return self.write_slice(&data).await;
        }
        while !data.is_empty() {
            poll_fn(|cx| self.writer.poll_pass(&mut data, cx)).await?;
        }
        Ok(())
    }

    /// Hands over what has been written so far; waits while the buffer is full.
    ///
    /// # Errors
    /// As [`StreamWriter::write_slice`].
    pub async fn flush_now(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Fails the stream: see [`StreamWriter::fail`]. **Blocks** while another task writes.
    pub fn fail(&self, error: Error) -> Error {
        self.writer.fail(error)
    }

    /// Promises the exact number of bytes: see [`StreamWriter::promise_length`].
    ///
    /// # Errors
    /// As [`StreamWriter::promise_length`].
    pub fn promise_length(&self, bytes: u64) -> Result<(), Error> {
        self.writer.promise_length(bytes)
    }

    /// Returns whether the stream was stopped; costs one load.
    pub fn is_stopped(&self) -> bool {
        self.writer.is_stopped()
    }

    /// Returns a token that reports the stop to another thread, task or callback.
    pub fn stop_token(&self) -> StopToken {
        self.writer.stop_token()
    }

    /// Runs a callback when the stream is stopped: see [`StopToken::on_stop`].
    pub fn on_stop(&self, callback: impl FnOnce(&Error) + Send + 'static) -> OnStopGuard {
        self.writer.on_stop(callback)
    }

    /// Adds to the number of rows (or members) written, for the record.
    pub fn add_rows(&self, rows: u64) {
        self.writer.add_rows(rows);
    }

    /// Sets how many rows (or members) are expected, for the record.
    pub fn expect_rows(&self, rows: u64) {
        self.writer.expect_rows(rows);
    }

    /// Returns the stream's identity, for logs.
    pub fn id(&self) -> StreamId {
        self.writer.id()
    }
}

#[cfg(feature = "tokio")]
impl tokio::io::AsyncWrite for AsyncStreamWriter {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.writer.poll_write(data, cx).map_err(Into::into)
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.writer.poll_flush(cx).map_err(Into::into)
    }

    /// Only flushes: the end of the source's future ends the stream.
    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.writer.poll_flush(cx).map_err(Into::into)
    }
}

#[cfg(feature = "futures-io")]
impl futures_io::AsyncWrite for AsyncStreamWriter {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.writer.poll_write(data, cx).map_err(Into::into)
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.writer.poll_flush(cx).map_err(Into::into)
    }

    /// Only flushes: the end of the source's future ends the stream.
    fn poll_close(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.writer.poll_flush(cx).map_err(Into::into)
    }
}

impl fmt::Debug for AsyncStreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStreamWriter")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
