//! The header `Range` (RFC 9110, 14.1 and 14.2): which bytes a request wants. Pure.

use std::ops::Range;

/// More ranges than this are not looked at: the response is the complete file, which costs what any
/// request for it does. Readers of tables ask for one or two, viewers of documents for up to ten.
pub(crate) const RANGES_MAX: usize = 16;

/// What a part of a multipart response costs besides its bytes: about as much as its head. Ranges with
/// a smaller gap between them are sent as one.
const GAP_MAX: u64 = 120;

/// One range as it was written, for files of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spec {
    /// From the first byte to the second one, inclusive.
    Bounded(u64, u64),
    /// From this byte to the end.
    Open(u64),
    /// The last bytes, so many.
    Last(u64),
}

/// Reads the header. `None` if it has no meaning here, so that it is ignored: another unit, a mistake,
/// or too many ranges.
pub(crate) fn parse(header: &[u8]) -> Option<Vec<Spec>> {
    let text = std::str::from_utf8(header).ok()?;
    let (unit, list) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let items = list.split(',').map(|item| item.trim_matches([' ', '\t']));
    // A list may have empty elements (RFC 9110, 5.6.1.2).
    let items = items.filter(|item| !item.is_empty());
    let specs: Vec<_> = items
        .take(RANGES_MAX + 1)
        .map(parse_one)
        .collect::<Option<_>>()?;
    (1..=RANGES_MAX).contains(&specs.len()).then_some(specs)
}

fn parse_one(text: &str) -> Option<Spec> {
    let (first, last) = text.split_once('-')?;
    match (first, last) {
        ("", last) => number(last).map(Spec::Last),
        (first, "") => number(first).map(Spec::Open),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::Bounded(first, last))
        }
    }
}

/// Digits only; a number beyond 64 bits is beyond every file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

impl Spec {
    /// The bytes that it means in a file of this length; `None` if there are none.
    fn within(self, length: u64) -> Option<Range<u64>> {
        let bytes = match self {
            Self::Bounded(first, last) => first..length.min(last.saturating_add(1)),
            Self::Open(first) => first..length,
            Self::Last(bytes) => length.saturating_sub(bytes)..length,
        };
        (bytes.start < bytes.end).then_some(bytes)
    }
}

/// The bytes that ranges mean in a file of this length, in their order, each byte once: ranges that
/// overlap, or nearly touch, are one. Empty if no range can be satisfied.
pub(crate) fn resolve(specs: &[Spec], length: u64) -> Vec<Range<u64>> {
    let mut resolved: Vec<Range<u64>> = Vec::new();
    for bytes in specs.iter().filter_map(|spec| spec.within(length)) {
        add(&mut resolved, bytes);
    }
    resolved
}

fn add(resolved: &mut Vec<Range<u64>>, mut bytes: Range<u64>) {
    let near = |one: &Range<u64>, other: &Range<u64>| {
        one.start <= other.end.saturating_add(GAP_MAX)
            && other.start <= one.end.saturating_add(GAP_MAX)
    };
    let mut place = None;
    // What grows may touch what was apart before.
    while let Some(at) = resolved.iter().position(|other| near(&bytes, other)) {
        let other = resolved.remove(at);
        bytes = bytes.start.min(other.start)..bytes.end.max(other.end);
        place = Some(place.map_or(at, |place: usize| place.min(at)));
    }
    resolved.insert(place.unwrap_or(resolved.len()), bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_range_of_bytes_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "rows=1-2",
            "bytes 1-2",
            "bytes=1-2;q",
            "bytes=1 -2",
        ] {
            assert_eq!(parse(header.as_bytes()), None, "{header}");
        }
        let many = format!("bytes={}", vec!["0-0"; RANGES_MAX + 1].join(","));
        assert_eq!(parse(many.as_bytes()), None);
    }

    /// The first byte of each range, and the one behind its last.
    fn resolved(header: &str, length: u64) -> Vec<(u64, u64)> {
        let resolved = resolve(&parse(header.as_bytes()).unwrap(), length);
        resolved
            .iter()
            .map(|bytes| (bytes.start, bytes.end))
            .collect()
    }

    #[test]
    fn ranges_mean_what_rfc_9110_gives_as_examples() {
        // 14.1.2, for a file of 10,000 bytes.
        let resolved = |header| resolved(header, 10_000);
        assert_eq!(resolved("bytes=0-499"), [(0, 500)]);
        assert_eq!(resolved("bytes=500-999"), [(500, 1000)]);
        assert_eq!(resolved("bytes=-500"), [(9500, 10_000)]);
        assert_eq!(resolved("bytes=9500-"), [(9500, 10_000)]);
        assert_eq!(resolved("bytes=0-0,-1"), [(0, 1), (9999, 10_000)]);
        assert_eq!(
            resolved("bytes= 0-0, 4500-5499, -1000"),
            [(0, 1), (4500, 5500), (9000, 10_000)]
        );
        assert_eq!(resolved("bytes=500-600,601-999"), [(500, 1000)]);
        assert_eq!(resolved("bytes=500-700,601-999"), [(500, 1000)]);
        assert_eq!(
            resolved("BYTES=9999-99999999999999999999999"),
            [(9999, 10_000)]
        );
    }

    #[test]
    fn what_a_file_does_not_have_is_left_out() {
        assert!(resolved("bytes=10-", 10).is_empty());
        assert!(resolved("bytes=-0", 10).is_empty());
        assert!(resolved("bytes=0-", 0).is_empty());
        assert!(resolved("bytes=-5", 0).is_empty());
        assert_eq!(resolved("bytes=-50", 10), [(0, 10)]);
        assert_eq!(resolved("bytes=20-30,5-5", 10), [(5, 6)]);
    }
}
