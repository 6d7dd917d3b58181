//! The body of a download: the bytes held back by the commit window, then the stream's.
//!
//! Polled by hyper; calls `ChunkReader::poll_chunk`. Tells the [`Connection`] when the response
//! begins, ends and fails, and holds an error back until the valid bytes before it are sent.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use datastreamer::{ChunkReader, Error};
use http::{HeaderValue, Request, Version, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::armed::{Connection, DRAIN_MAX};

/// How often a drain looks whether everything is sent: often enough that an abort is not felt as
/// a delay, seldom enough (at most 400 looks) to cost nothing.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// How many looks an HTTP/2 connection must have been quiet for: what a busy machine may keep
/// its task waiting.
const IDLE_CHECKS: u32 = 4;

/// The body of a response made by [`Download`](crate::Download), or of a small one made of a
/// text.
///
/// Dropping it before its end stops the stream, and has the connection reset unless nothing of
/// the response was made yet.
///
/// ```
/// use datastreamer_http::{DownloadBody, Problem};
/// use http::{Response, StatusCode};
/// use http_body::Body;
///
/// let found = Response::new(DownloadBody::from("a page\n".to_owned()));
/// assert_eq!(found.body().size_hint().exact(), Some(7));
/// let missing: Response<DownloadBody> =
///     Problem::new(StatusCode::NOT_FOUND, "no such page").into_response();
/// # let _ = missing;
/// ```
pub struct DownloadBody {
    /// What comes before the stream: held back by the commit window, or all there is.
    buffered: VecDeque<Bytes>,
    stream: Option<Streaming>,
    /// Bytes still to come, where that is known.
    bytes_left: Option<u64>,
    protocol: Protocol,
    /// Somebody has asked for a frame: the head is made.
    polled: bool,
}

/// What carries a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// The client asked for `Connection: close`, which hyper repeats in the response.
    Http1Closing,
    /// Many responses on one connection, each with a window.
    Http2,
}

impl Protocol {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let closes = |value: &HeaderValue| {
            let mut options = value.as_bytes().split(|byte| *byte == b',');
            options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
        };
        let mut lines = request.headers().get_all(header::CONNECTION).iter();
        match request.version() >= Version::HTTP_2 {
            true => Self::Http2,
            false if lines.any(closes) => Self::Http1Closing,
            false => Self::Http1,
        }
    }
}

/// Why a body ended too early; see [`BodyError::get_ref`] for the whole story.
///
/// It has no [`source`](StdError::source): hyper looks among the causes for an HTTP/2 error and
/// resets the stream with its reason, which may be one that clients take for a good end.
#[derive(Clone, Debug)]
pub struct BodyError(Error);

