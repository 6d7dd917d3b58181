//! What a configuration or a command line says of a text file: how it is written, where that is not as
//! usual, and the types of its columns. It parses and checks options, and reads no file.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::{TextFormat, encoding::TextEncoding};

/// How a text file is written, and the types of its columns. The default: as usual for its format,
/// with inferred types.
///
/// ```
/// use datastreamer_text::{TextFormat, TextOptions, parse_delimiter};
///
/// let options = TextOptions {
///     delimiter: Some(parse_delimiter(";")?),
///     ..TextOptions::default()
/// };
/// assert!(options.check(TextFormat::Csv).is_ok());
/// assert!(options.check(TextFormat::Ndjson).is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextOptions {
    /// The byte between fields; `None`: comma or tab, unless the file shows another one.
    pub delimiter: Option<u8>,
    /// What fields may be in; `None`: `"` in CSV, and nothing but escapes in TSV.
    pub quote: Option<Quote>,
    /// Whether the first row has the names of the columns; `None`: it has.
    pub header: Option<bool>,
    /// The names of the columns. They replace those of a header. The objects of NDJSON may have no
    /// members of other names.
    pub names: Option<Vec<String>>,
    /// The header that `names` replace, as it was in the first file that was read: the columns of a file
    /// with another one would be called by the names of others. No option of anybody's.
    pub replaced_header: Option<Vec<String>>,
    /// Texts that are null, besides the empty one.
    pub nulls: Vec<String>,
    /// Lines that begin with this byte are left out.
    pub comment: Option<u8>,
    /// How characters are bytes; `None`: what a byte order mark says, else UTF-8.
    pub encoding: Option<TextEncoding>,
    /// What is before the decimals of a number.
    pub decimal: Option<DecimalMark>,
    /// The types of columns, by name; others are inferred. Who reads the rows has them as a schema.
    #[serde(skip)]
    pub types: BTreeMap<String, DataType>,
}

/// What is around fields that hold delimiters or line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quote {
    /// This byte; doubled within a field it stands for itself.
    Byte(u8),
    /// Nothing: every byte between delimiters is part of a field, and there are no escapes.
    None,
}

/// What is before the decimals of a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DecimalMark {
    /// `1.5`.
    #[default]
    Point,
    /// `1,5`. A text with a point is no number then.
    Comma,
}

/// The names of the types that [`parse_type`] knows, with an example of each.
const TYPES: &str = "text (01569), boolean (true), int8, int16, int32, int64 (-5), uint8, uint16, \
                     uint32, uint64 (5), float32, float64 (1.5e3), decimal(10,2) (12.50), date \
                     (2024-02-29), time (23:59:59.5), timestamp (2024-02-29T12:00:00.5), timestamp \
                     with zone (2024-02-29T12:00:00+01:00); time and timestamp have microseconds, and \
                     others by timestamp(s), (ms), (us) or (ns)";

impl TextOptions {
    /// Returns whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the names of the options that are set, as a configuration has them.
    pub fn set(&self) -> Vec<&'static str> {
        let set = [
            ("delimiter", self.delimiter.is_some()),
            ("quote", self.quote.is_some()),
            ("header", self.header.is_some()),
            ("names", self.names.is_some()),
            ("null", !self.nulls.is_empty()),
            ("comment", self.comment.is_some()),
            ("encoding", self.encoding.is_some()),
            ("decimal", self.decimal.is_some()),
            ("type", !self.types.is_empty()),
        ];
        let set = set.into_iter().filter(|(_, is_set)| *is_set);
        set.map(|(name, _)| name).collect()
    }

    /// Checks that the options fit one another, whatever the format is.
    ///
    /// # Errors
    /// The text of what does not.
    pub fn check_together(&self) -> Result<(), String> {
        let quote = match self.quote {
            Some(Quote::Byte(quote)) => Some(quote),
            Some(Quote::None) => None,
            None => Some(b'"'),
        };
        let same = |one: Option<u8>, other: Option<u8>| one.is_some() && one == other;
        if same(self.delimiter, quote) {
            return Err("delimiter and quote are the same character".into());
        }
        if same(self.delimiter, self.comment) {
            return Err("delimiter and comment are the same character".into());
        }
        if same(quote, self.comment) {
            return Err("quote and comment are the same character".into());
        }
        if self.decimal == Some(DecimalMark::Comma) && self.delimiter == Some(b',') {
            return Err("decimal = \",\" needs another delimiter than the comma".into());
        }
        let Some(names) = &self.names else {
            return Ok(());
        };
        let mut seen = BTreeSet::new();
        if names.is_empty() {
            return Err("names is empty".into());
        }
        if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(format!("names has {name:?} twice"));
        }
        if names.iter().any(String::is_empty) {
            return Err("names has an empty name".into());
        }
        match self.types.keys().find(|name| !seen.contains(name.as_str())) {
            Some(name) => Err(format!("{name:?} has a type and is not among names")),
            None => Ok(()),
        }
    }

    /// Checks that the options fit one another, and files of a format.
    ///
    /// # Errors
    /// The text of what does not.
    pub fn check(&self, format: TextFormat) -> Result<(), String> {
        self.check_together()?;
        if format == TextFormat::Ndjson {
            let mut set = self.set().into_iter();
            let fits = |name: &&str| matches!(*name, "names" | "encoding" | "type");
            return match set.find(|name| !fits(name)) {
                Some(name) => Err(format!("{name} is no option of NDJSON files")),
                None => Ok(()),
            };
        }
        match self.names.is_some() && self.header.is_none() {
            true => Err(
                "names needs header: false if the first row has values, or true if it has names, \
                 which these replace"
                    .into(),
            ),
            false => Ok(()),
        }
    }

    /// Returns whether a text that is not in quotes is null.
    pub(crate) fn is_null(&self, text: &str) -> bool {
        text.is_empty() || (!self.nulls.is_empty() && self.nulls.iter().any(|null| null == text))
    }

    pub(crate) fn decimal(&self) -> DecimalMark {
        self.decimal.unwrap_or_default()
    }

    /// Returns whether all columns have a type.
    pub(crate) fn has_types_of(&self, names: &[String]) -> bool {
        !names.is_empty() && names.iter().all(|name| self.types.contains_key(name))
    }
}

