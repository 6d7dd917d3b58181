//! From a request to a response: what is refused, how long the head is delayed, what it contains.
//!
//! Called by the server for each request; calls `coding.rs`, and hands the stream to `body.rs`.
//!
//! The commit window: the head is sent when `commit_bytes` are buffered, when `commit_after` has
//! passed since the stream was admitted, or when the stream has ended. Therefore an early failure
//! and a refusal by a full pool get an error status, and a short file gets an exact length even if
//! its source does not know it.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use datastreamer::{ChunkReader, ETag, Error, ErrorKind, StreamHandle, StreamOptions};
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    Version, header, request::Parts,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    armed::Connection,
    body::{DownloadBody, MakeTrailers, Protocol},
    coding::{self, Coding},
    conditions::{Conditions, Decision},
    disposition::{content_disposition, inline_disposition},
    etag,
    planning::{PlanReport, Planning, Report},
    problem::Problem,
};

/// How many bytes commit a response: one chunk of the default size (64 KiB). Most early failures
/// occur before the first row, and a chunk is about a screenful of a table.
pub const DEFAULT_COMMIT_BYTES: usize = datastreamer::DEFAULT_CHUNK_BYTES;

/// After how long a response is committed: five seconds. Usual time-outs for a response's head (30
/// to 60 s in browsers and proxies) are longer, and most queries that fail do so earlier.
pub const DEFAULT_COMMIT_AFTER: Duration = Duration::from_secs(5);

/// How long a head waits for what its request needs of a production: 30 seconds. Proxies give up after a
/// minute.
#[cfg(feature = "spool")]
pub const DEFAULT_LENGTH_WAIT: Duration = Duration::from_secs(30);

static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Describes a file that is produced on the fly, and answers requests for it.
///
/// See the [crate's example](crate).
#[derive(Clone)]
pub struct Download {
    media_type: HeaderValue,
    disposition: Option<HeaderValue>,
    length: Option<u64>,
    compressible: bool,
    commit_bytes: usize,
    pub(crate) commit_after: Duration,
    #[cfg(feature = "spool")]
    pub(crate) length_wait: Duration,
    commit_on_flush: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
    trailers: Vec<Trailers>,
    options: StreamOptions,
    observer: Option<Observer>,
}

/// Fields that are known only at the end of a file, and their names.
#[derive(Clone)]
struct Trailers {
    names: Vec<HeaderName>,
    make: MakeTrailers,
}

/// Called with each stream that is sent to a client.
type Observer = Arc<dyn Fn(StreamHandle) + Send + Sync>;

impl Download {
    /// Describes a file of a media type. A text that is not a valid header value counts as
    /// `application/octet-stream`.
    pub fn new(media_type: &str) -> Self {
        Self {
            media_type: HeaderValue::from_str(media_type)
                .unwrap_or(HeaderValue::from_static("application/octet-stream")),
            disposition: None,
            length: None,
            compressible: false,
            commit_bytes: DEFAULT_COMMIT_BYTES,
            commit_after: DEFAULT_COMMIT_AFTER,
            #[cfg(feature = "spool")]
            length_wait: DEFAULT_LENGTH_WAIT,
            commit_on_flush: false,
            headers: Vec::new(),
            trailers: Vec::new(),
            options: StreamOptions::new(),
            observer: None,
        }
    }

    /// Sets the options of the streams: pool, buffer, deadlines. The context is that of each request,
    /// the length that of [`length`](Self::length).
    #[must_use]
    pub fn options(mut self, options: StreamOptions) -> Self {
        self.options = options;
        self
    }

    /// Calls `observer` with each stream when it starts, for example to keep records. The stream is
    /// the one that is sent to the client: the coded one if a coding was negotiated.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(StreamHandle) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Sets the name under which clients save the file; see [`content_disposition`].
    #[must_use]
    pub fn file_name(mut self, name: &str) -> Self {
        self.disposition = Some(content_disposition(name));
        self
    }

    /// As [`file_name`](Self::file_name), but browsers show the file instead of saving it: for texts and
    /// HTML that people read.
    #[must_use]
    pub fn inline_file_name(mut self, name: &str) -> Self {
        self.disposition = Some(inline_disposition(name));
        self
    }

