//! What to do with a response: append it, start over with it, ask anew, or give up. Pure: from what
//! was asked and the head that came (RFC 9110, sections 13 to 15). The invariant of this file is
//! that bytes of two versions never meet: a response is appended only if a strong validator says
//! that it is of the version that is there.

use std::{ops::Range, time::Duration};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, LAST_MODIFIED},
};
use serde::{Deserialize, Serialize};

/// A modification date is strong if the response is at least so much younger: RFC 9110, section
/// 8.8.2.2, names a minute.
const MODIFIED_LONG_AGO: Duration = Duration::from_secs(60);

/// What tells one version of a file from every other, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Validator {
    /// A strong entity tag, with its quotes.
    Etag(String),
    /// A date that is strong, as the server wrote it.
    LastModified(String),
}

impl Validator {
    /// Returns the strong validator of a response. A weak tag is none, and with one the date is not
    /// used either: the server says itself that versions may differ.
    pub(crate) fn strong(headers: &HeaderMap) -> Option<Self> {
        if let Some(tag) = headers.get(ETAG) {
            let tag = tag.to_str().ok()?;
            let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
            let is_tag = !inner.contains(['"', ' ']) && tag.len() >= 2;
            return is_tag.then(|| Self::Etag(tag.to_owned()));
        }
        let modified = headers.get(LAST_MODIFIED)?.to_str().ok()?;
        let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
        let age = date.duration_since(httpdate::parse_http_date(modified).ok()?);
        let is_strong = age.is_ok_and(|age| age >= MODIFIED_LONG_AGO);
        is_strong.then(|| Self::LastModified(modified.to_owned()))
    }

    /// The value of `If-Range`.
    pub(crate) fn if_range(&self) -> Option<HeaderValue> {
        let (Self::Etag(text) | Self::LastModified(text)) = self;
        HeaderValue::from_str(text).ok()
    }

    /// The entity tag.
    pub(crate) fn etag(&self) -> Option<&str> {
        match self {
            Self::Etag(tag) => Some(tag),
            Self::LastModified(_) => None,
        }
    }

    /// Returns whether a 206 or 416 is of this version. A 206 must have the tag that a 200 has (RFC
    /// 9110, section 15.3.7), but need not have the date.
    fn is_of(&self, headers: &HeaderMap) -> bool {
        let is = |name, text: &str| headers.get(name).map(|it| it.as_bytes() == text.as_bytes());
        match self {
            Self::Etag(tag) => is(ETAG, tag) == Some(true),
            Self::LastModified(date) => is(LAST_MODIFIED, date) != Some(false),
        }
    }
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The whole file, whatever it is.
    Whole,
    /// Bytes of the version that is there.
    Rest {
        from: u64,
        /// Behind the last byte; `None` for all that follow.
        to: Option<u64>,
        validator: Validator,
        /// The length of the file, if it is known.
        total: Option<u64>,
    },
}

/// What to do with a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its body is these bytes of the version that is there, of `total`.
    Append { bytes: Range<u64>, total: u64 },
    /// Its body is the whole file. What is there goes, for this reason if there is one.
    Fresh(Option<&'static str>),
    /// Nothing is missing.
    Complete,
    /// What is there goes, and the whole is asked for: the answer cannot be used.
    AskAnew(String),
    /// The status is final, or worth another try.
    Refused,
}

