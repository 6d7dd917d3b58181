//! A response that is read from a production of `datastreamer-spool`: what its head waits for, which status
//! an early failure has, the tag, the length, the ranges and the digest.
//!
//! Called for each request by the service that has joined or begun the production; calls `response.rs`, whose
//! source is a reader of the production.

use std::{future::Future, slice, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use datastreamer::{Error, Piece};
use datastreamer_spool::{
    Error as SpoolError, ErrorKind as SpoolErrorKind, Failure, Production, State,
};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use crate::{
    body::DownloadBody,
    conditions::Needs,
    pieces::Pieces,
    planned::Planned,
    planning::PlanReport,
    problem::Problem,
    response::{Download, Head},
};

static REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

impl Download {
    /// Sets how long the head waits for what the ranges of a request need of a production: so many bytes,
    /// or its length; default [`DEFAULT_LENGTH_WAIT`](crate::DEFAULT_LENGTH_WAIT). A range of a file that
    /// is not known so far by then is refused with 412.
    #[must_use]
    pub fn length_wait(mut self, time: Duration) -> Self {
        self.length_wait = time;
        self
    }

    /// Answers a request from a production: all of it, or the ranges that the request wants.
    ///
    /// - The head waits for the first byte, for at most [`commit_after`](Self::commit_after), or for what
    ///   the ranges need ([`length_wait`](Self::length_wait)). A client that has waited gets the bytes that are
    ///   there, and the others as the source makes them.
    /// - `ETag` is that of the production, `Content-Length` its length if that is known, and a response is
    ///   206, 304, 412 or 416 as for [`respond_planned`](Self::respond_planned).
    /// - `Repr-Digest` (RFC 9530) is the SHA-256 of all bytes: a header if all are there, otherwise a
    ///   trailer, where [`trailers`](Self::trailers) are sent.
    /// - A failure of the source before its first byte gets the source's own status; one of the spool is
    ///   507 if it has no room, otherwise 503. A later failure aborts the response, behind the bytes that
    ///   are there.
    ///
    /// The options' pool is that of readers: another one than that of sources (see the documentation of
    /// `datastreamer_spool`). A handler that has only the head of a request makes one of it:
    /// `Request::from_parts(parts, ())`.
    ///
    /// ```
    /// use datastreamer_http::{Download, Problem, datastreamer::stream_out};
    /// use datastreamer_spool::{Beginning, Key, Spool, SpoolOptions};
    /// use http::Request;
    ///
    /// # async fn answer() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// let spool = Spool::open(folder.path(), SpoolOptions::new())?;
    /// let request = Request::get("/digits").header("range", "bytes=2-4").body(())?;
    /// let begin = || Beginning::new(stream_out(|out| out.write_slice(b"0123456789")));
    /// let response = match spool.join_or_begin(Key::new(request.uri().path()), begin) {
    ///     Ok((production, _)) => {
    ///         Download::new("text/plain").respond_production(&request, production).await
    ///     }
    ///     Err(error) => Problem::from(&error).into_response(), // 507 or 503
    /// };
    /// assert_eq!(response.status(), 206);
    /// assert_eq!(response.headers()["content-length"], "3");
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(answer()).unwrap();
    /// ```
    ///
    /// # Panics
    /// As [`respond`](Self::respond).
    pub fn respond_production<B>(
        self,
        request: &Request<B>,
        production: Production,
    ) -> impl Future<Output = Response<DownloadBody>> + use<B> {
        self.respond_production_with(request, production, |report, planned| report.done(planned))
    }

    /// Does the same for a service that knows more about its clients: `report` reports the plan of the
    /// production, for example with other [`bare_ranges`](Planned::bare_ranges), and sees what the client
    /// gets. It returns what [`PlanReport::done`] has returned.
    ///
    /// # Panics
    /// As [`respond`](Self::respond).
    pub fn respond_production_with<B, F>(
        self,
        request: &Request<B>,
        production: Production,
        report: F,
    ) -> impl Future<Output = Response<DownloadBody>> + use<B, F>
    where
        F: FnOnce(PlanReport, Planned) -> Option<Pieces>,
    {
        let needs = Needs::of(request.method(), request.headers());
        let plan = self.plan(Head::of(request));
        async move {
            let time = match needs {
                Needs::Nothing => self.commit_after,
                Needs::Bytes(_) | Needs::Length => self.length_wait,
            };
            wait_for(&production, needs, time).await;
            let failure = early_failure(&production);
            if let Some(Failure::Spool(error)) = &failure {
                return Problem::from(error).into_response();
            }
            let start = |options, plan| match failure {
                // Its error decides the response.
                Some(_) => production.open(vec![Piece::From(0)], options),
                None => match report(plan, planned(&production)) {
                    Some(pieces) => production.open(pieces.as_slice().to_vec(), options),
                    None => options.stream_out_async_write(async |_| Ok::<(), Error>(())),
                },
            };
            self.with_digest(&production)
                .answer_planned(plan, start)
                .await
        }
    }

    /// Adds the digest of all bytes: to the head, if they are there.
    fn with_digest(self, production: &Production) -> Self {
        if let Some(digest) = digest(production) {
            return self.header(REPR_DIGEST.clone(), digest);
        }
        let production = production.clone();
        self.trailers(slice::from_ref(&REPR_DIGEST), move || {
            let digest = digest(&production).map(|digest| (REPR_DIGEST.clone(), digest));
            digest.into_iter().collect()
        })
    }
}

/// Waits until enough is known of a production for a request, or it has failed: of a GET at least
/// whether there is a first byte, so that an early failure has its status.
async fn wait_for(production: &Production, needs: Needs, time: Duration) {
    let known = async {
        match needs {
            Needs::Nothing => production.reached(1).await,
            Needs::Bytes(bytes) => production.reached(bytes.max(1)).await,
            Needs::Length => {
                // A failure shows as one when the response is made.
                let _known = production.known_length().await;
            }
        }
    };
    // Without it the request is refused, or served complete.
    let _in_time = tokio::time::timeout(time, known).await;
}

/// The failure of a production that has no byte. The bytes of another one go out first.
fn early_failure(production: &Production) -> Option<Failure> {
    match production.state() {
        State::Failed(failure) if production.bytes_so_far() == 0 => Some(failure),
        _ => None,
    }
}

fn planned(production: &Production) -> Planned {
    Planned::new()
        .length(production.length())
        .length_at_least(production.bytes_so_far())
        .etag(production.etag().clone())
        .ranges(true)
}

/// The digest of all bytes (RFC 9530, 2), once they are there.
fn digest(production: &Production) -> Option<HeaderValue> {
    let sha256 = production.digests()?.sha256;
    let value = format!("sha-256=:{}:", BASE64_STANDARD.encode(sha256));
    HeaderValue::try_from(value).ok()
}

impl Problem {
    /// 503 of a file that cannot be kept for no reason that is the client's, for example because the spool
    /// cannot be opened.
    pub fn without_spool() -> Self {
        let text = "the server cannot keep this file at the moment: try again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

impl From<&SpoolError> for Problem {
    /// 507 (RFC 4918, 11.5) if the spool has no room, otherwise 503. The error's own text is for the
    /// operator: it may name paths.
    fn from(error: &SpoolError) -> Self {
        let (status, text) = match error.kind() {
            SpoolErrorKind::TooLarge => (
                StatusCode::INSUFFICIENT_STORAGE,
                "the file is larger than the server keeps of one file: ask for less of it",
            ),
            _ if error.is_out_of_room() => (
                StatusCode::INSUFFICIENT_STORAGE,
                "the server has no room to keep this file: try again later",
            ),
            _ => return Self::without_spool(),
        };
        Self::new(status, text)
    }
}