    /// Promises the exact number of bytes. `Content-Length` is sent, and a source that writes more
    /// or fewer bytes fails.
    #[must_use]
    pub fn length(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.length = bytes.into();
        self
    }

    /// Allows a content coding if the client accepts one: for text, not for compressed formats.
    #[must_use]
    pub fn compressible(mut self, compressible: bool) -> Self {
        self.compressible = compressible;
        self
    }

    /// Sets how many bytes commit the response; 0 counts as 1.
    #[must_use]
    pub fn commit_bytes(mut self, bytes: usize) -> Self {
        self.commit_bytes = bytes;
        self
    }

    /// Sets after how long the response is committed with the bytes that are there. The time counts
    /// from the stream's admission, which is limited by the pool's own `queue_timeout`.
    /// `Duration::MAX`: no limit.
    #[must_use]
    pub fn commit_after(mut self, delay: Duration) -> Self {
        self.commit_after = delay;
        self
    }

    /// Commits the response as soon as the source has flushed ([`flush_now`], or `flush` of its writer),
    /// with whatever there is. For a source that writes some bytes and then nothing for long, and
    /// knows when it has begun well.
    ///
    /// [`flush_now`]: datastreamer::StreamWriter::flush_now
    #[must_use]
    pub fn commit_on_flush(mut self, commit_on_flush: bool) -> Self {
        self.commit_on_flush = commit_on_flush;
        self
    }

    /// Adds fields that are known only once the file is complete, for example a digest (RFC 9530).
    /// `make` is called at the clean end, and never after a failure.
    ///
    /// May be called several times. They are trailer fields (RFC 9110, 6.5) of a response of unknown length to a client that takes
    /// them (`TE: trailers`). A file that is complete within the commit window has them in its head.
    /// Otherwise nobody asked for them, or nothing can carry them, and they are left out.
    ///
    /// ```
    /// use std::sync::{Arc, OnceLock};
    /// use datastreamer_http::Download;
    /// use http::{HeaderMap, HeaderName, HeaderValue, Request};
    ///
    /// # async fn answer() {
    /// let rows = Arc::new(OnceLock::new());
    /// let counted = Arc::clone(&rows);
    /// let name = HeaderName::from_static("rows");
    /// let request = Request::get("/stars.csv").header("te", "trailers").body(()).unwrap();
    /// let response = Download::new("text/csv")
    ///     .trailers(&[name.clone()], move || {
    ///         let rows = counted.get().map(|rows: &u64| HeaderValue::from(*rows));
    ///         rows.into_iter().map(|rows| (name.clone(), rows)).collect()
    ///     })
    ///     .respond(&request, move |options| options.stream_out(move |out| {
    ///         out.write_slice(b"ra,dec\n1,2\n")?;
    ///         let _first = rows.set(1);
    ///         Ok::<(), datastreamer::Error>(())
    ///     }))
    ///     .await;
    /// assert_eq!(response.headers()["rows"], "1"); // complete within the commit window
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(answer());
    /// ```
    #[must_use]
    pub fn trailers(
        mut self,
        names: &[HeaderName],
        make: impl Fn() -> HeaderMap + Send + Sync + 'static,
    ) -> Self {
        self.trailers.push(Trailers {
            names: names.to_vec(),
            make: Arc::new(make),
        });
        self
    }

