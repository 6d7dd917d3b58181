//! Errors that occur before the head is sent: `application/problem+json` (RFC 9457) with an error
//! status.
//!
//! Called by `response.rs` and by servers; pure.

use std::{collections::BTreeMap, error::Error as StdError, fmt};

use datastreamer::{AsyncStreamWriter, Error, ErrorKind, StreamId, StreamWriter, find_cause};
use http::{HeaderValue, Response, StatusCode, header};

/// After how many seconds a client that was refused should try again: about the time until a place
/// becomes free in a busy pool. A thousand refused clients then make 200 requests a second.
pub(crate) const RETRY_AFTER_SECONDS: u32 = 5;

/// What clients are told of an error that was not written for them.
const SOURCE_FAILED: &str = "the source failed; the server's log has the reason";

/// An error of a source that carries an HTTP status, for example 404 for an object that does not
/// exist.
///
/// It decides the status of an early failure, wherever it stands in the chain of causes.
///
/// ```
/// use datastreamer_http::{Problem, StatusError};
/// use http::StatusCode;
/// let error = datastreamer::Error::source_failed(StatusError::new(
///     StatusCode::NOT_FOUND,
///     "no such field: 17",
/// ));
/// assert_eq!(Problem::from(&error).status, StatusCode::NOT_FOUND);
/// ```
#[derive(Clone, Debug)]
pub struct StatusError {
    problem: Problem,
}

impl StatusError {
    /// Makes an error from a status and a text for the client.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::from(Problem::new(status, detail))
    }

    /// Finds a status in an error or its causes; also looks inside `io::Error`s.
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        find_cause(error)
    }

    /// Returns the problem that the client gets.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl From<Problem> for StatusError {
    /// An error whose early failure is answered with exactly this problem.
    fn from(problem: Problem) -> Self {
        Self { problem }
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.detail)
    }
}

impl StdError for StatusError {}

/// Fails a stream with a status for its client, whatever type of error the source returns.
///
/// For what the client is to know. What is only for the log needs no more than an `Err`, whose text no
/// client sees.
///
/// ```
/// use datastreamer_http::{Download, FailWith};
/// use http::{Request, StatusCode};
///
/// # async fn answer() {
/// let request = Request::get("/fields/17").body(()).unwrap();
/// let response = Download::new("text/plain")
///     .respond(&request, |options| {
///         options.stream_out(|out| {
///             Err::<(), _>(out.fail_with(StatusCode::NOT_FOUND, "no such field: 17"))
///         })
///     })
///     .await;
/// assert_eq!(response.status(), 404);
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(answer());
/// ```
pub trait FailWith {
    /// Fails the stream as [`StreamWriter::fail`] does, with a [`StatusError`], and returns the error.
    /// Before the response is committed, its client gets this status and text.
    fn fail_with(&self, status: StatusCode, detail: impl Into<String>) -> Error;
}

impl FailWith for StreamWriter {
    fn fail_with(&self, status: StatusCode, detail: impl Into<String>) -> Error {
        self.fail(Error::source_failed(StatusError::new(status, detail)))
    }
}

impl FailWith for AsyncStreamWriter {
    fn fail_with(&self, status: StatusCode, detail: impl Into<String>) -> Error {
        self.fail(Error::source_failed(StatusError::new(status, detail)))
    }
}

/// A problem details object (RFC 9457): status, title, detail.
///
/// ```
/// use datastreamer_http::Problem;
/// use http::{Response, StatusCode};
///
/// let problem = Problem::new(StatusCode::NOT_FOUND, "no such field: 17");
/// let response: Response<String> = problem.into_response();
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// assert!(response.body().contains("no such field: 17"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The response's status.
    pub status: StatusCode,
    /// What went wrong in this case, for people.
    pub detail: String,
    /// Members beyond those of RFC 9457, section 3.1, for programs: see [`Problem::member`].
    pub members: BTreeMap<String, serde_json::Value>,
}

impl Problem {
    /// Makes a problem from a status and a text for the client.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            members: BTreeMap::new(),
        }
    }

    /// Makes the problem of a stream that has failed before its response was committed: as
    /// [`From<&Error>`](#impl-From%3C%26Error%3E-for-Problem), with the member `stream`, the stream's
    /// identity, which leads from the client's complaint to the log.
    pub fn of_stream(error: &Error, stream: StreamId) -> Self {
        Self::from(error).member("stream", stream.to_string())
    }

    /// Adds an extension member (RFC 9457, section 3.2), for example a position.
    ///
    /// A member named like a standard one (`type`, `title`, `status`, `detail`) replaces it in the
    /// body; the response's own status remains.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Makes the response. A 503 and a 429 have a `Retry-After`. The response's extensions have the
    /// problem itself, for the log of a server.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        let kept = self.clone();
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut body = serde_json::json!({
            "type": "about:blank",
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        // Not a struct with serde's derive and flatten: a member may replace a standard one, which
        // would then be in the body twice.
        for (name, value) in self.members {
            body[name] = value;
        }
        let mut response = Response::new(B::from(format!("{body}\n")));
        *response.status_mut() = self.status;
        response.extensions_mut().insert(kept);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        // Caches keep some errors without being told to (RFC 9110, 15.1).
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let may_try_again = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if may_try_again.contains(&self.status) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        response
    }
}