impl TextFormat {
    /// Returns options with the usual delimiter of the format, so that no other one is looked for.
    #[must_use]
    pub fn with_usual_delimiter(self, options: &TextOptions) -> TextOptions {
        TextOptions {
            delimiter: match self {
                Self::Csv => Some(b','),
                Self::Tsv => Some(b'\t'),
                Self::Ndjson => None,
            },
            ..options.clone()
        }
    }
}

/// Reads the delimiter of an option: one ASCII character, or `tab`.
///
/// # Errors
/// The text of what is allowed.
pub fn parse_delimiter(text: &str) -> Result<u8, String> {
    let delimiter = match text {
        "tab" | "\\t" => Some(b'\t'),
        _ => one_byte(text),
    };
    let is_part_of_values = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'"');
    delimiter
        .filter(|byte| !is_part_of_values(*byte))
        .ok_or_else(|| {
            format!(
                "delimiter must be one ASCII character that is no letter, digit, point, quote or line \
                 break, for example \";\", \"|\" or \"tab\"; it is {text:?}"
            )
        })
}

/// Reads the quote of an option: one ASCII character, or nothing.
///
/// # Errors
/// The text of what is allowed.
pub fn parse_quote(text: &str) -> Result<Quote, String> {
    if text.is_empty() {
        return Ok(Quote::None);
    }
    let quote = one_byte(text).filter(u8::is_ascii_punctuation);
    quote.map(Quote::Byte).ok_or_else(|| {
        format!(
            "quote must be one ASCII character such as \"'\", or \"\" if fields are in no quotes; it \
             is {text:?}"
        )
    })
}

/// Reads what comments begin with: one ASCII character.
///
/// # Errors
/// The text of what is allowed.
pub fn parse_comment(text: &str) -> Result<u8, String> {
    let comment = one_byte(text).filter(u8::is_ascii_punctuation);
    comment.ok_or_else(|| {
        format!(
            "comment must be one ASCII character that is no letter, digit or blank, for example \
             \"#\"; it is {text:?}"
        )
    })
}

/// Reads what is before decimals: `.` or `,`.
///
/// # Errors
/// The text of what is allowed.
pub fn parse_decimal(text: &str) -> Result<DecimalMark, String> {
    match text {
        "." => Ok(DecimalMark::Point),
        "," => Ok(DecimalMark::Comma),
        _ => Err(format!("decimal must be \".\" or \",\"; it is {text:?}")),
    }
}

/// One byte that does not end a line.
fn one_byte(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Some(*byte),
        _ => None,
    }
}

/// Reads the name of a type.
///
/// # Errors
/// The text of which types there are.
pub fn parse_type(text: &str) -> Result<DataType, String> {
    type_of(text).ok_or_else(|| format!("there is no type {text:?}; there are {TYPES}"))
}

