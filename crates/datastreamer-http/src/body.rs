//! The body of a download: the bytes buffered by the commit window, then those of the stream.
//!
//! hyper polls it; it calls `ChunkReader::poll_chunk`. It reports to the [`Connection`] when the
//! response begins, ends and fails, and delays an error until the valid bytes before it have been
//! sent.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use datastreamer::{ChunkReader, Error};
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};

use crate::{
    armed::{Connection, Usage},
    draining::Draining,
};

/// The body of a response made by [`Download`](crate::Download), or of a small one made from a
/// text.
///
/// Dropping it before its end stops the stream and causes the connection to be reset, unless
/// nothing of the response has been used yet.
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
    /// Sent before the stream: the chunks that the commit window has buffered, or the complete
    /// body.
    buffered: VecDeque<Bytes>,
    stream: Option<Streaming>,
    /// How many bytes are still to come, if that is known.
    bytes_left: Option<u64>,
    protocol: Protocol,
    /// Makes the trailer fields, once, at the clean end.
    trailers: Option<MakeTrailers>,
}

/// Makes trailer fields.
pub(crate) type MakeTrailers = Arc<dyn Fn() -> HeaderMap + Send + Sync>;

/// The protocol by which a response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// Many responses share one connection, each with a window.
    Http2,
}

impl Protocol {
    pub(crate) fn of(version: Version) -> Self {
        match version >= Version::HTTP_2 {
            true => Self::Http2,
            false => Self::Http1,
        }
    }
}

/// Why a body was aborted; see [`BodyError::get_ref`] for the causes.
///
/// It has no [`source`](StdError::source). hyper searches the causes for an HTTP/2 error and resets
/// the stream with the reason found there, which may be one that clients take for a clean end.
#[derive(Clone, Debug)]
pub struct BodyError(Error);

impl BodyError {
    /// Returns the stream's error with its causes.
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

/// A stream that is being sent.
struct Streaming {
    /// `None` once it has ended and was handed to the connection.
    reader: Option<ChunkReader>,
    connection: Option<Connection>,
    usage: Usage,
    /// hyper gets nothing while the socket takes nothing: it would hold a chunk more for each client
    /// that stalls.
    waits_for_socket: bool,
    /// hyper gets the next chunk once the socket has taken some of the last: a source that runs in the
    /// polls makes nothing that is not asked for.
    is_one_at_a_time: bool,
    /// How many bytes the socket had taken when the last chunk was handed over.
    written_at_chunk: Option<u64>,
    /// A failure must also break the chunked framing: see [`Connection::break_framing`].
    breaks_framing: bool,
    /// A failure that waits until the valid bytes before it have been sent.
    failing: Option<(Error, Draining)>,
}

impl DownloadBody {
    /// Makes an empty body.
    pub fn empty() -> Self {
        Self::from(String::new())
    }

    /// Makes the body of a response to HEAD: empty, and without a size hint, because frameworks
    /// turn a size hint into a Content-Length.
    pub(crate) fn of_head() -> Self {
        let mut body = Self::empty();
        body.bytes_left = None;
        body
    }

    /// Joins the chunks that the commit window has buffered and the rest of the stream.
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
        let waits_for_socket = protocol == Protocol::Http1;
        let is_one_at_a_time = reader.drives_source();
        let usage = Usage::begin(connection.as_ref());
        let mut body = Self {
            buffered,
            stream: Some(Streaming {
                reader: Some(reader),
                connection,
                usage,
                waits_for_socket,
                is_one_at_a_time,
                written_at_chunk: None,
                breaks_framing: protocol == Protocol::Http1 && length.is_none(),
                failing: None,
            }),
            bytes_left: length,
            protocol,
            trailers: None,
        };
        // hyper never polls an empty body.
        body.end_if_over();
        body
    }

    /// Sets what makes the trailer fields; for a body of unknown length.
    pub(crate) fn set_trailers(&mut self, make: MakeTrailers) {
        self.trailers = Some(make);
    }

    /// HTTP/2: splits a chunk into two frames, the second of one byte.
    ///
    /// hyper polls for the next frame once the client's window lets the current one begin, and a
    /// reset discards what the window has not let through. With one byte as the current frame, the
    /// window has let all bytes before it through when the body reports a failure or its end.
    /// Tested by `http_2::a_slow_reader_gets_every_valid_byte_before_the_reset` and
    /// `http_2::a_response_is_complete_only_when_the_client_has_let_its_last_byte_in`.
    fn split_last_byte(&mut self, mut chunk: Bytes) -> Bytes {
        if self.protocol == Protocol::Http2 && chunk.len() > 1 {
            self.buffered.push_front(chunk.split_off(chunk.len() - 1));
        }
        chunk
    }

    /// Reports the end of the response once everything was handed over.
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
            let connection = self.connection.as_ref();
            let connection = connection.filter(|_| self.waits_for_socket);
            if let Some(connection) = connection {
                // Not before the socket has taken the head: then it is known to be that of the response.
                let since = self
                    .written_at_chunk
                    .filter(|written| self.is_one_at_a_time && !self.usage.began_at(*written));
                ready!(connection.poll_taking(since, cx));
            }
            match ready!(reader.poll_chunk(cx)) {
                Some(Err(error)) => self.failing = Some((error, Draining::new())),
                Some(Ok(chunk)) => {
                    self.written_at_chunk = connection.map(|known| known.written().0);
                    return Poll::Ready(Some(Ok(chunk)));
                }
                None => return Poll::Ready(None),
            }
        }
        let Some((error, draining)) = &mut self.failing else {
            return Poll::Ready(None);
        };
        let connection = self.connection.as_ref();
        ready!(draining.poll(connection, cx));
        if let Some(connection) = connection.filter(|_| self.breaks_framing) {
            ready!(draining.poll_framing_broken(connection, cx));
        }
        let error = BodyError(error.clone());
        if let (Some(reader), Some(connection)) = (self.reader.take(), &self.connection) {
            connection.fail(&reader.handle());
        }
        Poll::Ready(Some(Err(error)))
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
        if let Some(stream) = &mut this.stream {
            stream.usage.poll();
        }
        let next = match this.buffered.pop_front() {
            Some(chunk) => Some(Ok(chunk)),
            None => match &mut this.stream {
                Some(stream) => ready!(stream.poll_chunk(cx)),
                None => None,
            },
        };
        let next = next.map(|chunk| chunk.map(|chunk| this.split_last_byte(chunk)));
        if let (Some(Ok(chunk)), Some(bytes_left)) = (&next, &mut this.bytes_left) {
            *bytes_left -= chunk.len() as u64;
        }
        if let Some(make) = this.trailers.take_if(|_| next.is_none()) {
            let trailers = make();
            // hyper polls no more after the trailer fields.
            this.end_if_over();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        // On HTTP/1 a flush confirms the last chunk. On HTTP/2 it counts as sent when hyper polls
        // again.
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
        // Dropped before its end: the client disconnected, or (HTTP/2) reset the stream.
        if let Some(Streaming {
            reader: Some(reader),
            connection: Some(connection),
            usage,
            ..
        }) = &self.stream
        {
            match usage.is_used(connection) {
                true => connection.fail(&reader.handle()),
                false => connection.withdraw(&reader.handle()),
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
            trailers: None,
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