    /// Adds a header to the response; may be called several times with the same name. It replaces
    /// the header that the response would have otherwise; a `Vary` is added to it. `Content-Length`
    /// is ignored: use [`length`](Self::length), which enforces it. A strong `ETag` becomes weak if
    /// the response is coded.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Answers a request.
    ///
    /// `start` must start the stream with the options that it is given; they contain the promised
    /// length, and the request's path as context. It is not called for HEAD, which is refused as GET
    /// would be if the pool would refuse the stream at once.
    ///
    /// - An early failure becomes a response with an error status: see [`Problem`].
    /// - A late failure is an error of the body. On HTTP/2 hyper turns it into
    ///   RST_STREAM(INTERNAL_ERROR). On HTTP/1.1 it becomes a reset of the connection if the
    ///   request's extensions contain a [`Connection`]; otherwise the connection is closed before
    ///   the last chunk.
    /// - A range is ignored, but for an open one (`bytes=1000-`) without `If-Range` or `If-Match`: 412. curl
    ///   and wget resume so, and wget appends what follows its own bytes in a complete response, whatever
    ///   they are.
    /// - HTTP/1.0 cannot distinguish the end of a stream from a failure. Such a request gets a
    ///   response with a length, or 505 if the length is unknown at the end of the commit window.
    /// - A stream that was started without the promised length fails with
    ///   [`ErrorKind::LengthMismatch`] before its first byte, because nothing would enforce the
    ///   promise.
    ///
    /// Dropping the future hangs up the stream. hyper does so when the client disconnects.
    ///
    /// # Panics
    /// Polling the future or the body panics outside of a tokio runtime with time enabled.
    pub fn respond<B, F>(
        self,
        request: &Request<B>,
        start: F,
    ) -> impl Future<Output = Response<DownloadBody>> + use<B, F>
    where
        F: FnOnce(StreamOptions) -> ChunkReader,
    {
        // The future must not borrow the request: few request bodies are Sync.
        self.unplanned(Head::of(request), start)
    }

    /// Does the same for a request of which only the head is there, because its body was read: by an
    /// extractor, for example.
    ///
    /// ```
    /// use datastreamer_http::Download;
    /// use http::Request;
    ///
    /// # async fn answer() {
    /// let (parts, body) = Request::post("/report").body("{\"year\": 2026}").unwrap().into_parts();
    /// let year = body.to_owned(); // or what an extractor makes of it
    /// let response = Download::new("text/plain")
    ///     .respond_to(&parts, move |options| {
    ///         options.stream_out(move |out| out.write_slice(year.as_bytes()))
    ///     })
    ///     .await;
    /// assert_eq!(response.status(), 200);
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(answer());
    /// ```
    ///
    /// # Panics
    /// As [`respond`](Self::respond).
    pub fn respond_to<F>(
        self,
        parts: &Parts,
        start: F,
    ) -> impl Future<Output = Response<DownloadBody>> + use<F>
    where
        F: FnOnce(StreamOptions) -> ChunkReader,
    {
        self.unplanned(Head::of_parts(parts), start)
    }

    /// Answers a request whose source plans before it writes, on its own thread and after its
    /// admission.
    ///
    /// The head waits for the source's [`PlanReport`]; the deadline is the options' `source_stall`.
    /// Only then does the commit window begin, so an error while planning gets its status however
    /// long planning takes. HEAD takes a place and plans as well. Everything else is as for
    /// [`respond`](Self::respond).
    ///
    /// A plan that has an entity tag or a date is held against the request's preconditions, and one with
    /// [`ranges`](crate::Planned::ranges) against its ranges: 206, 304, 412 and 416 (RFC 9110, 13
    /// to 15). The source then writes the [`Pieces`](crate::Pieces) that its report returns. A request
    /// with ranges gets no content coding.
    ///
    /// ```
    /// use datastreamer_http::{Download, Planned};
    /// use http::Request;
    ///
    /// # async fn answer() {
    /// let request = Request::head("/stars.csv").body(()).unwrap();
    /// let response = Download::new("text/csv")
    ///     .respond_planned(&request, |options, report| {
    ///         options.stream_out(move |out| {
    ///             let rows = ["ra,dec", "1,2"]; // from a database that may refuse
    ///             if report.done(Planned::new().length(11)).is_none() {
    ///                 return Ok(()); // HEAD
    ///             }
    ///             rows.iter().try_for_each(|row| out.write_slice(format!("{row}\n").as_bytes()))
    ///         })
    ///     })
    ///     .await;
    /// assert_eq!(response.headers()["content-length"], "11");
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(answer());
    /// ```
    ///
    /// # Panics
    /// As [`respond`](Self::respond).
    pub fn respond_planned<B, F>(
        self,
        request: &Request<B>,
        start: F,
    ) -> impl Future<Output = Response<DownloadBody>> + use<B, F>
    where
        F: FnOnce(StreamOptions, PlanReport) -> ChunkReader,
    {
        let plan = self.plan(Head::of(request));
        self.answer_planned(plan, start)
    }

