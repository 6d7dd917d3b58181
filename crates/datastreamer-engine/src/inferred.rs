//! What the columns of CSV, TSV and NDJSON files are: of all rows, because a type that fits the
//! first ones would cut later values short without a word.
//!
//! Arrow's readers infer a file's types; here those of several files are brought together.

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

/// Reads a file at a time.
const READ_BYTES: usize = 1 << 20;

/// Infers the columns of a text file from all its rows. **Blocks**, for as long as it takes to
/// read them.
pub(crate) fn infer(path: &Path, kind: FileKind) -> Result<Schema, EngineError> {
    let wrong = |text: String| EngineError::data(format!("{}: {text}", path.display()));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let bytes = kind
        .unpack(file)
        .map_err(|error| wrong(error.to_string()))?;
    let mut watched = QuotesWatched {
        bytes,
        delimiter: kind.delimiter(),
        place: Place::FieldBegins,
    };
    let bytes = BufReader::with_capacity(READ_BYTES, &mut watched);
    let columns = columns(bytes, kind).map_err(|error| wrong(error.to_string()))?;
    if watched.place == Place::Quoted {
        return Err(wrong("ends within quotes: it is not whole".into()));
    }
    Ok(columns)
}

/// Follows the quotes of CSV (RFC 4180, 2): Arrow's reader takes what a cut file ends with for a
/// field.
struct QuotesWatched<R> {
    bytes: R,
    delimiter: Option<(u8, u8)>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    FieldBegins,
    Bare,
    Quoted,
    /// Behind a quote within quotes: their end, or the first of two.
    QuoteWithin,
}

impl<R: Read> Read for QuotesWatched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into)?;
        let Some((delimiter, quote)) = self.delimiter else {
            return Ok(read);
        };
        let mut place = self.place;
        for byte in &into[..read] {
            place = match (place, *byte) {
                (Place::Quoted, byte) if byte != quote => Place::Quoted,
                (Place::Quoted, _) => Place::QuoteWithin,
                (Place::QuoteWithin | Place::FieldBegins, byte) if byte == quote => Place::Quoted,
                (_, byte) if byte == delimiter || byte == b'\n' || byte == b'\r' => {
                    Place::FieldBegins
                }
                _ => Place::Bare,
            };
        }
        self.place = place;
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

/// The columns of two files together. Those of CSV and TSV go by their place, and must have the
/// same names; those of NDJSON by their name.
pub(crate) fn together(one: Schema, other: &Schema, kind: FileKind) -> Result<Schema, String> {
    if kind.delimiter().is_some() {
        same_places(&one, other)?;
    }
    Ok(Schema::new(fields_together(one.fields(), other.fields())?))
}

/// Says whether columns that go by their place have the same names.
pub(crate) fn same_places(table: &Schema, file: &Schema) -> Result<(), String> {
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

fn fields_together(ones: &Fields, others: &Fields) -> Result<Fields, String> {
    let mut fields: Vec<Arc<Field>> = ones.iter().map(Arc::clone).collect();
    for other in others {
        match fields.iter_mut().find(|field| field.name() == other.name()) {
            Some(field) => {
                let data_type = type_together(field.data_type(), other.data_type());
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

/// The type that holds what both hold; `None` if there is none.
fn type_together(one: &DataType, other: &DataType) -> Option<DataType> {
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
            let element = type_together(one.data_type(), other.data_type())?;
            T::List(Arc::new(Field::new(one.name(), element, true)))
        }
        (T::Struct(ones), T::Struct(others)) => T::Struct(fields_together(ones, others).ok()?),
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
            assert_eq!(type_together(&one, &other), both, "{one} {other}");
            assert_eq!(type_together(&other, &one), both, "{other} {one}");
        }
    }

    #[test]
    fn a_file_that_ends_within_quotes_is_not_whole() {
        let place = |text: &str| {
            let mut watched = QuotesWatched {
                bytes: text.as_bytes(),
                delimiter: Some((b',', b'"')),
                place: Place::FieldBegins,
            };
            io::copy(&mut watched, &mut io::sink()).unwrap();
            watched.place
        };
        for whole in ["a,b\n1,\"x\n\"\n", "a\n5\"\n", "a\n\"\"\"\"\n", "\"a\""] {
            assert_ne!(place(whole), Place::Quoted, "{whole}");
        }
        for cut in ["a,b\n1,\"x\n2,y\n", "a\n\"", "a\n\"\"\"", "a\nx,\"\"\",\n"] {
            assert_eq!(place(cut), Place::Quoted, "{cut}");
        }
    }

    #[test]
    fn columns_of_csv_have_the_same_places() {
        let table = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
        let swapped = schema(&[("b", DataType::Utf8), ("a", DataType::Int64)]);
        let plain = crate::files::Packing::Plain;
        let refused = together(table.clone(), &swapped, FileKind::Csv(plain));
        assert_eq!(
            refused,
            Err("has the columns b, a, and the table a, b".to_owned())
        );
        let by_name = together(table.clone(), &swapped, FileKind::Ndjson(plain));
        assert_eq!(by_name, Ok(table));
    }
}