/// Decides.
pub(crate) fn decide(asked: &Asked, status: StatusCode, headers: &HeaderMap) -> Step {
    let is_whole = matches!(
        status,
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION
    );
    match asked {
        Asked::Whole if is_whole => Step::Fresh(None),
        Asked::Whole => Step::Refused,
        Asked::Rest { validator, .. } if is_whole => {
            let unchanged = Validator::strong(headers).as_ref() == Some(validator);
            Step::Fresh(Some(match unchanged {
                true => "the server does not resume",
                false => "the file has changed on the server",
            }))
        }
        Asked::Rest {
            from,
            to,
            validator,
            total,
        } => match status {
            StatusCode::PARTIAL_CONTENT => match part(*from, *to, validator, *total, headers) {
                Ok((bytes, total)) => Step::Append { bytes, total },
                Err(wrong) => Step::AskAnew(wrong),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let length = unsatisfied_length(headers);
                let is_known = total.is_none_or(|total| total == *from);
                match length == Some(*from) && is_known && validator.is_of(headers) {
                    true => Step::Complete,
                    false => Step::AskAnew("the server has no such range".into()),
                }
            }
            StatusCode::PRECONDITION_FAILED => {
                Step::AskAnew("the file has changed on the server".into())
            }
            _ => Step::Refused,
        },
    }
}

/// Checks the head of a 206; returns its bytes and the length of the file.
fn part(
    from: u64,
    to: Option<u64>,
    validator: &Validator,
    known_total: Option<u64>,
    headers: &HeaderMap,
) -> Result<(Range<u64>, u64), String> {
    let Some((bytes, total)) = content_range(headers) else {
        return Err("the server sent a part without saying which (Content-Range)".into());
    };
    if !validator.is_of(headers) {
        return Err("the server sent a part of another version".into());
    }
    let total = match (total, known_total) {
        (Some(total), Some(known)) if total != known => {
            return Err(format!(
                "the server sent a part of {total} bytes, not of {known}"
            ));
        }
        (Some(total), _) | (None, Some(total)) => total,
        (None, None) => return Err("the server sent a part of an unknown whole".into()),
    };
    let is_asked = bytes.start == from && bytes.end <= to.unwrap_or(total) && bytes.end <= total;
    if !is_asked {
        return Err(format!(
            "the server sent the bytes {} to {} of {total} instead of those from {from} on",
            bytes.start,
            bytes.end - 1
        ));
    }
    if length(headers).is_some_and(|length| length != bytes.end - bytes.start) {
        return Err("the server sent a part whose length contradicts its range".into());
    }
    Ok((bytes, total))
}

/// Parses `bytes 5-9/100` or `bytes 5-9/*`.
fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, Option<u64>)> {
    let (range, total) = range_and_total(headers)?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let end = last.checked_add(1).filter(|end| first < *end)?;
    match total {
        "*" => Some((first..end, None)),
        total => Some((first..end, Some(number(total).filter(|it| end <= *it)?))),
    }
}

/// Parses `bytes */100`.
fn unsatisfied_length(headers: &HeaderMap) -> Option<u64> {
    let (range, total) = range_and_total(headers)?;
    number(total).filter(|_| range == "*")
}

fn range_and_total(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut values = headers.get_all(CONTENT_RANGE).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (unit, rest) = value.to_str().ok()?.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, total) = rest.split_once('/')?;
    Some((range.trim(), total.trim()))
}

/// Digits only: `parse` would take a sign.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// `Content-Length`, if there is one that is a number.
pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    number(headers.get(CONTENT_LENGTH)?.to_str().ok()?)
}

