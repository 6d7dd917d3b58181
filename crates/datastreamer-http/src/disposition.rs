//! `Content-Disposition`: a file name that all clients read in the same way and that nobody can
//! abuse.
//!
//! Called by `response.rs`; pure.

use std::fmt::Write;

use http::HeaderValue;

/// The longest name that common file systems accept, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

/// Returns `attachment` with a file name (RFC 6266): `filename=` in plain ASCII for old clients,
/// and `filename*=` in UTF-8 (RFC 8187) if the name needs it.
///
/// The name is made safe first. Path separators, quotes and other special characters are replaced.
/// Control characters (CR, LF), characters that change the direction of writing (they make
/// `exe.jpg` look like `gpj.exe`) and leading dots are removed.
///
/// ```
/// use datastreamer_http::content_disposition;
/// assert_eq!(content_disposition("stars.csv"), "attachment; filename=\"stars.csv\"");
/// assert_eq!(
///     content_disposition("Böses\r\n.csv"),
///     "attachment; filename=\"B_ses.csv\"; filename*=UTF-8''B%C3%B6ses.csv"
/// );
/// ```
pub fn content_disposition(file_name: &str) -> HeaderValue {
    named("attachment", file_name)
}

/// Returns `inline` with a file name: a browser shows the file, and saves it under the name.
pub(crate) fn inline_disposition(file_name: &str) -> HeaderValue {
    named("inline", file_name)
}

fn named(kind: &'static str, file_name: &str) -> HeaderValue {
    let name = safe_name(file_name);
    let ascii: String = name
        .chars()
        .map(|c| if c.is_ascii() { c } else { '_' })
        .collect();
    let mut value = format!("{kind}; filename=\"{ascii}\"");
    // Some clients decode a percent sign in `filename=`: give them the exact form, too.
    if ascii != name || name.contains('%') {
        value.push_str("; filename*=UTF-8''");
        push_ext_value(&mut value, &name);
    }
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(kind))
}

fn safe_name(file_name: &str) -> String {
    let mut name = String::with_capacity(file_name.len());
    for c in file_name
        .chars()
        .filter(|&c| !c.is_control() && !controls_direction(c))
    {
        let c = match c {
            '/' | '\\' | '"' | ':' | '*' | '?' | '<' | '>' | '|' => '_',
            c => c,
        };
        if name.len() + c.len_utf8() > FILE_NAME_BYTES_MAX {
            break;
        }
        name.push(c);
    }
    let trimmed = name.trim_end();
    let trimmed = trimmed.trim_start_matches(|c: char| c == '.' || c.is_whitespace());
    if trimmed.is_empty() {
        return "download".into();
    }
    trimmed.into()
}

/// Returns whether a character controls the direction of the text around it, without being seen: the
/// directional formatting characters of UAX #9, section 2. In a file name or a line of a log it can make
/// a text look like another one.
///
/// ```
/// use datastreamer_http::controls_direction;
/// // Shown as `photo_exe.jpg`.
/// assert!("photo_\u{202e}gpj.exe".chars().any(controls_direction));
/// assert!(!"f\u{fc}r \u{5e9}\u{5dc}\u{5d5}\u{5dd}".chars().any(controls_direction));
/// ```
pub fn controls_direction(c: char) -> bool {
    matches!(
        c,
        '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    )
}

/// Percent-encodes everything but the `attr-char` of RFC 8187, section 3.2.1.
fn push_ext_value(out: &mut String, name: &str) {
    for &byte in name.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            out.push(byte as char);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disposition(name: &str) -> String {
        content_disposition(name).to_str().unwrap().to_owned()
    }

    #[test]
    fn no_name_can_break_out_of_the_header() {
        for name in [
            "a\r\nSet-Cookie: x",
            "a\"; filename=\"b",
            "a\\",
            "\0",
            "a\u{7f}b",
        ] {
            let value = disposition(name);
            assert_eq!(value.matches('"').count(), 2, "{value}");
            assert!(
                !value.contains(['\r', '\n', '\\', '\0', '\u{7f}']),
                "{value}"
            );
        }
    }

    #[test]
    fn directional_characters_are_left_out() {
        assert_eq!(
            disposition("a\u{202e}gpj.exe"),
            "attachment; filename=\"agpj.exe\""
        );
    }

    #[test]
    fn what_is_not_ascii_has_an_exact_form_beside_the_plain_one() {
        assert_eq!(
            disposition("Sterne für alle.csv"),
            "attachment; filename=\"Sterne f_r alle.csv\"; \
             filename*=UTF-8''Sterne%20f%C3%BCr%20alle.csv"
        );
        // Some clients decode a percent sign in the plain form.
        assert_eq!(
            disposition("100%.csv"),
            "attachment; filename=\"100%.csv\"; filename*=UTF-8''100%25.csv"
        );
        assert_eq!(
            disposition("a;b=c,d'e(f).csv"),
            "attachment; filename=\"a;b=c,d'e(f).csv\""
        );
    }

    #[test]
    fn no_name_is_hidden_or_padded() {
        assert_eq!(
            disposition("  .profile "),
            "attachment; filename=\"profile\""
        );
        assert_eq!(disposition(" . . a"), "attachment; filename=\"a\"");
    }

    #[test]
    fn paths_become_one_name() {
        assert_eq!(
            disposition("../../etc/passwd"),
            "attachment; filename=\"_.._etc_passwd\""
        );
        assert_eq!(disposition("..."), "attachment; filename=\"download\"");
        assert_eq!(disposition(""), "attachment; filename=\"download\"");
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let value = disposition(&"é".repeat(300));
        assert!(value.contains(&"%C3%A9".repeat(127)));
        assert!(!value.contains(&"%C3%A9".repeat(128)));
    }
}
