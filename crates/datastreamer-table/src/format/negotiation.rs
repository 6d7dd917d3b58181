//! Which format a client means: names, suffixes, media types, Accept.
//!
//! Sources: DALI 1.1, 3.3.3 (RESPONSEFORMAT); RFC 9110, 8.3.1 and 12.5.1.

use super::Format;

/// What DALI calls formats besides their names here.
const SHORTHANDS: [(&str, Format); 3] = [
    ("votable/td", Format::Votable),
    ("votable/b", Format::VotableBinary),
    ("votable/b2", Format::VotableBinary2),
];

/// A media type that DALI allows for VOTable as well.
const VOTABLE_AS_XML: &str = "text/xml";

impl Format {
    /// Returns the format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Returns the format of a suffix without its dot: VOTable in TABLEDATA for `vot`, an Arrow
    /// stream for `arrow`.
    pub fn from_suffix(suffix: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|format| format.suffix() == suffix)
    }

    /// Returns what a RESPONSEFORMAT asks for: a name, a shorthand of DALI or a media type, in any
    /// case. Of a media type's parameters VOTable's `serialization` counts, others do not.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let shorthand = SHORTHANDS.into_iter().find(|(name, _)| *name == text);
        Self::from_name(&text)
            .or(shorthand.map(|(_, format)| format))
            .or_else(|| Self::from_media_type(&text))
    }

    /// Returns the format that an Accept header likes best: of the same `q` the more specific,
    /// then the first. `None` where it likes anything as well or better (`*/*`), and where it
    /// likes none of these formats.
    ///
    /// A range as `text/*` means the first of [`ALL`](Self::ALL) that is within it.
    pub fn from_accept(accept: &str) -> Option<Self> {
        let mut best: Option<(Weight, Option<Self>)> = None;
        for range in split_unquoted(accept, ',') {
            let Some((weight, format)) = Self::from_range(&range) else {
                continue;
            };
            if weight.thousandths > 0 && best.is_none_or(|(heaviest, _)| weight > heaviest) {
                best = Some((weight, format));
            }
        }
        best.and_then(|(_, format)| format)
    }

    /// A range of Accept with its weight; within it no format if it is `*/*`.
    fn from_range(range: &str) -> Option<(Weight, Option<Self>)> {
        let range = range.trim().to_ascii_lowercase();
        let mut parameters = split_unquoted(&range, ';');
        let kind = parameters.next()?.trim().to_owned();
        let q = parameters.find_map(|parameter| value_of(&parameter, "q").map(thousandths));
        let (specificity, format) = match kind.split_once('/')? {
            ("*", "*") => (0, None),
            (_, "*") => {
                let within = kind.trim_end_matches('*');
                let mut all = Self::ALL.into_iter();
                (
                    1,
                    Some(all.find(|format| format.media_type().starts_with(within))?),
                )
            }
            _ => (2, Some(Self::from_media_type(&range)?)),
        };
        let weight = Weight {
            thousandths: q.unwrap_or(1000),
            specificity,
        };
        Some((weight, format))
    }

    /// The format of a media type in lower case.
    fn from_media_type(text: &str) -> Option<Self> {
        let mut parameters = split_unquoted(text, ';');
        let kind = parameters.next()?.trim().to_owned();
        let essence = |format: &Self| format.media_type().split(';').next() == Some(kind.as_str());
        let format = match kind.as_str() {
            VOTABLE_AS_XML => Some(Self::Votable),
            _ => Self::ALL.into_iter().find(essence),
        }?;
        let serialization = parameters
            .find_map(|parameter| value_of(&parameter, "serialization").map(str::to_owned));
        match (format, serialization.as_deref()) {
            (Self::Votable, Some("binary")) => Some(Self::VotableBinary),
            (Self::Votable, Some("binary2")) => Some(Self::VotableBinary2),
            (Self::Votable, Some("tabledata") | None) => Some(Self::Votable),
            // FITS in a VOTable.
            (Self::Votable, Some(_)) => None,
            (format, _) => Some(format),
        }
    }
}

