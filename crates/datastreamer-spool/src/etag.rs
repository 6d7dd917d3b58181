//! Strong entity tags (RFC 9110, section 8.8.3): two productions with the same one have the same
//! bytes.

use std::{fmt, sync::Arc};

use crate::{
    error::{Error, ErrorKind},
    names::ProductionId,
};

/// A strong entity tag. Its `Display` is the field value, in quotes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ETag(Arc<str>);

impl ETag {
    /// Makes a tag of the text between the quotes. The caller promises that equal tags of one key
    /// mean equal bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`]: a character that RFC 9110 does not allow (only visible ASCII without
    /// the quote is taken).
    pub fn new(opaque: impl Into<Arc<str>>) -> Result<Self, Error> {
        let opaque = opaque.into();
        match opaque.bytes().find(|byte| !is_allowed(*byte)) {
            None => Ok(Self(opaque)),
            Some(byte) => Err(Error::new(
                ErrorKind::Invalid,
                format!("an ETag may not have the byte {byte:#04x}"),
            )),
        }
    }

    /// Makes the tag of a production that shares it with no other one.
    pub(crate) fn unique(id: &ProductionId) -> Self {
        Self(id.to_string().into())
    }

    /// Returns the text between the quotes.
    pub fn opaque(&self) -> &str {
        &self.0
    }
}

fn is_allowed(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x7e)
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
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
    fn only_what_a_header_can_carry_is_a_tag() {
        assert_eq!(ETag::new("a-1").unwrap().to_string(), "\"a-1\"");
        for wrong in ["a b", "a\"b", "a\nb", "é"] {
            assert_eq!(ETag::new(wrong).unwrap_err().kind(), ErrorKind::Invalid);
        }
    }
}
