//! Infers the columns of CSV, TSV and NDJSON files from all their rows: a type that is inferred from
//! the first rows would silently truncate later values.
//!
//! Arrow's readers infer the types of one file. This file merges those of several files.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
};

use arrow::{
    datatypes::{DataType, Field, Fields, Schema},
    error::ArrowError,
};
use datafusion::arrow::{csv, json};

use crate::{error::EngineError, files::FileKind};

/// 1 MiB is read from a file at a time.
const READ_BYTES: usize = 1 << 20;

/// Infers the columns of a text file from all its rows. **Blocks** for as long as it takes to read
/// them.
///
/// # Errors
/// The file cannot be read or parsed, or a CSV file ends within quotes.
pub(crate) fn infer(path: &Path, kind: FileKind) -> Result<Schema, EngineError> {
    let wrong = |text: String| EngineError::data(format!("{}: {text}", path.display()));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let bytes = kind
        .decompress(file)
        .map_err(|error| wrong(error.to_string()))?;
    let mut tracker = QuoteTracker {
        bytes,
        delimiter: kind.delimiter(),
        state: QuoteState::FieldStart,
    };
    let bytes = BufReader::with_capacity(READ_BYTES, &mut tracker);
    let columns = columns(bytes, kind).map_err(|error| wrong(error.to_string()))?;
    if tracker.state == QuoteState::Quoted {
        return Err(wrong("ends within quotes: the file is incomplete".into()));
    }
    Ok(columns)
}

/// Tracks the quotes of a CSV file while it is read (RFC 4180, section 2): Arrow's reader accepts a
/// file that ends within a quoted field.
struct QuoteTracker<R> {
    bytes: R,
    delimiter: Option<(u8, u8)>,
    state: QuoteState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuoteState {
    FieldStart,
    Unquoted,
    Quoted,
    /// After a quote in a quoted field: the end of the field, or the first of two quotes.
    QuoteInQuoted,
}

impl<R: Read> Read for QuoteTracker<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into)?;
        let Some((delimiter, quote)) = self.delimiter else {
            return Ok(read);
        };
        let mut state = self.state;
        for byte in &into[..read] {
            state = match (state, *byte) {
                (QuoteState::Quoted, byte) if byte != quote => QuoteState::Quoted,
                (QuoteState::Quoted, _) => QuoteState::QuoteInQuoted,
                (QuoteState::QuoteInQuoted | QuoteState::FieldStart, byte) if byte == quote => {
                    QuoteState::Quoted
                }
                (_, byte) if byte == delimiter || byte == b'\n' || byte == b'\r' => {
                    QuoteState::FieldStart
                }
                _ => QuoteState::Unquoted,
            };
        }
        self.state = state;
        Ok(read)
    }
}

fn columns(bytes: impl BufRead, kind: FileKind) -> Result<Schema, ArrowError> {
    match kind.delimiter() {
        Some((delimiter, quote)) => {
            let format = csv::reader::Format::default()
                .with_header(true)
                .with_delimiter(delimiter)
                .with_quote(quote);
            Ok(format.infer_schema(bytes, None)?.0)
        }
        None => Ok(json::reader::infer_json_schema(bytes, None)?.0),
    }
}

/// Merges the columns of two files. Those of CSV and TSV are matched by position, and must have the
/// same names; those of NDJSON are matched by name.
///
/// # Errors
/// The text of why there is no table of both: other columns, or types without a common one.
pub(crate) fn merge_inferred(
    one: Schema,
    other: &Schema,
    kind: FileKind,
) -> Result<Schema, String> {
    if kind.delimiter().is_some() {
        check_same_columns(&one, other)?;
    }
    Ok(Schema::new(merge_fields(one.fields(), other.fields())?))
}

