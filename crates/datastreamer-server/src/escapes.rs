//! Percent-escapes of URLs and forms, and names in them. Decoders take a malformed escape for
//! itself, so that a filter would find no rows: it is refused before.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

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

/// Returns a name as text. Bytes that are not UTF-8 become `%XX`.
pub(crate) fn readable(name: &[u8]) -> String {
    let mut text = String::new();
    for part in name.utf8_chunks() {
        text.push_str(part.valid());
        text.extend(part.invalid().iter().map(|byte| format!("%{byte:02X}")));
    }
    text
}

/// Percent-encodes what a path segment cannot hold, quotes included, for the shell's sake. Whoever
/// decodes it and makes it readable gets the name again, and of a file's name that is not UTF-8 the
/// bytes before.
pub(crate) fn encode(readable_name: &str) -> String {
    const SEGMENT: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let bytes: Vec<u8> = percent_decode_str(readable_name).collect();
    let is_of_bytes = str::from_utf8(&bytes).is_err() && readable(&bytes) == readable_name;
    let name = if is_of_bytes {
        &bytes
    } else {
        readable_name.as_bytes()
    };
    percent_encode(name, &SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_name_is_decoded_to_itself() {
        for (name, encoded) in [
            ("stars.csv", "stars.csv"),
            ("caf\u{e9} 100%", "caf%C3%A9%20100%25"),
            ("lat%E9.csv", "lat%E9.csv"),
            ("lat%e9.csv", "lat%25e9.csv"),
            ("lat%C3%A9%E9", "lat%25C3%25A9%25E9"),
            ("%41%FF", "%2541%25FF"),
            ("%FF%E9 %", "%FF%E9%20%25"),
        ] {
            assert_eq!(encode(name), encoded);
            let decoded: Vec<u8> = percent_decode_str(encoded).collect();
            assert_eq!(readable(&decoded), name);
        }
    }

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
