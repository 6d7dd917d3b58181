//! What a request's preconditions and ranges make of a file that was planned (RFC 9110, 13 and 14).
//!
//! `response.rs` reads the headers, `planning.rs` decides once the source knows its file. Pure.

use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{
    etag::{is_strongly, is_weakly, tags},
    pieces::{Pieces, content_range},
    planned::{BareRanges, Planned},
    problem::Problem,
    ranges::{self, Spec},
};

/// The conditional headers of a request, and its ranges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    is_get: bool,
    is_head: bool,
    if_match: Option<Vec<u8>>,
    if_none_match: Option<Vec<u8>>,
    if_unmodified_since: Option<SystemTime>,
    if_modified_since: Option<SystemTime>,
    if_range: Option<Vec<u8>>,
    ranges: Option<Vec<Spec>>,
    /// Of the file, for the parts of a multipart response.
    media_type: String,
}

/// What must be known of a file that is still being made, because of the ranges of its request.
#[cfg(feature = "spool")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: the response is the complete file, whatever its length.
    Nothing,
    /// That there are so many bytes, or that the file has ended before.
    Bytes(u64),
    /// The file's length.
    Length,
}

#[cfg(feature = "spool")]
impl Needs {
    /// Returns what a request needs. It has ranges for GET only.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Self {
        match ranges_of(method, headers).as_deref() {
            // Of unknown length, the complete file is the better answer to a range of all bytes.
            None | Some([Spec::Open(0)]) => Self::Nothing,
            Some([Spec::Bounded(_, last)]) => Self::Bytes(last.saturating_add(1)),
            Some(_) => Self::Length,
        }
    }
}

/// What a request gets.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    /// These pieces, with these fields.
    Send {
        pieces: Pieces,
        content_range: Option<HeaderValue>,
        content_type: Option<HeaderValue>,
    },
    /// 304.
    NotModified,
    /// 412, 416: what a client asks for is not there any more.
    Refuse(Problem, Option<HeaderValue>),
}

impl Conditions {
    pub(crate) fn of(method: &Method, headers: &HeaderMap, media_type: &HeaderValue) -> Self {
        let date = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok()?;
            httpdate::parse_http_date(value).ok()
        };
        Self {
            is_get: method == Method::GET,
            is_head: method == Method::HEAD,
            if_match: joined(headers, &header::IF_MATCH),
            if_none_match: joined(headers, &header::IF_NONE_MATCH),
            if_unmodified_since: date(header::IF_UNMODIFIED_SINCE),
            if_modified_since: date(header::IF_MODIFIED_SINCE),
            if_range: joined(headers, &header::IF_RANGE),
            ranges: ranges_of(method, headers),
            media_type: media_type.to_str().unwrap_or_default().to_owned(),
        }
    }

    /// Returns whether the request has ranges that may be honoured.
    pub(crate) fn has_ranges(&self) -> bool {
        self.ranges.is_some()
    }

    pub(crate) fn range_start(&self) -> Option<u64> {
        match self.ranges.as_deref()? {
            [Spec::Bounded(first, _) | Spec::Open(first)] => Some(*first),
            _ => None,
        }
    }

    pub(crate) fn is_for_last_bytes(&self) -> bool {
        matches!(self.ranges.as_deref(), Some([Spec::Last(_)]))
    }

    /// Decides, in the order of RFC 9110, 13.2.2.
    pub(crate) fn decide(&self, planned: &Planned) -> Decision {
        if let Some(decision) = self.precondition(planned) {
            return decision;
        }
        let complete = Decision::Send {
            pieces: Pieces::complete(planned.length),
            content_range: None,
            content_type: None,
        };
        let Some(specs) = self.ranges.as_deref() else {
            return complete;
        };
        if !planned.has_ranges {
            return match self.is_resumption(planned.bare_ranges) {
                true => Decision::Refuse(unproved(), None),
                false => complete,
            };
        }
        if self.if_range.is_some() && !self.is_range_current(planned) {
            return complete;
        }
        if self.is_unproved(specs, planned.bare_ranges) {
            return Decision::Refuse(unproved(), None);
        }
        match planned.length {
            Some(length) => self.ranges_of(specs, length),
            None => match *specs {
                [Spec::Open(0)] => complete,
                [Spec::Bounded(first, last)] if last < planned.length_at_least => {
                    partial(first..last + 1, None)
                }
                _ => Decision::Refuse(length_unknown(), None),
            },
        }
    }

    fn precondition(&self, planned: &Planned) -> Option<Decision> {
        let etag = planned.etag.as_ref();
        let is_changed_since = |since: SystemTime| {
            let modified = planned.last_modified;
            modified.is_none_or(|modified| seconds(modified) > seconds(since))
        };
        let holds = match (&self.if_match, self.if_unmodified_since) {
            (Some(list), _) => {
                let tag_of_it = |tag| etag.is_some_and(|etag| is_strongly(etag, tag));
                list == b"*" || tags(list).any(tag_of_it)
            }
            // Of a file without a date nothing is known, so the condition is not one.
            (None, Some(since)) => planned.last_modified.is_none() || !is_changed_since(since),
            (None, None) => true,
        };
        if !holds {
            return Some(Decision::Refuse(changed(), None));
        }
        let reads = self.is_get || self.is_head;
        let has_it = match (&self.if_none_match, self.if_modified_since) {
            (Some(list), _) => {
                let tag_of_it = |tag| etag.is_some_and(|etag| is_weakly(etag, tag));
                list == b"*" || tags(list).any(tag_of_it)
            }
            (None, Some(since)) => reads && !is_changed_since(since),
            (None, None) => false,
        };
        match (has_it, reads) {
            (false, _) => None,
            (true, true) => Some(Decision::NotModified),
            (true, false) => Some(Decision::Refuse(changed(), None)),
        }
    }

    /// Returns whether the bytes that the client has are of this file. A date proves it only where the
    /// file has a strong tag, which is not given to one that may change within its second (RFC 9110,
    /// 8.8.2.2).
    fn is_range_current(&self, planned: &Planned) -> bool {
        let (Some(value), Some(etag)) = (&self.if_range, &planned.etag) else {
            return false;
        };
        if is_strongly(etag, value.trim_ascii()) {
            return true;
        }
        let date = std::str::from_utf8(value).ok();
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        match (date, planned.last_modified) {
            (Some(date), Some(modified)) => seconds(date) == seconds(modified),
            _ => false,
        }
    }

    /// Returns whether the client may go on behind bytes of another file although the response is
    /// complete: of a 200 wget appends what follows its own bytes.
    fn is_resumption(&self, honoured: BareRanges) -> bool {
        let specs = self.ranges.as_deref().unwrap_or_default();
        matches!(specs, [Spec::Open(_)]) && self.is_unproved(specs, honoured)
    }

    /// The refusal of a resumption, of a file of which nothing is known.
    pub(crate) fn unproved(&self) -> Option<Problem> {
        self.is_resumption(BareRanges::None).then(unproved)
    }

    /// Returns whether the client may go on behind bytes of another file.
    fn is_unproved(&self, specs: &[Spec], honoured: BareRanges) -> bool {
        let has_proof = self.if_range.is_some() || self.if_match.is_some();
        let is_honoured = match specs {
            // What goes on behind bytes has them from the beginning on.
            [Spec::Open(0) | Spec::Bounded(0, _) | Spec::Last(_)] => true,
            [Spec::Open(_)] => matches!(honoured, BareRanges::Open | BareRanges::All),
            _ => matches!(honoured, BareRanges::Bounded | BareRanges::All),
        };
        !has_proof && !is_honoured
    }

    fn ranges_of(&self, specs: &[Spec], length: u64) -> Decision {
        let resolved = ranges::resolve(specs, length);
        match resolved.as_slice() {
            [] => Decision::Refuse(
                Problem::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    format!("the file has {length} bytes, and none in the range"),
                ),
                HeaderValue::try_from(format!("bytes */{length}")).ok(),
            ),
            [bytes] => partial(bytes.clone(), Some(length)),
            several => {
                let boundary = boundary();
                let content_type = format!("multipart/byteranges; boundary={boundary}");
                Decision::Send {
                    pieces: Pieces::multipart(several, length, &self.media_type, &boundary),
                    content_range: None,
                    content_type: HeaderValue::try_from(content_type).ok(),
                }
            }
        }
    }
}

