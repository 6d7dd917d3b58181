//! A ready-made consumer for files and buffers.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    consumer::{AlreadyRegistered, Consumer},
    producer::Producer,
};
use crate::error::Error;

/// A consumer that writes to any [`std::io::Write`] and records whether the result is complete.
#[derive(Debug, Default)]
pub struct WriteConsumer<W> {
    inner: W,
    complete: bool,
}

impl<W: std::io::Write> WriteConsumer<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            complete: false,
        }
    }

    /// Returns the writer if the complete stream was written and flushed.
    pub fn into_complete(self) -> Option<W> {
        self.complete.then_some(self.inner)
    }

    /// Returns the writer, whether or not the stream is complete.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: std::io::Write> Consumer for WriteConsumer<W> {
    fn register_producer(&mut self, _: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
        Ok(())
    }

    fn unregister_producer(&mut self) {}

    fn write(&mut self, chunk: Bytes) -> std::io::Result<()> {
        self.inner.write_all(&chunk)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.inner.flush()?;
        self.complete = true;
        Ok(())
    }

    fn abort(&mut self, _: &Error) {}
}
