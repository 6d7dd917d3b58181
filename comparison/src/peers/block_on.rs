//! A future's result on a thread that may block, for writers that have only async methods.

use std::io::{self, Write};

use futures_lite::future::block_on;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::source::Out;

/// Blocks on an `AsyncWrite` of tokio.
pub(super) struct Blocking<W>(pub(super) W);

impl<W: AsyncWrite + Unpin> Write for Blocking<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        block_on(self.0.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        block_on(self.0.flush())
    }
}

impl<W: AsyncWrite + Unpin> Out for Blocking<W> {}
