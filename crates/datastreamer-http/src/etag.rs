//! Entity tags in headers (RFC 9110, 8.8.3): writing them, finding them in lists, comparing them. Knows
//! no files and no requests.

use datastreamer::ETag;
use http::HeaderValue;

/// Returns the value of the header `ETag`.
pub(crate) fn header_value(tag: &ETag) -> Option<HeaderValue> {
    HeaderValue::from_str(tag.as_str()).ok()
}

/// Returns whether a header of this value has the tag, by the strong comparison (RFC 9110, 8.8.3.2).
pub(crate) fn is_strongly(tag: &ETag, value: &[u8]) -> bool {
    value == tag.as_str().as_bytes()
}

/// As [`is_strongly`], by the weak comparison: a coded response has the tag as a weak one.
pub(crate) fn is_weakly(tag: &ETag, value: &[u8]) -> bool {
    is_strongly(tag, value.strip_prefix(b"W/").unwrap_or(value))
}

/// Splits a list of entity tags, which may have commas within their quotes. Ends at what is none.
pub(crate) fn tags(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let separator = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
        let start = list.iter().position(|byte| !separator(byte))?;
        list = &list[start..];
        let prefix = if list.starts_with(b"W/") { 2 } else { 0 };
        let quoted = list[prefix..].strip_prefix(b"\"")?;
        let end = prefix + quoted.iter().position(|byte| *byte == b'"')? + 2;
        let (tag, rest) = list.split_at(end);
        list = rest;
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_is_split_at_its_commas_and_not_at_those_in_tags() {
        let list = b" \"a\", W/\"b,c\",,\t\"\" , nonsense, \"d\"";
        let found: Vec<_> = tags(list).collect();
        assert_eq!(found, [&b"\"a\""[..], b"W/\"b,c\"", b"\"\""]);
        assert_eq!(tags(b"\"open").count(), 0);
    }

    #[test]
    fn a_weak_tag_is_equal_by_the_weak_comparison_only() {
        let tag = ETag::new("a").unwrap();
        assert!(is_strongly(&tag, b"\"a\"") && !is_strongly(&tag, b"W/\"a\""));
        assert!(
            is_weakly(&tag, b"\"a\"")
                && is_weakly(&tag, b"W/\"a\"")
                && !is_weakly(&tag, b"W/\"b\"")
        );
    }
}