impl From<&Error> for Problem {
    /// Picks the status: that of a [`StatusError`] if there is one; otherwise 503 if the client may
    /// try again, 429 if it has too many streams itself (RFC 6585, section 4), 504 if the source has
    /// stalled, 500 if the source has failed. With the feature `spool`, an error of the spool among the
    /// causes is 507 if it has no room, otherwise 503.
    ///
    /// The text of a [`StatusError`] was written for clients. That of any other error of a source, or
    /// of a panic, was not: it may name tables, paths and hosts, so it stays in the record and in the
    /// log.
    fn from(error: &Error) -> Self {
        if let Some(known) = StatusError::find_in(error) {
            return known.problem.clone();
        }
        #[cfg(feature = "spool")]
        if let Some(error) = datastreamer_spool::Error::find_in(error) {
            return Self::from(error);
        }
        match error.kind() {
            ErrorKind::Busy | ErrorKind::ShutDown => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            ErrorKind::ConsumerAtLimit => Self::new(StatusCode::TOO_MANY_REQUESTS, at_limit(error)),
            ErrorKind::SourceStalled => Self::new(StatusCode::GATEWAY_TIMEOUT, error.to_string()),
            ErrorKind::LengthMismatch => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, SOURCE_FAILED),
        }
    }
}

/// Tells a client that it has its share of all streams, and how many it has.
fn at_limit(error: &Error) -> String {
    let text = error.to_string();
    let (_, how_many) = text.split_once(": ").unwrap_or_default();
    format!(
        "this client has as many downloads as it may have at once ({how_many}): try again when one of \
         them has ended"
    )
}

#[cfg(feature = "axum")]
impl axum::response::IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        self.into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_who_has_to_act() {
        for (kind, status) in [
            (ErrorKind::Busy, 503),
            (ErrorKind::ConsumerAtLimit, 429),
            (ErrorKind::ShutDown, 503),
            (ErrorKind::SourceStalled, 504),
            (ErrorKind::SourceFailed, 500),
            (ErrorKind::SourcePanicked, 500),
            (ErrorKind::LengthMismatch, 500),
            (ErrorKind::Stopped, 500),
        ] {
            let problem = Problem::from(&Error::new(kind, "row 7"));
            assert_eq!(problem.status, status, "{kind:?}");
            let shown = problem.detail.contains("row 7");
            use ErrorKind::{SourceFailed, SourcePanicked, Stopped};
            let is_ours = ![SourceFailed, SourcePanicked, Stopped].contains(&kind);
            assert_eq!(shown, is_ours, "{kind:?}");
        }
    }

    #[test]
    fn a_status_error_decides_wherever_it_stands_in_the_chain() {
        let gone = || StatusError::new(StatusCode::GONE, "the field has left");
        let wrapped: Box<dyn StdError + Send + Sync> =
            std::io::Error::other(std::io::Error::other(gone())).into();
        for error in [Error::source_failed(gone()), Error::source_failed(wrapped)] {
            let problem = Problem::from(&error);
            assert_eq!(
                problem,
                Problem::new(StatusCode::GONE, "the field has left")
            );
        }
    }

    #[test]
    fn a_problem_is_json_whatever_its_detail() {
        let detail = "\"quoted\"\r\n\u{1}é";
        let response = Problem::new(StatusCode::NOT_FOUND, detail).into_response::<String>();
        assert_eq!(response.status(), 404);
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/problem+json");
        assert!(!headers.contains_key("retry-after"));
        let json: serde_json::Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!(json["title"], "Not Found");
        assert_eq!(json["status"], 404);
        assert_eq!(json["detail"], detail);
    }

    #[test]
    fn a_member_replaces_a_standard_one_in_the_body_but_not_the_status() {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "no such column")
            .member("type", "https://example.org/columns")
            .member("status", 499)
            .member("title", "Columns")
            .member("column", "ra");
        let response = problem.into_response::<String>();
        assert_eq!(response.status(), 400);
        let json: serde_json::Value = serde_json::from_str(response.body()).unwrap();
        let expected = serde_json::json!({
            "type": "https://example.org/columns",
            "title": "Columns",
            "status": 499,
            "detail": "no such column",
            "column": "ra",
        });
        assert_eq!(json, expected);
        // Each name once: a parser would accept two.
        assert_eq!(response.body().matches("\"status\":").count(), 1);
    }

    #[test]
    fn a_refusal_for_now_says_when_to_come_again() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let response = Problem::new(status, "full").into_response::<String>();
        assert_eq!(response.headers()["retry-after"], "5");
    }
}