impl BodyError {
    /// Returns the stream's error, with its causes.
    pub fn get_ref(&self) -> &Error {
        &self.0
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for BodyError {}

/// A stream under way.
struct Streaming {
    /// `None` once it has ended and the connection has it.
    reader: Option<ChunkReader>,
    connection: Option<Connection>,
    /// What the socket had taken when the response began.
    written_before: u64,
    /// A failure must show in the chunked framing as well: see [`Connection::break_framing`].
    breaks_framing: bool,
    /// The failure that waits for the valid bytes before it.
    failing: Option<Draining>,
}

struct Draining {
    error: Error,
    until: Instant,
    /// When a client that has not found the framing spoilt is reset.
    framing_break_until: Option<Instant>,
    check_timer: Pin<Box<Sleep>>,
    /// What the socket had taken at the last look.
    written: u64,
    /// Looks since then at which nothing more had gone out, and could have.
    idle_checks: u32,
}

impl DownloadBody {
    /// Makes a body without bytes.
    pub fn empty() -> Self {
        Self::from(String::new())
    }

    /// Makes the body of an answer to HEAD: without bytes, and without a word on how many a GET
    /// would bring. A framework makes a Content-Length of what it says.
    pub(crate) fn of_head() -> Self {
        let mut body = Self::empty();
        body.bytes_left = None;
        body
    }

    /// Joins what was held back and the rest of the stream.
    pub(crate) fn new(
        buffered: VecDeque<Bytes>,
        reader: ChunkReader,
        length: Option<u64>,
        connection: Option<Connection>,
        protocol: Protocol,
    ) -> Self {
        if let Some(connection) = &connection {
            connection.begin(reader.handle(), protocol == Protocol::Http2);
        }
        let written_before = connection.as_ref().map_or(0, |known| known.written().0);
        let mut body = Self {
            buffered,
            stream: Some(Streaming {
                reader: Some(reader),
                connection,
                written_before,
                breaks_framing: protocol == Protocol::Http1Closing && length.is_none(),
                failing: None,
            }),
            bytes_left: length,
            protocol,
            polled: false,
        };
        // hyper never polls a body of no bytes.
        body.end_if_over();
        body
    }

    /// HTTP/2: makes two frames of a chunk, the second of one byte. hyper asks for more once a
    /// frame may begin to go out, and a reset discards what has not: behind the one byte a
    /// failure finds the chunk let through by the client's window, and so does the end. See
    /// `http_2::a_slow_reader_gets_every_valid_byte_before_the_reset` and
    /// `http_2::a_response_is_complete_only_when_the_client_has_let_its_last_byte_in`.
    fn hold_last_byte(&mut self, mut chunk: Bytes) -> Bytes {
        if self.protocol == Protocol::Http2 && chunk.len() > 1 {
            self.buffered.push_front(chunk.split_off(chunk.len() - 1));
        }
        chunk
    }

    /// Ends the response once nothing is left of it.
    fn end_if_over(&mut self) {
        let Some(stream) = self.stream.as_mut().filter(|_| self.buffered.is_empty()) else {
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
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.failing.is_none() {
            let Some(reader) = &mut self.reader else {
                return Poll::Ready(None);
            };
            match ready!(reader.poll_chunk(cx)) {
                Some(Err(error)) => self.failing = Some(Draining::new(error)),
                Some(Ok(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                None => return Poll::Ready(None),
            }
        }
        let Some(draining) = &mut self.failing else {
            return Poll::Ready(None);
        };
        let connection = self.connection.as_ref();
        ready!(draining.poll(connection, cx));
        if let Some(connection) = connection.filter(|_| self.breaks_framing) {
            ready!(draining.poll_framing_broken(connection, cx));
        }
        let error = BodyError(draining.error.clone());
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
            framing_break_until: None,
            check_timer: Box::pin(sleep(DRAIN_CHECK_INTERVAL)),
            written: u64::MAX,
            idle_checks: 0,
        }
    }

    /// Ready when the valid bytes are sent, or the time is up. hyper flushes while the body is
    /// pending, and each flush lets the connection look at its socket.
    fn poll(&mut self, connection: Option<&Connection>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = connection else {
            // Nobody knows the socket: one flush, so that at least the head goes out.
            return self.check_timer.as_mut().poll(cx);
        };
        loop {
            if Instant::now() >= self.until {
                return Poll::Ready(());
            }
            if !connection.is_multiplexed() && connection.poll_drained() {
                return Poll::Ready(());
            }
            ready!(self.check_timer.as_mut().poll(cx));
            if connection.is_multiplexed() && self.is_idle(connection) {
                return Poll::Ready(());
            }
            self.check_timer
                .as_mut()
                .reset(Instant::now() + DRAIN_CHECK_INTERVAL);
        }
    }

    /// Has the framing spoilt, and is ready when the client had the time of a drain to find it so;
    /// at once where that cannot be done. A client that finds it closes, and the connection ends.
    fn poll_framing_broken(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<()> {
        let until = match self.framing_break_until {
            Some(until) => until,
            None if connection.break_framing() => {
                // For one more flush: hyper may have asked behind the last.
                cx.waker().wake_by_ref();
                *self.framing_break_until.insert(Instant::now() + DRAIN_MAX)
            }
            None => return Poll::Ready(()),
        };
        self.check_timer.as_mut().reset(until);
        self.check_timer.as_mut().poll(cx)
    }

    /// HTTP/2: one stream's bytes cannot be told from another's; quiet must do.
    fn is_idle(&mut self, connection: &Connection) -> bool {
        let (written, takes_more) = connection.written();
        self.idle_checks = match written == self.written && takes_more {
            true => self.idle_checks + 1,
            false => 0,
        };
        self.written = written;
        self.idle_checks >= IDLE_CHECKS
    }
}

impl Body for DownloadBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        this.polled = true;
        let next = match this.buffered.pop_front() {
            Some(chunk) => Some(Ok(chunk)),
            None => match &mut this.stream {
                Some(stream) => ready!(stream.poll_chunk(cx)),
                None => None,
            },
        };
        let next = next.map(|chunk| chunk.map(|chunk| this.hold_last_byte(chunk)));
        if let Some(Ok(chunk)) = &next
            && let Some(bytes_left) = &mut this.bytes_left
        {
            *bytes_left -= chunk.len() as u64;
        }
        // HTTP/1: the flush tells when the last chunk is out. HTTP/2: that hyper asks again.
        if next.is_none() || this.protocol != Protocol::Http2 {
            this.end_if_over();
        }
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.buffered.is_empty() && self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes_left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for DownloadBody {
    fn drop(&mut self) {
        // Dropped on the way: hyper lost the client, or (HTTP/2) the client reset the stream.
        if let Some(Streaming {
            reader: Some(reader),
            connection: Some(connection),
            written_before,
            ..
        }) = &self.stream
        {
            match !self.polled && connection.written().0 == *written_before {
                // Who dropped it answers otherwise: with 304, say.
                true => connection.withdraw(&reader.handle()),
                false => connection.fail(&reader.handle()),
            }
        }
    }
}

impl From<String> for DownloadBody {
    fn from(text: String) -> Self {
        let bytes_left = Some(text.len() as u64);
        let chunk = (!text.is_empty()).then(|| Bytes::from(text));
        Self {
            buffered: chunk.into_iter().collect(),
            stream: None,
            bytes_left,
            protocol: Protocol::Http1,
            polled: false,
        }
    }
}

impl fmt::Debug for DownloadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadBody")
            .field("bytes_left", &self.bytes_left)
            .field("streaming", &self.stream.is_some())
            .finish_non_exhaustive()
    }
}
