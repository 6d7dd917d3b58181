//! The body of a download: the bytes held back by the commit window, then the stream's.
//!
//! Polled by hyper; calls `ChunkReader::poll_chunk`. Tells the [`Connection`] when the response
//! begins, ends and fails, and holds an error back until the valid bytes before it are sent.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use datastreamer::{ChunkReader, Error};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::armed::{Connection, DRAIN_MAX};

/// How often a drain looks whether everything is sent: often enough that an abort is not felt as
/// a delay, seldom enough (at most 400 looks) to cost nothing.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// The body of a response made by [`Download`](crate::Download).
pub struct DownloadBody {
    /// What comes before the stream: held back by the commit window, or all there is.
    first: VecDeque<Bytes>,
    first_bytes: u64,
    stream: Option<Streaming>,
    length: Option<u64>,
}

/// A stream under way.
struct Streaming {
    /// `None` once it has ended and the connection has it.
    reader: Option<ChunkReader>,
    connection: Option<Connection>,
    /// The failure that waits for the valid bytes before it.
    failing: Option<Draining>,
}

struct Draining {
    error: Error,
    until: Instant,
    next_look: Pin<Box<Sleep>>,
    /// What the socket had taken at the last look.
    written: u64,
}

impl DownloadBody {
    /// Makes a body without bytes.
    pub fn empty() -> Self {
        Self::from(String::new())
    }

    /// Joins what was held back and the rest of the stream.
    pub(crate) fn new(
        first: VecDeque<Bytes>,
        reader: ChunkReader,
        length: Option<u64>,
        connection: Option<Connection>,
        multiplexed: bool,
    ) -> Self {
        if let Some(connection) = &connection {
            connection.begin(reader.handle(), multiplexed);
        }
        let mut body = Self {
            first_bytes: first.iter().map(|chunk| chunk.len() as u64).sum(),
            first,
            stream: Some(Streaming {
                reader: Some(reader),
                connection,
                failing: None,
            }),
            length,
        };
        // hyper never polls a body of no bytes.
        body.end_if_over();
        body
    }

    /// Ends the response once nothing is left of it.
    fn end_if_over(&mut self) {
        let Some(stream) = self.stream.as_mut().filter(|_| self.first.is_empty()) else {
            return;
        };
        if let Some(reader) = stream.reader.take_if(|reader| reader.is_over()) {
            match &stream.connection {
                Some(connection) => connection.end(reader),
                None => drop(reader),
            }
            self.stream = None;
        }
    }
}

impl Streaming {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.failing.is_none() {
            let Some(reader) = &mut self.reader else {
                return Poll::Ready(None);
            };
            match ready!(reader.poll_chunk(cx)) {
                Some(Err(error)) => self.failing = Some(Draining::new(error)),
                next => return Poll::Ready(next),
            }
        }
        let Some(draining) = &mut self.failing else {
            return Poll::Ready(None);
        };
        ready!(draining.poll(self.connection.as_ref(), cx));
        let error = draining.error.clone();
        if let (Some(reader), Some(connection)) = (self.reader.take(), &self.connection) {
            connection.fail(&reader.handle());
        }
        Poll::Ready(Some(Err(error)))
    }
}

impl Draining {
    fn new(error: Error) -> Self {
        Self {
            error,
            until: Instant::now() + DRAIN_MAX,
            next_look: Box::pin(sleep(DRAIN_LOOK)),
            written: u64::MAX,
        }
    }

    /// Ready when the valid bytes are sent, or the time is up. hyper flushes while the body is
    /// pending, and each flush lets the connection look at its socket.
    fn poll(&mut self, connection: Option<&Connection>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = connection else {
            return Poll::Ready(());
        };
        loop {
            if Instant::now() >= self.until {
                return Poll::Ready(());
            }
            if !connection.is_multiplexed() && connection.poll_drained() {
                return Poll::Ready(());
            }
            ready!(self.next_look.as_mut().poll(cx));
            // HTTP/2: one stream's bytes cannot be told from another's; quiet must do.
            let written = connection.written();
            if connection.is_multiplexed() && written == self.written {
                return Poll::Ready(());
            }
            self.written = written;
            self.next_look.as_mut().reset(Instant::now() + DRAIN_LOOK);
        }
    }
}

impl Body for DownloadBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Some(chunk) = this.first.pop_front() {
            this.first_bytes -= chunk.len() as u64;
            if let Some(length) = &mut this.length {
                *length -= chunk.len() as u64;
            }
            this.end_if_over();
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let Some(stream) = &mut this.stream else {
            return Poll::Ready(None);
        };
        let next = ready!(stream.poll_chunk(cx));
        if let Some(Ok(chunk)) = &next
            && let Some(length) = &mut this.length
        {
            *length -= chunk.len() as u64;
        }
        this.end_if_over();
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.stream, self.length) {
            (None, _) => SizeHint::with_exact(self.first_bytes),
            (Some(_), Some(length)) => SizeHint::with_exact(length),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

impl Drop for DownloadBody {
    fn drop(&mut self) {
        // Dropped on the way: hyper lost the client, or (HTTP/2) the client reset the stream.
        if let Some(Streaming {
            reader: Some(reader),
            connection: Some(connection),
            ..
        }) = &self.stream
        {
            connection.fail(&reader.handle());
        }
    }
}

impl From<String> for DownloadBody {
    fn from(text: String) -> Self {
        let first_bytes = text.len() as u64;
        let chunk = (!text.is_empty()).then(|| Bytes::from(text));
        Self {
            first: chunk.into_iter().collect(),
            first_bytes,
            stream: None,
            length: None,
        }
    }
}

impl fmt::Debug for DownloadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadBody")
            .field("length", &self.length)
            .field("streaming", &self.stream.is_some())
            .finish_non_exhaustive()
    }
}
