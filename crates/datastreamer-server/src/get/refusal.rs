//! A response that is no file, as a failure: its status, and what its problem document says.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Deserialize;

use super::{
    failure::{Again, Exit, Failure, harmless},
    request::Answer,
};

/// What is read of a problem document, and how long for.
const PROBLEM_BYTES_MAX: usize = 16 * 1024;
const PROBLEM_LIMIT: Duration = Duration::from_secs(5);

/// What is shown of each of its texts.
const SHOWN_CHARS_MAX: usize = 1000;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

/// Makes a failure of a response that is no file.
pub(crate) async fn failure(answer: Answer) -> Failure {
    let (status, url) = (answer.status, answer.url.clone());
    let again = again(status, &answer.headers);
    let when = match again {
        Again::After(wait) => format!(" (Retry-After: {} s)", wait.as_secs()),
        _ => String::new(),
    };
    let why = match is_problem(&answer.headers) {
        true => problem(answer).await,
        false => String::new(),
    };
    let text = format!("{url}: the server answers {status}{when}{why}");
    Failure {
        again,
        ..Failure::last(exit(status), text)
    }
}

fn exit(status: StatusCode) -> Exit {
    match status.as_u16() {
        401 | 403 | 407 => Exit::Auth,
        429 | 503 => Exit::Busy,
        _ => Exit::Refused,
    }
}

/// What passes: busy servers, and proxies whose server is away.
fn again(status: StatusCode, headers: &HeaderMap) -> Again {
    match status.as_u16() {
        408 | 425 | 429 | 502 | 503 | 504 => {
            retry_after(headers).map_or(Again::Later, Again::After)
        }
        _ => Again::Never,
    }
}

/// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/problem+json")
}

/// Returns `: TITLE: DETAIL` (RFC 9457), without a title that says the status again.
async fn problem(answer: Answer) -> String {
    let status = answer.status.canonical_reason().unwrap_or_default();
    let text = answer
        .body
        .read_short(PROBLEM_BYTES_MAX, PROBLEM_LIMIT)
        .await;
    let problem: Problem = serde_json::from_slice(&text).unwrap_or_default();
    let mut why = String::new();
    let title = problem.title;
    let title = title.filter(|title| !title.trim().eq_ignore_ascii_case(status));
    for part in [title, problem.detail].into_iter().flatten() {
        let shown: String = part.chars().take(SHOWN_CHARS_MAX).collect();
        why = format!("{why}: {}", harmless(&shown));
    }
    why
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_passes_is_tried_again() {
        let of = |code: u16, fields: &HeaderMap| again(StatusCode::from_u16(code).unwrap(), fields);
        let none = HeaderMap::new();
        for code in [408, 429, 502, 503, 504] {
            assert_eq!(of(code, &none), Again::Later, "{code}");
        }
        for code in [400, 401, 403, 404, 410, 416, 500, 501, 202] {
            assert_eq!(of(code, &none), Again::Never, "{code}");
        }
        let seconds = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
        assert_eq!(of(503, &seconds), Again::After(Duration::from_secs(7)));
        let past = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        let past = HeaderMap::from_iter([(RETRY_AFTER, past)]);
        assert_eq!(of(429, &past), Again::After(Duration::ZERO));
    }
}
