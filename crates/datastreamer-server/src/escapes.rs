//! Percent-escapes of URLs and forms. Decoders take a malformed one for itself, so that a filter would
//! find no rows: it is refused before.

/// Checks that two hexadecimal digits are behind each percent sign.
///
/// # Errors
/// The first malformed escape.
pub(crate) fn check(encoded: &[u8]) -> Result<(), String> {
    let mut rest = encoded;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        rest = &rest[at..];
        if !matches!(rest, [_, a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()) {
            let found: String = String::from_utf8_lossy(rest).chars().take(3).collect();
            return Err(format!(
                "`{found}` is no percent-escape: write %25 for a percent sign"
            ));
        }
        rest = &rest[3..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_escape_is_shown() {
        for (text, malformed) in [
            ("eq.%zz", "%zz"),
            ("%", "%"),
            ("a%4", "%4"),
            ("%25%4g", "%4g"),
            ("%%41", "%%4"),
            ("%\u{e9}\u{e9}\u{e9}", "%\u{e9}\u{e9}"),
            ("%+1", "%+1"),
        ] {
            let error = format!("`{malformed}` is no percent-escape: write %25 for a percent sign");
            assert_eq!(check(text.as_bytes()), Err(error), "{text}");
        }
        for text in ["", "a", "%25", "%2f%2F", "100%25zz"] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }
}