fn partial(bytes: Range<u64>, length: Option<u64>) -> Decision {
    Decision::Send {
        content_range: HeaderValue::try_from(content_range(&bytes, length)).ok(),
        content_type: None,
        pieces: Pieces::one(bytes),
    }
}

/// A boundary that no file can foresee.
fn boundary() -> String {
    let number = || RandomState::new().hash_one(SystemTime::now());
    format!("{:016x}{:016x}", number(), number())
}

fn changed() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "the file is not the one that the request's preconditions are about",
    )
}

fn unproved() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "the request has a range and no If-Range, and this client is not known to have bytes of the file \
         as it is now, or has bytes of another version: get the complete file, or ask with HEAD first",
    )
}

fn length_unknown() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "the length of the file is not known yet, so this range cannot be sent: get the complete file",
    )
}

/// The ranges of a request. They are defined for GET (RFC 9110, 14.2); two headers of them have no
/// meaning.
fn ranges_of(method: &Method, headers: &HeaderMap) -> Option<Vec<Spec>> {
    let range = only(headers, &header::RANGE).filter(|_| method == Method::GET)?;
    ranges::parse(range.as_bytes())
}

/// All lines of a header as one list (RFC 9110, 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines.map(|value| value.as_bytes().trim_ascii()).collect();
    (!lines.is_empty()).then(|| lines.join(&b","[..]))
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// Whole seconds, as dates in headers have them.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

#[cfg(all(test, feature = "spool"))]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_needs_follows_from_its_ranges() {
        let cases = [
            ("", Needs::Nothing),
            ("bytes=0-", Needs::Nothing),
            ("bytes=0-99", Needs::Bytes(100)),
            ("bytes=5-", Needs::Length),
            ("bytes=-5", Needs::Length),
            ("bytes=0-1,5-6", Needs::Length),
        ];
        for (range, expected) in cases {
            let value = HeaderValue::from_static(range);
            let headers = HeaderMap::from_iter([(header::RANGE, value)]);
            assert_eq!(Needs::of(&Method::GET, &headers), expected, "{range}");
            assert_eq!(Needs::of(&Method::HEAD, &headers), Needs::Nothing);
        }
    }
}