fn type_of(text: &str) -> Option<DataType> {
    use DataType as T;
    Some(match text {
        "text" => T::Utf8,
        "boolean" => T::Boolean,
        "int8" => T::Int8,
        "int16" => T::Int16,
        "int32" => T::Int32,
        "int64" => T::Int64,
        "uint8" => T::UInt8,
        "uint16" => T::UInt16,
        "uint32" => T::UInt32,
        "uint64" => T::UInt64,
        "float32" => T::Float32,
        "float64" => T::Float64,
        "date" => T::Date32,
        text => {
            let (name, argument) = match text.split_once('(') {
                Some((name, rest)) => (name, Some(rest.split_once(')')?)),
                None => match text.strip_suffix(" with zone") {
                    Some(name) => (name, Some(("us", " with zone"))),
                    None => (text, None),
                },
            };
            let (argument, zone) = match argument {
                Some((argument, "")) => (argument, None),
                Some((argument, " with zone")) => (argument, Some("UTC")),
                Some(_) => return None,
                None => ("us", None),
            };
            match (name, zone) {
                ("decimal", None) => decimal_of(argument)?,
                ("timestamp", zone) => T::Timestamp(unit_of(argument)?, zone.map(Into::into)),
                ("time", None) => match unit_of(argument)? {
                    unit @ (TimeUnit::Second | TimeUnit::Millisecond) => T::Time32(unit),
                    unit => T::Time64(unit),
                },
                _ => return None,
            }
        }
    })
}

fn unit_of(text: &str) -> Option<TimeUnit> {
    match text {
        "s" => Some(TimeUnit::Second),
        "ms" => Some(TimeUnit::Millisecond),
        "us" => Some(TimeUnit::Microsecond),
        "ns" => Some(TimeUnit::Nanosecond),
        _ => None,
    }
}

/// `PRECISION,SCALE`: of 38 digits at most, and no more decimals than digits.
fn decimal_of(text: &str) -> Option<DataType> {
    let (precision, scale) = text.split_once(',')?;
    let precision: u8 = precision.trim().parse().ok()?;
    let scale: u8 = scale.trim().parse().ok()?;
    let is_allowed = (1..=DECIMAL128_MAX_PRECISION).contains(&precision) && scale <= precision;
    let scale = i8::try_from(scale).ok()?;
    is_allowed.then_some(DataType::Decimal128(precision, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_found_by_its_name_and_others_are_refused_with_those_that_there_are() {
        use DataType as T;
        for (text, expected) in [
            ("text", T::Utf8),
            ("uint16", T::UInt16),
            ("decimal(10,2)", T::Decimal128(10, 2)),
            ("decimal(38, 0)", T::Decimal128(38, 0)),
            ("time", T::Time64(TimeUnit::Microsecond)),
            ("time(s)", T::Time32(TimeUnit::Second)),
            ("timestamp", T::Timestamp(TimeUnit::Microsecond, None)),
            ("timestamp(ns)", T::Timestamp(TimeUnit::Nanosecond, None)),
            (
                "timestamp with zone",
                T::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ),
            (
                "timestamp(ms) with zone",
                T::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
            ),
        ] {
            assert_eq!(parse_type(text), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "string",
            "Text",
            "int",
            "decimal",
            "decimal(39,0)",
            "decimal(2,3)",
            "decimal(0,0)",
            "decimal(10,2) with zone",
            "time with zone",
            "timestamp(m)",
            "timestamp(us) with",
            "timestamp(us",
        ] {
            let error = parse_type(wrong).unwrap_err();
            assert!(error.contains("decimal(10,2) (12.50)"), "{wrong}: {error}");
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let usual = TextOptions::default;
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for (options, expected) in [
            (
                TextOptions {
                    delimiter: Some(b','),
                    decimal: Some(DecimalMark::Comma),
                    ..usual()
                },
                "another delimiter",
            ),
            (
                TextOptions {
                    delimiter: Some(b'\''),
                    quote: Some(Quote::Byte(b'\'')),
                    ..usual()
                },
                "delimiter and quote",
            ),
            (
                TextOptions {
                    comment: Some(b'"'),
                    ..usual()
                },
                "quote and comment",
            ),
            (
                TextOptions {
                    names: names(&["a", "a"]),
                    header: Some(false),
                    ..usual()
                },
                "\"a\" twice",
            ),
            (
                TextOptions {
                    names: names(&["a"]),
                    ..usual()
                },
                "names needs header",
            ),
            (
                TextOptions {
                    names: names(&["a"]),
                    header: Some(true),
                    types: [("b".to_owned(), DataType::Utf8)].into(),
                    ..usual()
                },
                "\"b\" has a type",
            ),
        ] {
            let error = options.check(TextFormat::Csv).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let comment = TextOptions {
            comment: Some(b'#'),
            ..usual()
        };
        let error = comment.check(TextFormat::Ndjson).unwrap_err();
        assert_eq!(error, "comment is no option of NDJSON files");
    }

    #[test]
    fn a_delimiter_is_one_character_that_no_number_has() {
        for (text, byte) in [(";", b';'), ("tab", b'\t'), ("\\t", b'\t'), ("\u{1}", 1)] {
            assert_eq!(parse_delimiter(text), Ok(byte));
        }
        for wrong in ["", ";;", "a", "1", ".", "\n", "\"", "¬"] {
            assert!(parse_delimiter(wrong).is_err(), "{wrong}");
        }
    }
}
