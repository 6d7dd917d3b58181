//! JSON: an array of records, or a record a line (NDJSON).
//!
//! [`JsonWriter`] owns the frame and the records. Numbers and times come from `scalar.rs`.
//!
//! Sources: RFC 8259, NDJSON 1.0.

use std::{collections::HashSet, io::Write};

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    TableEnd, TableError, TableWriter,
    column::{self, Cells, Column},
    gather::{BadCell, Gather},
    scalar,
    text::{self, Specials},
};

/// JSON has no number that is none. What is infinite is refused before it could be written.
const SPECIALS: Specials = Specials {
    nan: "null",
    infinity: "",
    minus_infinity: "",
};

const INFINITE: &str = "JSON has no infinity";

/// How records follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// NDJSON: a record a line.
    Lines,
    /// One array of records.
    Array,
}

/// Writes one table as JSON records, each with every column.
///
/// | Arrow | JSON |
/// |---|---|
/// | Boolean | `true`, `false` |
/// | integers, Decimal128 | a number, exact; readers that take all numbers for doubles round beyond 2<sup>53</sup> |
/// | Float16 to Float64 | the shortest number that reads back; NaN is `null`, as JSON has none |
/// | Utf8 | a string |
/// | Timestamp, Date, Time | a string, ISO 8601, in UTC without a zone |
/// | Binary | a string, hexadecimal |
/// | List, FixedSizeList | an array |
/// | null | `null` |
///
/// An infinity fails the write, with its row and column. Structs are refused, and two columns of
/// the same name, of which readers keep one (RFC 8259, 4).
///
/// An array that is aborted is left open, so that no reader takes it. Lines are all whole, and
/// nothing but the transport tells that some are missing.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::StringArray, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_formats::table::{TableEnd, TableWriter, json::{Framing, JsonWriter}};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
/// let names = StringArray::from(vec![Some("a\"b"), None]);
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(names)])?;
/// let mut file = Vec::new();
/// let mut table = Box::new(JsonWriter::new(&mut file, schema, Framing::Lines)?);
/// table.write(&batch)?;
/// table.finish(TableEnd::Complete)?;
/// assert_eq!(file, b"{\"name\":\"a\\\"b\"}\n{\"name\":null}\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JsonWriter<W> {
    rows: Gather<W>,
    framing: Framing,
    /// What stands before each column's value.
    keys: Vec<Vec<u8>>,
    is_empty: bool,
}

impl<W: Write> JsonWriter<W> {
    /// Writes what stands before the first record.
    ///
    /// # Errors
    /// A column that JSON cannot hold, before anything is written; what the output says.
    pub fn new(out: W, schema: SchemaRef, framing: Framing) -> Result<Self, TableError> {
        check(&schema)?;
        let keys = keys(&schema);
        let mut rows = Gather::new(out, schema);
        if framing == Framing::Array {
            rows.bytes.push(b'[');
            rows.hand_over()?;
        }
        Ok(Self {
            rows,
            framing,
            keys,
            is_empty: true,
        })
    }
}

/// Refuses columns that JSON cannot hold.
///
/// # Errors
/// The first such column.
pub(super) fn check(schema: &Schema) -> Result<(), TableError> {
    column::check_kinds(schema, "JSON")?;
    let mut seen = HashSet::new();
    let twice = schema
        .fields()
        .iter()
        .find(|field| !seen.insert(field.name()));
    match twice {
        None => Ok(()),
        Some(field) => Err(TableError::Column {
            column: field.name().clone(),
            problem: "JSON cannot hold two columns of the same name".into(),
        }),
    }
}

impl<W: Write> TableWriter for JsonWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let (keys, is_empty) = (&self.keys, &mut self.is_empty);
        match self.framing {
            Framing::Lines => self.rows.write_rows(batch, |out, columns, row| {
                append_record(out, keys, columns, row)?;
                out.push(b'\n');
                Ok(())
            }),
            Framing::Array => self.rows.write_rows(batch, |out, columns, row| {
                out.extend_from_slice(if *is_empty { b"\n" } else { b",\n" });
                append_record(out, keys, columns, row)?;
                *is_empty = false;
                Ok(())
            }),
        }
    }

    /// Neither framing has a place to say that a limit cut the table.
    fn finish(mut self: Box<Self>, _end: TableEnd) -> Result<(), TableError> {
        if self.framing == Framing::Array {
            self.rows.bytes.extend_from_slice(b"\n]\n");
        }
        self.rows.end()
    }

    fn abort(self: Box<Self>, _reason: &str) -> Result<(), TableError> {
        self.rows.end()
    }
}

fn keys(schema: &Schema) -> Vec<Vec<u8>> {
    let fields = schema.fields().iter().enumerate();
    fields
        .map(|(place, field)| {
            let mut key = vec![if place == 0 { b'{' } else { b',' }];
            append_string(&mut key, field.name());
            key.push(b':');
            key
        })
        .collect()
}

fn append_record(
    out: &mut Vec<u8>,
    keys: &[Vec<u8>],
    columns: &[Column<'_>],
    row: usize,
) -> Result<(), BadCell> {
    if keys.is_empty() {
        out.push(b'{');
    }
    for (place, (key, column)) in keys.iter().zip(columns).enumerate() {
        out.extend_from_slice(key);
        append_value(out, column, row).map_err(|problem| (place, problem))?;
    }
    out.push(b'}');
    Ok(())
}

#[inline]
fn append_value(out: &mut Vec<u8>, column: &Column<'_>, row: usize) -> Result<(), &'static str> {
    if column.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match &column.cells {
        Cells::F32(values) if values[row].is_infinite() => return Err(INFINITE),
        Cells::F64(values) if values[row].is_infinite() => return Err(INFINITE),
        Cells::Text(texts) => append_string(out, texts.get(row)),
        Cells::List(lists, elements) => append_array(out, elements, lists.range(row))?,
        Cells::Bytes(bytes) => {
            out.push(b'"');
            bytes.get(row).iter().for_each(|byte| text::hex(out, *byte));
            out.push(b'"');
        }
        cells if is_time(cells) => {
            out.push(b'"');
            scalar::append(out, cells, row, SPECIALS)?;
            out.push(b'"');
        }
        cells => scalar::append(out, cells, row, SPECIALS)?,
    }
    Ok(())
}

fn is_time(cells: &Cells<'_>) -> bool {
    matches!(
        cells,
        Cells::Date32(_)
            | Cells::Date64(_)
            | Cells::Timestamp(_, _)
            | Cells::Time32(_, _)
            | Cells::Time64(_, _)
    )
}

fn append_array(
    out: &mut Vec<u8>,
    elements: &Column<'_>,
    rows: std::ops::Range<usize>,
) -> Result<(), &'static str> {
    out.push(b'[');
    let first = rows.start;
    for row in rows {
        if row > first {
            out.push(b',');
        }
        append_value(out, elements, row)?;
    }
    out.push(b']');
    Ok(())
}

/// Appends a string (RFC 8259, 7). Most need no escape, and are appended at once.
#[inline]
fn append_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= b' ' && !matches!(byte, b'"' | b'\\') {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..at]);
        append_escape(out, *byte);
        plain_from = at + 1;
    }
    out.extend_from_slice(&bytes[plain_from..]);
    out.push(b'"');
}

#[cold]
fn append_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        byte => {
            out.extend_from_slice(b"\\u00");
            text::hex(out, byte);
        }
    }
}
