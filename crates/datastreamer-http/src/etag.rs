//! Strong entity tags (RFC 9110, 8.8.3): making, and finding them in lists. Knows no files and no
//! requests.

use http::HeaderValue;

/// A strong entity tag: two responses with the same one have the same bytes.
///
/// ```
/// use datastreamer_http::ETag;
/// let tag = ETag::new("2026-11-29.1").ok_or("no entity tag")?;
/// assert_eq!(tag.to_string(), "\"2026-11-29.1\"");
/// assert!(ETag::new("with a \" quote").is_none());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ETag(HeaderValue);

impl ETag {
    /// Makes a tag of a text without its quotes. `None` if the text has a quote, a space or a control
    /// character.
    pub fn new(opaque: &str) -> Option<Self> {
        let allowed = |byte: u8| byte == 0x21 || (0x23..0x7f).contains(&byte) || byte >= 0x80;
        if !opaque.bytes().all(allowed) {
            return None;
        }
        let quoted = format!("\"{opaque}\"");
        HeaderValue::from_bytes(quoted.as_bytes()).ok().map(Self)
    }

    /// The value of the header `ETag`, with its quotes.
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
    }

    /// Returns whether a header of this value has the tag, by the strong comparison (RFC 9110, 8.8.3.2).
    pub(crate) fn is_strongly(&self, value: &[u8]) -> bool {
        value == self.0.as_bytes()
    }

    /// As [`is_strongly`](Self::is_strongly), by the weak comparison: a coded response has the tag as a
    /// weak one.
    pub(crate) fn is_weakly(&self, value: &[u8]) -> bool {
        self.is_strongly(value.strip_prefix(b"W/").unwrap_or(value))
    }
}

impl std::fmt::Display for ETag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0.as_bytes()))
    }
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
        assert!(tag.is_strongly(b"\"a\"") && !tag.is_strongly(b"W/\"a\""));
        assert!(tag.is_weakly(b"\"a\"") && tag.is_weakly(b"W/\"a\"") && !tag.is_weakly(b"W/\"b\""));
    }
}