    /// Does the same for a request of which only the head is there, as [`respond_to`](Self::respond_to).
    ///
    /// # Panics
    /// As [`respond`](Self::respond).
    pub fn respond_planned_to<F>(
        self,
        parts: &Parts,
        start: F,
    ) -> impl Future<Output = Response<DownloadBody>> + use<F>
    where
        F: FnOnce(StreamOptions, PlanReport) -> ChunkReader,
    {
        let plan = self.plan(Head::of_parts(parts));
        self.answer_planned(plan, start)
    }

    /// What is to be planned for a request; it does not borrow that.
    pub(crate) fn plan(&self, head: Head<'_>) -> Plan {
        let conditions = Conditions::of(head.method, head.headers, &self.media_type);
        let mut info = self.request_info(head);
        if conditions.has_ranges() {
            // Ranges are those of the file itself; the bytes of a coder are others in every run.
            info.coding = None;
        }
        let (report, planning) = PlanReport::new(info.head_only, info.coding.is_some(), conditions);
        Plan {
            info,
            report,
            planning,
        }
    }

    pub(crate) fn answer_planned<F>(
        self,
        plan: Plan,
        start: F,
    ) -> impl Future<Output = Response<DownloadBody>> + use<F>
    where
        F: FnOnce(StreamOptions, PlanReport) -> ChunkReader,
    {
        let Plan {
            info,
            report,
            planning,
        } = plan;
        self.answer(info, |options| start(options, report), Some(planning))
    }

    fn unplanned<F>(
        self,
        head: Head<'_>,
        start: F,
    ) -> impl Future<Output = Response<DownloadBody>> + use<F>
    where
        F: FnOnce(StreamOptions) -> ChunkReader,
    {
        let refused = Conditions::of(head.method, head.headers, &self.media_type).unproved();
        let info = self.request_info(head);
        async move {
            match refused {
                Some(problem) => problem.into_response(),
                None => self.answer(info, start, None).await,
            }
        }
    }

    fn request_info(&self, head: Head<'_>) -> RequestInfo {
        RequestInfo {
            head_only: *head.method == Method::HEAD,
            version: head.version,
            path: head.uri.path().to_owned(),
            // The length of a coded body is unknown, and HTTP/1.0 needs one.
            coding: match self.compressible && head.version >= Version::HTTP_11 {
                true => Coding::negotiate(head.headers),
                false => None,
            },
            takes_trailers: takes_trailers(head.headers),
            connection: Connection::of(head.extensions),
            protocol: Protocol::of(head.version),
        }
    }

