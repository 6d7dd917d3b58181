//! Strong entity tags (RFC 9110, 8.8.3): which bytes a file has. `datastreamer-http` sends and compares
//! them, `datastreamer-spool` keeps them; this file makes them, and knows neither headers nor files.

use std::{fmt, sync::Arc};

/// A strong entity tag: two responses with the same one have the same bytes.
///
/// ```
/// use datastreamer::ETag;
/// let tag = ETag::new("2026-11-29.1").ok_or("no entity tag")?;
/// assert_eq!(tag.to_string(), "\"2026-11-29.1\"");
/// assert!(ETag::new("with a \" quote").is_none());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// Makes a tag of the text between the quotes. The caller promises that equal tags mean equal bytes.
    ///
    /// `None` if the text has anything but visible ASCII, or a quote. RFC 9110 allows bytes above ASCII
    /// too; clients that decode headers send back others.
    pub fn new(opaque: &str) -> Option<Self> {
        let allowed = |byte| matches!(byte, 0x21 | 0x23..=0x7e);
        let is_tag = opaque.bytes().all(allowed);
        is_tag.then(|| Self(format!("\"{opaque}\"").into()))
    }

    /// Makes the tag whose text is these bytes in hexadecimal digits: of a digest, or of a random number
    /// that is drawn for one run of a source.
    ///
    /// ```
    /// assert_eq!(datastreamer::ETag::hex(&[0x0f, 0xa0]).as_str(), "\"0fa0\"");
    /// ```
    pub fn hex(bytes: &[u8]) -> Self {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("\"{digits}\"").into())
    }

    /// Returns the value of the header `ETag`: the text in its quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text between the quotes.
    pub fn opaque(&self) -> &str {
        &self.0[1..self.0.len() - 1]
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ETag({self})")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_back_from_every_client_is_a_tag() {
        let tag = ETag::new("a-1").unwrap();
        assert_eq!((tag.as_str(), tag.opaque()), ("\"a-1\"", "a-1"));
        assert_eq!(ETag::new("").unwrap().opaque(), "");
        for wrong in ["a b", "a\"b", "a\nb", "é", "\u{7f}"] {
            assert_eq!(ETag::new(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_tag_of_bytes_is_the_one_of_their_digits() {
        assert_eq!(Some(ETag::hex(&[0, 9, 0xff])), ETag::new("0009ff"));
    }
}
