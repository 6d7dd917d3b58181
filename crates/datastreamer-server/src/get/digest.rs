//! Digests of the whole file: those that a server states (`Repr-Digest`, RFC 9530) and those of the
//! bytes that came. Digests of a message (`Content-Digest`) and unknown algorithms are ignored.

use std::collections::BTreeMap;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use http::HeaderMap;
use ring::digest::{self, SHA256, SHA512};

/// The name of the field.
pub(crate) const REPR_DIGEST: &str = "repr-digest";

/// Padding may be missing (RFC 9651, section 4.2.7).
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The algorithms that are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// Its key in `Repr-Digest`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }

    /// The implementation.
    pub(crate) fn ring(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha512 => &SHA512,
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|it| it.name() == name)
    }
}

/// What a server states; the values are of the right length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digests(BTreeMap<Algorithm, Vec<u8>>);

impl Digests {
    /// Reads `Repr-Digest` of a head or of trailers. A field that is no dictionary is ignored (RFC
    /// 9651, section 4.2).
    pub(crate) fn of_fields(fields: &HeaderMap) -> Self {
        let lines: Option<Vec<&str>> = fields
            .get_all(REPR_DIGEST)
            .iter()
            .map(|value| value.to_str().ok())
            .collect();
        let field = lines.unwrap_or_default().join(", ");
        let mut digests = Self::default();
        for (name, value) in dictionary(&field).unwrap_or_default() {
            if let Some(value) = value {
                digests.insert(name, value);
            }
        }
        digests
    }

    /// Takes a digest by the name of its algorithm and in base64, as receipts and state files have it;
    /// ignores what is neither.
    pub(crate) fn insert_base64(&mut self, name: &str, text: &str) {
        if let Ok(value) = LENIENT.decode(text) {
            self.insert(name, value);
        }
    }

    fn insert(&mut self, name: &str, value: Vec<u8>) {
        let algorithm = Algorithm::of_name(name);
        let algorithm = algorithm.filter(|it| it.ring().output_len() == value.len());
        if let Some(algorithm) = algorithm {
            self.0.insert(algorithm, value);
        }
    }

    /// Adds those of another field; they replace earlier ones.
    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each algorithm and its value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Algorithm, &[u8])> {
        self.0.iter().map(|(name, value)| (*name, value.as_slice()))
    }

    /// Name and base64 of each.
    pub(crate) fn to_base64(&self) -> BTreeMap<String, String> {
        let shown =
            |(name, value): (Algorithm, &[u8])| (name.name().into(), STANDARD.encode(value));
        self.iter().map(shown).collect()
    }
}

/// Returns bytes in hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key, and its value if that is a byte sequence.
type Member<'a> = (&'a str, Option<Vec<u8>>);

/// The members of a dictionary (RFC 9651, section 4.2.2): byte sequences, and `None` for values of
/// other types. `None` if it is malformed.
fn dictionary(field: &str) -> Option<Vec<Member<'_>>> {
    let mut members = Vec::new();
    let mut rest = field.trim_matches([' ', '\t']);
    while !rest.is_empty() {
        let (name, behind) = key(rest)?;
        let (value, behind) = match behind.strip_prefix('=') {
            Some(behind) => item(behind)?,
            None => (None, behind),
        };
        members.push((name, value));
        rest = parameters(behind)?.trim_start_matches([' ', '\t']);
        match rest.strip_prefix(',') {
            Some(next) => {
                rest = next.trim_start_matches([' ', '\t']);
                // A comma at the end is malformed.
                if rest.is_empty() {
                    return None;
                }
            }
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    Some(members)
}

fn parameters(mut rest: &str) -> Option<&str> {
    while let Some(parameter) = rest.strip_prefix(';') {
        let (_, behind) = key(parameter.trim_start_matches(' '))?;
        rest = match behind.strip_prefix('=') {
            Some(value) => item(value)?.1,
            None => behind,
        };
    }
    Some(rest)
}

fn key(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| {
        !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.' | '*'))
    });
    let (key, rest) = text.split_at(end.unwrap_or(text.len()));
    let begins = |c: char| c.is_ascii_lowercase() || c == '*';
    key.starts_with(begins).then_some((key, rest))
}

/// Takes one value off the front; only byte sequences are decoded.
fn item(text: &str) -> Option<(Option<Vec<u8>>, &str)> {
    if let Some(rest) = text.strip_prefix(':') {
        let (encoded, rest) = rest.split_once(':')?;
        return Some((Some(LENIENT.decode(encoded).ok()?), rest));
    }
    if let Some(rest) = text.strip_prefix('"') {
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        return Some((None, &rest[end + 1..]));
    }
    if let Some(rest) = text.strip_prefix('(') {
        let mut rest = rest.trim_start_matches(' ');
        while !rest.starts_with(')') {
            let (_, behind) = item(rest)?;
            rest = parameters(behind)?.trim_start_matches(' ');
        }
        return Some((None, &rest[1..]));
    }
    let end = text.find([',', ';', ' ', '\t', ')']);
    let (token, rest) = text.split_at(end.unwrap_or(text.len()));
    (!token.is_empty()).then_some((None, rest))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(lines: &[&str]) -> Digests {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(REPR_DIGEST, HeaderValue::from_str(line).unwrap());
        }
        Digests::of_fields(&fields)
    }

    /// Of `{"hello": "world"}` and a line break (RFC 9530, appendix B.1).
    const HELLO: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

    #[test]
    fn the_digests_of_a_field_are_read() {
        let hello = of(&[HELLO]);
        let expected = digest::digest(&SHA256, b"{\"hello\": \"world\"}\n");
        let found: Vec<_> = hello.iter().collect();
        assert_eq!(found, [(Algorithm::Sha256, expected.as_ref())]);
        for others in [
            format!("md5=:x:,{HELLO}"),
            format!("a=\"x, \\\"y\";p=1, {HELLO};q"),
            format!("b=(1 \"),\" :eA==:);c=?1 ,\t{HELLO}"),
            format!("sha-256=:AAAA:, {HELLO}"),
            format!("d, {HELLO}"),
        ] {
            // An invalid base64 text makes the field malformed.
            let expected = if others.starts_with("md5") {
                Digests::default()
            } else {
                hello.clone()
            };
            assert_eq!(of(&[&others]), expected, "{others}");
        }
        let sha512 = digest::digest(&SHA512, b"x");
        let second = format!("sha-512=:{}:", STANDARD.encode(sha512.as_ref()));
        assert_eq!(of(&["crc32c=:AAAAAA==:", &second, HELLO]).iter().count(), 2);
    }

    #[test]
    fn malformed_fields_and_wrong_lengths_are_ignored() {
        for wrong in [
            "",
            "sha-256=:AAAA:",
            "sha-256=RK/0",
            "sha-256",
            "SHA-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=",
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:,",
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=: x",
        ] {
            assert!(of(&[wrong]).is_empty(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_field_is_read_or_ignored(field in "[ -~]{0,60}") {
            of(&[&field]);
            let behind = format!("x={field}, {HELLO}");
            of(&[&behind]);
        }
    }
}
