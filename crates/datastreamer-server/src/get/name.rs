//! The name of the file that a download becomes: what the server calls it, made harmless. Pure;
//! never returns a path.

use http::{HeaderMap, header::CONTENT_DISPOSITION};
use percent_encoding::percent_decode_str;
use url::Url;

/// What a file is called that has no name.
const NAMELESS: &str = "download";

/// The longest name: 255 bytes are what file systems take, less the longest suffix that is put
/// behind it meanwhile (`.part.json.new`).
const NAME_BYTES_MAX: usize = 255 - 14;

/// Returns the name that a response gives its file: `filename*=`, else `filename=` (RFC 6266, 8187),
/// else the last segment of the URL's path, else `download`.
pub(crate) fn of_response(headers: &HeaderMap, url: &Url) -> String {
    let disposition = headers.get(CONTENT_DISPOSITION);
    let given = disposition.and_then(|value| of_disposition(value.as_bytes()));
    given.unwrap_or_else(|| of_url(url))
}

fn of_url(url: &Url) -> String {
    let segment = url.path_segments().and_then(|mut all| all.next_back());
    let decoded = percent_decode_str(segment.unwrap_or_default()).collect::<Vec<u8>>();
    safe(&readable(&decoded)).unwrap_or_else(|| NAMELESS.into())
}

fn of_disposition(value: &[u8]) -> Option<String> {
    let parameters = parameters(value);
    let find = |name: &str| parameters.iter().find(|(it, _)| it == name);
    let extended = find("filename*").and_then(|(_, value)| extended(value));
    let plain = || find("filename").map(|(_, value)| readable(value));
    extended
        .and_then(|name| safe(&name))
        .or_else(|| plain().and_then(|name| safe(&name)))
}

/// Returns the parameters behind the first semicolon, their names in lower case.
fn parameters(value: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = after(value, b';');
    while let Some(text) = rest {
        let name_end = text.iter().position(|byte| matches!(byte, b'=' | b';'));
        let Some(name_end) = name_end else { break };
        if text[name_end] == b';' {
            rest = Some(&text[name_end + 1..]);
            continue;
        }
        let name = String::from_utf8_lossy(text[..name_end].trim_ascii()).to_ascii_lowercase();
        let (value, behind) = parameter_value(text[name_end + 1..].trim_ascii_start());
        found.push((name, value));
        rest = after(behind, b';');
    }
    found
}

/// Takes a quoted string or a token off the front.
fn parameter_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b';');
        let (token, rest) = text.split_at(end.unwrap_or(text.len()));
        return (token.trim_ascii().to_vec(), rest);
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (value, &quoted[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, escaped)| *escaped)),
            _ => value.push(*byte),
        }
    }
    (value, &[])
}

fn after(text: &[u8], mark: u8) -> Option<&[u8]> {
    let at = text.iter().position(|byte| *byte == mark)?;
    Some(&text[at + 1..])
}

/// Decodes `UTF-8'en'...` (RFC 8187, section 3.2.1).
fn extended(value: &[u8]) -> Option<String> {
    let value = str::from_utf8(value).ok()?;
    let (charset, rest) = value.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    let bytes: Vec<u8> = percent_decode_str(encoded).collect();
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(latin1(&bytes)),
        _ => None,
    }
}

/// Returns UTF-8 as it is, and anything else as ISO 8859-1, which the field once was.
fn readable(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => latin1(bytes),
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Returns the last component of a path without what could hurt: control characters, and those that
/// change the direction of writing, are removed, and so are leading dots: no server names
/// `.bashrc`. `None` if nothing is left.
fn safe(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept = |c: &char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        !(c.is_control() || turns)
    };
    let name: String = last.chars().filter(kept).collect();
    let name = name.trim().trim_start_matches('.').trim_start();
    (!name.is_empty()).then(|| shortened(name))
}