/// How much a range is liked. The more specific counts among equals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    thousandths: u16,
    specificity: u8,
}

/// A quality value (RFC 9110, 12.4.2). What is none counts as nothing.
fn thousandths(q: &str) -> u16 {
    match q.parse::<f32>() {
        Ok(q) if (0.0..=1.0).contains(&q) => (q * 1000.0).round() as u16,
        _ => 0,
    }
}

/// The value of a parameter `name=value`, without its quotes.
fn value_of<'a>(parameter: &'a str, name: &str) -> Option<&'a str> {
    let (own_name, value) = parameter.split_once('=')?;
    (own_name.trim() == name).then(|| value.trim().trim_matches('"'))
}

/// Splits at a separator that stands in no quoted string (RFC 9110, 5.6.4).
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in text.chars() {
        if character == separator && !is_quoted {
            parts.push(std::mem::take(&mut part));
            continue;
        }
        is_quoted ^= character == '"' && !is_escaped;
        is_escaped = is_quoted && character == '\\' && !is_escaped;
        part.push(character);
    }
    parts.push(part);
    parts.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_media_type_is_found_again() {
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
            assert_eq!(Format::parse(format.name()), Some(format));
            assert_eq!(Format::parse(format.media_type()), Some(format));
            assert_eq!(Format::from_accept(format.media_type()), Some(format));
        }
    }

    #[test]
    fn a_suffix_finds_the_first_format_that_has_it() {
        for (suffix, format) in [
            ("vot", Format::Votable),
            ("arrow", Format::Arrow),
            ("txt", Format::Text),
            ("ndjson", Format::Ndjson),
        ] {
            assert_eq!(Format::from_suffix(suffix), Some(format));
        }
        assert_eq!(Format::from_suffix(".vot"), None);
        assert_eq!(Format::from_suffix("xls"), None);
    }

    #[test]
    fn a_response_format_is_a_name_a_shorthand_or_a_media_type_in_any_case() {
        for (text, format) in [
            ("votable", Format::Votable),
            ("VOTable/TD", Format::Votable),
            ("votable/b", Format::VotableBinary),
            ("votable/b2", Format::VotableBinary2),
            ("application/x-votable+xml", Format::Votable),
            (
                "application/x-votable+xml; content=datalink",
                Format::Votable,
            ),
            (
                "Application/X-VOTable+XML; Serialization=\"Binary2\"",
                Format::VotableBinary2,
            ),
            ("text/xml", Format::Votable),
            ("text/csv;header=absent", Format::Csv),
            ("TEXT/PLAIN", Format::Text),
            (" parquet ", Format::Parquet),
        ] {
            assert_eq!(Format::parse(text), Some(format), "{text}");
        }
        for text in [
            "",
            "text/*",
            "xls",
            "application/x-votable+xml;serialization=FITS",
        ] {
            assert_eq!(Format::parse(text), None, "{text}");
        }
    }

    #[test]
    fn accept_is_answered_by_weight_then_specificity_then_order() {
        for (accept, format) in [
            ("text/csv;q=0.5, application/json", Some(Format::Json)),
            ("text/csv, application/json", Some(Format::Csv)),
            ("text/*, text/html", Some(Format::Html)),
            ("text/*", Some(Format::Csv)),
            ("application/*;q=0.1", Some(Format::Votable)),
            ("application/json;q=0, text/csv;q=0.001", Some(Format::Csv)),
            // Chrome.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
                Some(Format::Html),
            ),
            ("*/*", None),
            ("*/*, text/csv;q=0.5", None),
            ("*/*, text/csv", Some(Format::Csv)),
            ("image/png", None),
            ("", None),
            ("text/csv;q=none", None),
            ("x/y;z=\"a,text/csv\", text/html;q=0.5", Some(Format::Html)),
        ] {
            assert_eq!(Format::from_accept(accept), format, "{accept}");
        }
    }
}