    async fn answer<F>(
        self,
        info: RequestInfo,
        start: F,
        planning: Option<Planning>,
    ) -> Response<DownloadBody>
    where
        F: FnOnce(StreamOptions) -> ChunkReader,
    {
        let options = self.options.clone().context(info.path);
        if info.head_only {
            let report = match planning {
                None => match options.check_admission() {
                    Ok(()) => None,
                    // So would be GET.
                    Err(error) => return Problem::from(&error).into_response(),
                },
                // Without the promise: the source writes nothing.
                Some(planning) => {
                    let reader = start(options.length(None));
                    let stream = reader.handle().id();
                    match plan_only(reader, planning).await {
                        Ok(report) => Some(report),
                        Err(error) => return Problem::of_stream(&error, stream).into_response(),
                    }
                }
            };
            let length = report.as_ref().and_then(|report| report.planned.length);
            let length = length.or(self.length).filter(|_| info.coding.is_none());
            return match self.planned_head(report, info.coding) {
                Ok(planned) => self.head(planned, info.coding, length, DownloadBody::of_head()),
                Err(response) => *response,
            };
        }
        let mut reader = start(options.clone().length(self.length));
        // A coder flushes whenever it waits: only the source's own flush says something.
        let source = reader.handle();
        let length_unwatched = self.length.is_some() && reader.bytes_left() != self.length;
        if let Some(coding) = info.coding {
            reader = coding::encode(reader, coding, options);
        }
        if let Some(observer) = &self.observer {
            observer(reader.handle());
        }
        if length_unwatched {
            let text = "the stream was started without the length that the response promises";
            let error = Error::new(ErrorKind::LengthMismatch, text);
            reader.handle().stop(error.clone());
            return Problem::of_stream(&error, reader.handle().id()).into_response();
        }
        match info.connection.is_some() {
            true => reader.hold_verdict(),
            false => warn_unarmed(),
        }
        let mut window = Window::default();
        let filled = self.fill_window(&mut reader, &mut window, &source, planning);
        let report = match filled.await {
            Ok(report) => report,
            Err(error) => return Problem::of_stream(&error, reader.handle().id()).into_response(),
        };
        let length = report.as_ref().and_then(Report::length);
        if let Some(Err(error)) = length.map(|length| source.promise_length(length)) {
            source.stop(error.clone());
            return Problem::of_stream(&error, reader.handle().id()).into_response();
        }
        let planned = match self.planned_head(report, info.coding) {
            Ok(planned) => planned,
            Err(response) => {
                // The source has nothing to write; its end is not that of a client that has left.
                if window.complete || reader.next_chunk().await.is_none() {
                    reader.confirm();
                }
                return *response;
            }
        };
        // A running source may have promised its length before it wrote the first byte.
        let promised = reader.bytes_left().map(|left| left + window.bytes as u64);
        let length = match window.complete {
            true => Some(window.bytes as u64),
            // A body of no bytes is never polled, so a length of 0 would be the end of the response
            // before the source's result is known.
            false => promised.filter(|bytes| *bytes > 0),
        };
        if info.version < Version::HTTP_11 && length.is_none() {
            reader.hang_up("HTTP/1.0 needs a length");
            return Problem::new(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "the length of this file is not known in advance, and HTTP/1.0 cannot distinguish \
                 the end of the file from a failure: use HTTP/1.1 (nginx: proxy_http_version 1.1)",
            )
            .into_response();
        }
        let (chunks, connection) = (window.chunks, info.connection);
        let mut body = DownloadBody::new(chunks, reader, length, connection, info.protocol);
        let trailers = self.trailers.clone();
        let mut at_the_end = HeaderMap::new();
        if !trailers.is_empty() {
            let names = trailers.iter().flat_map(|of| &of.names);
            let names = names.map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
            let is_coded = info.coding.is_some();
            let make = move || {
                let mut fields = HeaderMap::new();
                trailers.iter().for_each(|of| fields.extend((of.make)()));
                if is_coded {
                    remove_digests(&mut fields);
                }
                fields
            };
            if window.complete {
                at_the_end = make();
            } else if let Some(names) = HeaderValue::try_from(names)
                .ok()
                .filter(|_| length.is_none() && info.takes_trailers)
            {
                body.set_trailers(Arc::new(make));
                at_the_end.insert(header::TRAILER, names);
            }
        }
        let mut response = self.head(planned, info.coding, length, body);
        response.headers_mut().extend(at_the_end);
        response
    }

    /// Buffers chunks until there are enough, or the time is up. Returns what the source has planned.
    async fn fill_window(
        &self,
        reader: &mut ChunkReader,
        window: &mut Window,
        source: &StreamHandle,
        planning: Option<Planning>,
    ) -> Result<Option<Report>, Error> {
        reader.handle().admitted().await;
        let mut filling = pin!(self.fill(reader, window, source));
        let mut commit_after = self.commit_after;
        let mut report = None;
        if let Some(mut planning) = planning {
            // A stop or a stall ends the stream, and so the wait.
            let ended_or_planned = poll_fn(|cx| match filling.as_mut().poll(cx) {
                Poll::Ready(ended) => Poll::Ready(Err(ended)),
                Poll::Pending => Pin::new(&mut planning).poll(cx).map(Ok),
            });
            report = match ended_or_planned.await {
                // A short file may be there before its report is looked at.
                Err(ended) => return ended.map(|()| planning.try_recv().ok()),
                Ok(report) => report.ok(),
            };
            let planned = report
                .as_ref()
                .and_then(|report| report.planned.commit_after);
            commit_after = planned.unwrap_or(commit_after);
        }
        match Instant::now().checked_add(commit_after) {
            None => filling.await?,
            // If the time is up, the response is committed with the bytes that are there.
            Some(deadline) => timeout_at(deadline, filling).await.unwrap_or(Ok(()))?,
        }
        Ok(report)
    }