/// Returns whether the server offers ranges of bytes.
pub(crate) fn offers_ranges(headers: &HeaderMap) -> bool {
    let units = headers.get_all(ACCEPT_RANGES).iter();
    let mut units = units.filter_map(|value| value.to_str().ok());
    units.any(|value| {
        let mut units = value.split(',');
        units.any(|unit| unit.trim().eq_ignore_ascii_case("bytes"))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;

    fn head(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = fields.iter();
        let pairs =
            pairs.map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        pairs.collect()
    }

    #[test]
    fn only_strong_validators_count() {
        let strong = |fields: &[(HeaderName, &str)]| Validator::strong(&head(fields));
        let tag = |text: &str| Some(Validator::Etag(text.into()));
        assert_eq!(strong(&[(ETAG, "\"a\"")]), tag("\"a\""));
        for none in ["W/\"a\"", "a", "\"", "\"a\" b\"", "\"a\", \"b\""] {
            assert_eq!(strong(&[(ETAG, none)]), None, "{none}");
        }
        let date = (DATE, "Sun, 29 Nov 2026 12:01:00 GMT");
        let (old, young) = (
            "Sun, 29 Nov 2026 12:00:00 GMT",
            "Sun, 29 Nov 2026 12:00:01 GMT",
        );
        let modified = Some(Validator::LastModified(old.into()));
        assert_eq!(strong(&[(LAST_MODIFIED, old), date.clone()]), modified);
        assert_eq!(strong(&[(LAST_MODIFIED, young), date.clone()]), None);
        assert_eq!(strong(&[(LAST_MODIFIED, old)]), None);
        let weak = (ETAG, "W/\"a\"");
        assert_eq!(strong(&[weak, (LAST_MODIFIED, old), date]), None);
    }

    fn rest(from: u64, total: Option<u64>) -> Asked {
        Asked::Rest {
            from,
            to: None,
            validator: Validator::Etag("\"a\"".into()),
            total,
        }
    }

    #[test]
    fn a_part_is_appended_only_if_all_fits() {
        let decide = |range: &str, tag: &str| {
            let fields = [(CONTENT_RANGE, range), (ETAG, tag)];
            decide(
                &rest(5, Some(10)),
                StatusCode::PARTIAL_CONTENT,
                &head(&fields),
            )
        };
        let append = |bytes| Step::Append { bytes, total: 10 };
        assert_eq!(decide("bytes 5-9/10", "\"a\""), append(5..10));
        assert_eq!(decide("bytes 5-7/10", "\"a\""), append(5..8));
        assert_eq!(decide("bytes 5-9/*", "\"a\""), append(5..10));
        for (range, tag) in [
            ("bytes 4-9/10", "\"a\""),
            ("bytes 6-9/10", "\"a\""),
            ("bytes 5-9/11", "\"a\""),
            ("bytes 5-10/10", "\"a\""),
            ("bytes 5-4/10", "\"a\""),
            ("bytes +5-9/10", "\"a\""),
            ("bytes 5-18446744073709551615/*", "\"a\""),
            ("lines 5-9/10", "\"a\""),
            ("bytes */10", "\"a\""),
            ("bytes 5-9/10", "\"b\""),
            ("bytes 5-9/10", "W/\"a\""),
        ] {
            assert!(
                matches!(decide(range, tag), Step::AskAnew(_)),
                "{range} {tag}"
            );
        }
    }

    #[test]
    fn nothing_is_missing_only_if_the_length_and_the_version_fit() {
        let decide = |from, total, range: &str, tag: &str| {
            let fields = [(CONTENT_RANGE, range), (ETAG, tag)];
            decide(
                &rest(from, total),
                StatusCode::RANGE_NOT_SATISFIABLE,
                &head(&fields),
            )
        };
        assert_eq!(decide(10, None, "bytes */10", "\"a\""), Step::Complete);
        assert_eq!(decide(10, Some(10), "bytes */10", "\"a\""), Step::Complete);
        for (from, total, range, tag) in [
            (9, None, "bytes */10", "\"a\""),
            (10, None, "bytes */10", "\"b\""),
            (10, Some(11), "bytes */10", "\"a\""),
            (10, None, "bytes 0-9/10", "\"a\""),
        ] {
            let step = decide(from, total, range, tag);
            assert!(matches!(step, Step::AskAnew(_)), "{range} {tag}");
        }
    }

    /// One version of the file of a model server.
    fn version(number: usize, length: u64) -> Vec<(usize, u64)> {
        (0..length).map(|at| (number, at)).collect()
    }

    /// What a model server does with one request.
    #[derive(Clone, Debug)]
    struct Answer {
        /// Another version is there from now on.
        changes: bool,
        /// It ignores ranges, or conditions, or shifts the range, or says nothing of its length.
        fault: u8,
        /// It breaks behind so many bytes.
        breaks: u64,
    }

    fn answers() -> impl Strategy<Value = Vec<Answer>> {
        let answer = (prop::bool::weighted(0.2), 0_u8..8, 0_u64..30);
        let answer = answer.prop_map(|(changes, fault, breaks)| Answer {
            changes,
            fault,
            breaks,
        });
        prop::collection::vec(answer, 1..20)
    }

    /// Status, head and the bytes of a response. Faulty servers still tell the truth in their tags.
    fn respond(
        answer: &Answer,
        asked: &Asked,
        number: usize,
        lengths: &[u64],
    ) -> (StatusCode, HeaderMap, Vec<(usize, u64)>) {
        let length = lengths[number];
        let tag = format!("\"{number}\"");
        let file = version(number, length);
        let tagged = |fields: &[(HeaderName, &str)]| {
            let mut headers = head(fields);
            headers.insert(ETAG, HeaderValue::from_str(&tag).unwrap());
            headers
        };
        let Asked::Rest {
            from, validator, ..
        } = asked
        else {
            return (StatusCode::OK, tagged(&[]), file);
        };
        let holds = *validator == Validator::Etag(tag.clone()) || answer.fault == 1;
        if answer.fault == 2 || !holds {
            return (StatusCode::OK, tagged(&[]), file);
        }
        let from = match answer.fault {
            3 => from.saturating_sub(1),
            _ => *from,
        };
        if from >= length {
            let unsatisfied = format!("bytes */{length}");
            let headers = tagged(&[(CONTENT_RANGE, &unsatisfied)]);
            return (StatusCode::RANGE_NOT_SATISFIABLE, headers, Vec::new());
        }
        let total = match answer.fault {
            4 => "*".to_owned(),
            _ => length.to_string(),
        };
        let range = format!("bytes {from}-{}/{total}", length - 1);
        let mut headers = tagged(&[(CONTENT_RANGE, &range)]);
        if answer.fault == 5 {
            headers.remove(ETAG);
        }
        let rest = file[from as usize..].to_vec();
        (StatusCode::PARTIAL_CONTENT, headers, rest)
    }

    proptest! {
        /// The client of `download.rs` in small, against servers that change, break and err.
        #[test]
        fn no_file_is_ever_spliced_of_two_versions(
            answers in answers(),
            lengths in prop::collection::vec(1_u64..30, 21),
        ) {
            let (mut number, mut known) = (0, None);
            let mut held: Vec<(usize, u64)> = Vec::new();
            for answer in &answers {
                number += usize::from(answer.changes);
                let asked = match &known {
                    Some((validator, total)) if !held.is_empty() => Asked::Rest {
                        from: held.len() as u64,
                        to: None,
                        validator: Validator::clone(validator),
                        total: *total,
                    },
                    _ => Asked::Whole,
                };
                let (status, headers, body) = respond(answer, &asked, number, &lengths);
                let complete = match decide(&asked, status, &headers) {
                    Step::Append { bytes, total } => {
                        prop_assert_eq!(bytes.start, held.len() as u64);
                        known = known.map(|(validator, _)| (validator, Some(total)));
                        false
                    }
                    Step::Fresh(_) => {
                        held.clear();
                        known = Validator::strong(&headers).map(|validator| (validator, None));
                        false
                    }
                    Step::Complete => true,
                    Step::AskAnew(_) => {
                        (held, known) = (Vec::new(), None);
                        continue;
                    }
                    Step::Refused => unreachable!("the model never refuses"),
                };
                let arrives = body.len().min(answer.breaks as usize);
                held.extend(&body[..arrives]);
                // The framing says that nothing is missing.
                if complete || arrives == body.len() {
                    let whole = version(held[0].0, lengths[held[0].0]);
                    prop_assert_eq!(&held, &whole);
                    break;
                }
                let first = held.first().map(|(number, _)| *number);
                prop_assert!(held.iter().all(|(number, _)| Some(*number) == first));
            }
        }
    }
}