/// Cuts a name that is too long, before its suffix.
fn shortened(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    const SUFFIX_BYTES_MAX: usize = 16;
    let suffix = name.rfind('.').map_or("", |at| &name[at..]);
    let suffix = if suffix.len() > SUFFIX_BYTES_MAX {
        ""
    } else {
        suffix
    };
    let stem_end = name.floor_char_boundary(NAME_BYTES_MAX - suffix.len());
    format!("{}{suffix}", &name[..stem_end])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn named(disposition: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(disposition).unwrap();
        headers.insert(CONTENT_DISPOSITION, value);
        let url = Url::parse("http://host/of%20url.csv?x=y.z").unwrap();
        of_response(&headers, &url)
    }

    #[test]
    fn the_name_is_the_one_that_the_server_gives() {
        for (disposition, name) in [
            ("attachment; filename=\"stars.csv\"", "stars.csv"),
            ("attachment;filename=stars.csv", "stars.csv"),
            ("inline; FileName = stars.csv ; x=y", "stars.csv"),
            ("attachment; filename=\"a; b\\\"c.csv\"; q=1", "a; b\"c.csv"),
            (
                "attachment; filename=\"B_ses\"; filename*=UTF-8''B%C3%B6ses",
                "B\u{f6}ses",
            ),
            (
                "attachment; filename*=utf-8'de'B%C3%B6ses; filename=x",
                "B\u{f6}ses",
            ),
            ("attachment; filename*=ISO-8859-1''B%F6ses", "B\u{f6}ses"),
            ("attachment; filename*=UTF-8''%FF; filename=plain", "plain"),
            ("attachment; filename*=KOI8-R''x; filename=plain", "plain"),
            ("attachment", "of url.csv"),
            ("attachment; filename", "of url.csv"),
            ("attachment; filename=\"\"", "of url.csv"),
        ] {
            assert_eq!(named(disposition.as_bytes()), name, "{disposition}");
        }
        assert_eq!(named(b"attachment; filename=\"B\xf6ses\""), "B\u{f6}ses");
    }

    #[test]
    fn a_name_is_never_a_path_and_never_hidden() {
        for (disposition, name) in [
            ("attachment; filename=\"../../etc/passwd\"", "passwd"),
            ("attachment; filename=\"C:\\\\\\\\x\\\\\\\\y.exe\"", "y.exe"),
            ("attachment; filename*=UTF-8''..%2F..%2Fa", "a"),
            ("attachment; filename=\"..\"", "of url.csv"),
            ("attachment; filename=\".\"", "of url.csv"),
            ("attachment; filename=\"a/\"", "of url.csv"),
            ("attachment; filename=\".bashrc\"", "bashrc"),
            ("attachment; filename*=UTF-8''a%00%1B%E2%80%AEb", "ab"),
        ] {
            assert_eq!(named(disposition.as_bytes()), name, "{disposition}");
        }
    }

    #[test]
    fn without_a_header_the_name_is_that_in_the_url() {
        for (url, name) in [
            ("http://h/a/b.csv", "b.csv"),
            ("http://h/a/b.csv?c=/d", "b.csv"),
            ("http://h/a/", NAMELESS),
            ("http://h", NAMELESS),
            ("http://h/%2e%2e%2f", NAMELESS),
            ("http://h/a%2Fb", "b"),
            ("http://h/caf%C3%A9", "caf\u{e9}"),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(of_response(&HeaderMap::new(), &url), name, "{url}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_suffix() {
        let name = shortened(&format!("{}.vot.gz", "\u{e9}".repeat(200)));
        assert!(
            name.len() <= NAME_BYTES_MAX && name.ends_with(".gz"),
            "{name}"
        );
    }

    proptest! {
        #[test]
        fn any_header_gives_one_component(disposition in prop::collection::vec(0x20_u8..0xff, 0..80)) {
            prop_assume!(!disposition.contains(&0x7f));
            let value = [b"attachment; filename=".as_slice(), &disposition].concat();
            let name = named(&value);
            prop_assert!(!name.is_empty() && !name.starts_with('.'));
            prop_assert!(!name.contains(['/', '\\', '\0']) && name.len() <= NAME_BYTES_MAX);
        }
    }
}