    async fn fill(
        &self,
        reader: &mut ChunkReader,
        window: &mut Window,
        source: &StreamHandle,
    ) -> Result<(), Error> {
        while window.bytes < self.commit_bytes.max(1) {
            let has_bytes = window.bytes > 0;
            let next = poll_fn(|cx| match reader.poll_chunk(cx) {
                Poll::Pending if self.commit_on_flush && has_bytes && source.was_flushed() => {
                    Poll::Ready(None)
                }
                next => next.map(Some),
            });
            match next.await {
                Some(Some(chunk)) => window.push(chunk?),
                Some(None) => {
                    window.complete = true;
                    break;
                }
                // Flushed, and nothing more is there.
                None => break,
            }
        }
        Ok(())
    }

    /// Makes the part of the head that planning decides, or the response that is sent instead of the
    /// file: 304, 412 or 416.
    fn planned_head(
        &self,
        report: Option<Report>,
        coding: Option<Coding>,
    ) -> Result<PlannedHead, Box<Response<DownloadBody>>> {
        let Some(Report { planned, decision }) = report else {
            return Ok(PlannedHead::default());
        };
        let mut head = PlannedHead {
            etag: planned.etag,
            last_modified: planned.last_modified,
            has_ranges: planned.has_ranges,
            ..PlannedHead::default()
        };
        match decision {
            Decision::Send {
                content_range,
                content_type,
                ..
            } => {
                head.content_range = content_range;
                head.content_type = content_type;
                Ok(head)
            }
            Decision::NotModified => {
                let body = DownloadBody::of_head();
                Err(Box::new(not_modified(
                    self.clone().head(head, coding, None, body),
                )))
            }
            Decision::Refuse(problem, content_range) => {
                let mut response = problem.into_response();
                if let Some(range) = content_range {
                    response.headers_mut().insert(header::CONTENT_RANGE, range);
                }
                Err(Box::new(response))
            }
        }
    }

    fn head(
        self,
        planned: PlannedHead,
        coding: Option<Coding>,
        length: Option<u64>,
        body: DownloadBody,
    ) -> Response<DownloadBody> {
        let mut response = Response::new(body);
        *response.status_mut() = planned.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.media_type);
        if let Some(disposition) = self.disposition {
            headers.insert(header::CONTENT_DISPOSITION, disposition);
        }
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, coding.header_value());
        }
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        if self.compressible {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        // A proxy that buffers hides a slow client from the server, and an abort from the client.
        headers.insert(&X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        planned.add_to(headers, coding);
        let added = self.headers.into_iter();
        let added: Vec<_> = added
            .filter(|(name, _)| name != header::CONTENT_LENGTH)
            .collect();
        for (name, _) in added.iter().filter(|(name, _)| name != header::VARY) {
            headers.remove(name);
        }
        for (name, value) in added {
            headers.append(name, value);
        }
        if coding.is_some() {
            weaken_etag(headers);
            remove_digests(headers);
        }
        response
    }
}

/// What planning decides of a response's head; without a plan, that of a file of which nothing is
/// known.
#[derive(Debug, Default)]
struct PlannedHead {
    etag: Option<ETag>,
    last_modified: Option<SystemTime>,
    has_ranges: bool,
    /// Of one part.
    content_range: Option<HeaderValue>,
    /// Of several parts.
    content_type: Option<HeaderValue>,
}

impl PlannedHead {
    fn status(&self) -> StatusCode {
        match self.content_range.is_some() || self.content_type.is_some() {
            true => StatusCode::PARTIAL_CONTENT,
            false => StatusCode::OK,
        }
    }