/// Checks that columns that are matched by position have the same names.
///
/// # Errors
/// The text of the difference.
pub(crate) fn check_same_columns(table: &Schema, file: &Schema) -> Result<(), String> {
    let names = |schema: &Schema| {
        let fields = schema.fields().iter();
        fields.map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    let (table, file) = (names(table), names(file));
    match table == file {
        true => Ok(()),
        false => Err(format!(
            "has the columns {}, and the table {}",
            file.join(", "),
            table.join(", ")
        )),
    }
}

fn merge_fields(ones: &Fields, others: &Fields) -> Result<Fields, String> {
    let mut fields: Vec<Arc<Field>> = ones.iter().map(Arc::clone).collect();
    for other in others {
        match fields.iter_mut().find(|field| field.name() == other.name()) {
            Some(field) => {
                let data_type = common_type(field.data_type(), other.data_type());
                let data_type = data_type.ok_or_else(|| {
                    format!(
                        "column {:?} is {}, and {} in the table",
                        other.name(),
                        other.data_type(),
                        field.data_type()
                    )
                })?;
                *field = Arc::new(Field::new(other.name(), data_type, true));
            }
            None => fields.push(Arc::clone(other)),
        }
    }
    Ok(fields.into())
}

/// Returns the type that can hold the values of both; `None` if there is none.
fn common_type(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match (one, other) {
        (one, other) if one == other => one.clone(),
        (T::Null, any) | (any, T::Null) => any.clone(),
        (T::Int64, T::Float64) | (T::Float64, T::Int64) => T::Float64,
        (T::Date32, T::Timestamp(unit, zone)) | (T::Timestamp(unit, zone), T::Date32) => {
            T::Timestamp(*unit, zone.clone())
        }
        (T::Timestamp(one, zone), T::Timestamp(other, same)) if zone == same => {
            T::Timestamp(*one.max(other), zone.clone())
        }
        (T::List(one), T::List(other)) => {
            let element = common_type(one.data_type(), other.data_type())?;
            T::List(Arc::new(Field::new(one.name(), element, true)))
        }
        (T::Struct(ones), T::Struct(others)) => T::Struct(merge_fields(ones, others).ok()?),
        (one, other) if one.is_nested() || other.is_nested() => return None,
        _ => T::Utf8,
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let fields = columns.iter();
        let fields = fields.map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Schema::new(fields.collect::<Vec<_>>())
    }

    #[test]
    fn two_types_become_one_that_holds_both() {
        use DataType as T;
        let seconds = T::Timestamp(TimeUnit::Second, None);
        let millis = T::Timestamp(TimeUnit::Millisecond, None);
        for (one, other, both) in [
            (T::Null, T::Boolean, Some(T::Boolean)),
            (T::Int64, T::Float64, Some(T::Float64)),
            (T::Int64, T::Utf8, Some(T::Utf8)),
            (T::Date32, seconds.clone(), Some(seconds.clone())),
            (seconds, millis.clone(), Some(millis)),
            (T::new_list(T::Int64, true), T::Int64, None),
        ] {
            assert_eq!(common_type(&one, &other), both, "{one} {other}");
            assert_eq!(common_type(&other, &one), both, "{other} {one}");
        }
    }

    #[test]
    fn a_file_that_ends_within_quotes_is_incomplete() {
        let state = |text: &str| {
            let mut tracker = QuoteTracker {
                bytes: text.as_bytes(),
                delimiter: Some((b',', b'"')),
                state: QuoteState::FieldStart,
            };
            io::copy(&mut tracker, &mut io::sink()).unwrap();
            tracker.state
        };
        for complete in ["a,b\n1,\"x\n\"\n", "a\n5\"\n", "a\n\"\"\"\"\n", "\"a\""] {
            assert_ne!(state(complete), QuoteState::Quoted, "{complete}");
        }
        for cut in ["a,b\n1,\"x\n2,y\n", "a\n\"", "a\n\"\"\"", "a\nx,\"\"\",\n"] {
            assert_eq!(state(cut), QuoteState::Quoted, "{cut}");
        }
    }

    #[test]
    fn columns_of_csv_are_matched_by_position() {
        let table = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
        let swapped = schema(&[("b", DataType::Utf8), ("a", DataType::Int64)]);
        let plain = crate::files::Compression::None;
        let refused = merge_inferred(table.clone(), &swapped, FileKind::Csv(plain));
        assert_eq!(
            refused,
            Err("has the columns b, a, and the table a, b".to_owned())
        );
        let by_name = merge_inferred(table.clone(), &swapped, FileKind::Ndjson(plain));
        assert_eq!(by_name, Ok(table));
    }
}