    fn add_to(self, headers: &mut HeaderMap, coding: Option<Coding>) {
        // The bytes of a coder are others in every run.
        let ranges = match self.has_ranges && coding.is_none() {
            true => HeaderValue::from_static("bytes"),
            false => HeaderValue::from_static("none"),
        };
        headers.insert(header::ACCEPT_RANGES, ranges);
        // A cache asks whether the tag is still right; without one it has no use for the response.
        let caching = match self.etag.is_some() || self.last_modified.is_some() {
            true => HeaderValue::from_static("no-cache"),
            false => HeaderValue::from_static("no-store"),
        };
        headers.insert(header::CACHE_CONTROL, caching);
        if let Some(etag) = self.etag.as_ref().and_then(etag::header_value) {
            headers.insert(header::ETAG, etag);
        }
        // Of a time in the future nothing may be said (RFC 9110, 8.8.2.1).
        let past = self.last_modified.filter(|time| *time <= SystemTime::now());
        let date = past.map(httpdate::fmt_http_date);
        if let Some(date) = date.and_then(|date| HeaderValue::try_from(date).ok()) {
            headers.insert(header::LAST_MODIFIED, date);
        }
        if let Some(range) = self.content_range {
            headers.insert(header::CONTENT_RANGE, range);
        }
        if let Some(content_type) = self.content_type {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
    }
}

/// Makes the response 304 of what would be sent: only what caches need of it (RFC 9110, 15.4.5).
fn not_modified(response: Response<DownloadBody>) -> Response<DownloadBody> {
    let (mut parts, body) = response.into_parts();
    let kept = [
        header::CACHE_CONTROL,
        header::CONTENT_LOCATION,
        header::ETAG,
        header::EXPIRES,
        header::VARY,
    ];
    let headers = mem::take(&mut parts.headers);
    let named = kept.iter().flat_map(|name| {
        let values = headers.get_all(name).iter();
        values.map(move |value| (name.clone(), value.clone()))
    });
    parts.headers = named.collect();
    parts.status = StatusCode::NOT_MODIFIED;
    Response::from_parts(parts, body)
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("media_type", &self.media_type)
            .field("disposition", &self.disposition)
            .field("length", &self.length)
            .field("compressible", &self.compressible)
            .finish_non_exhaustive()
    }
}

/// Says once that a failure may not be visible to every client.
fn warn_unarmed() {
    #[cfg(feature = "tracing")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            tracing::warn!(
                target: "datastreamer",
                "a download is sent over a connection that is not armed: if it fails, some clients \
                 take a part of it for the file. Serve it with datastreamer_http::serve, or put the \
                 Connection of an Armed socket into the extensions of each request"
            );
        });
    }
}

/// Whether the client takes trailer fields (RFC 9110, 10.1.4).
fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::TE).iter();
    values.any(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Makes the ETag of a coded response weak. It was made for the bytes that are not coded, and those of
/// a coder depend on when it is flushed (RFC 9110, 8.8.3.3).
fn weaken_etag(headers: &mut HeaderMap) {
    let strong = headers.get(header::ETAG).map(HeaderValue::as_bytes);
    let Some(strong) = strong.filter(|etag| !etag.starts_with(b"W/")) else {
        return;
    };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", strong].concat()) {
        headers.insert(header::ETAG, weak);
    }
}

/// Removes the digests of the bytes that are not coded: those of a coded response would be others
/// (RFC 9530, 3).
fn remove_digests(headers: &mut HeaderMap) {
    for name in ["repr-digest", "content-digest"] {
        headers.remove(name);
    }
}

/// Has a source plan, and returns what it reports; it writes nothing.
async fn plan_only(mut reader: ChunkReader, mut planning: Planning) -> Result<Report, Error> {
    let unplanned = |_| Error::new(ErrorKind::SourceFailed, "the source ended without a plan");
    match reader.next_chunk().await {
        Some(Err(error)) => Err(error),
        // If it writes all the same, what it has reported before holds.
        None | Some(Ok(_)) => planning.try_recv().map_err(unplanned),
    }
}

/// The head of a request.
pub(crate) struct Head<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
}

impl<'a> Head<'a> {
    pub(crate) fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }

    fn of_parts(parts: &'a Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

/// A response whose source plans: what it depends on, and both ends of the report.
pub(crate) struct Plan {
    info: RequestInfo,
    report: PlanReport,
    planning: Planning,
}

/// What the response depends on.
struct RequestInfo {
    head_only: bool,
    version: Version,
    path: String,
    coding: Option<Coding>,
    takes_trailers: bool,
    connection: Option<Connection>,
    protocol: Protocol,
}

/// The chunks buffered by the commit window.
#[derive(Default)]
struct Window {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// The stream has finished: these are all its bytes.
    complete: bool,
}

impl Window {
    fn push(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }
}
