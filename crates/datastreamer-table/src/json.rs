//! JSON: an array of records, or a record a line (NDJSON).
//!
//! [`JsonWriter`] owns the frame and the records. Values come from `gather.rs`, and those that it does
//! not render from `json_value.rs`.
//!
//! Sources: RFC 8259, NDJSON 1.0.

use std::{collections::HashSet, io::Write};

use arrow::{
    datatypes::{DataType, Schema, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    TableEnd, TableError, TableWriter,
    buffer::RowBuffer,
    column::{self, Column, zone_mark},
    gather::{Frames, Gather},
    json_value::{self, SPECIALS, append_string, is_escaped},
    text::{self, Specials},
    text_format::TextFormat,
};

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
/// | integers, decimals | a number, exact; readers that take all numbers for doubles round beyond 2<sup>53</sup> |
/// | Float16 to Float64 | the shortest number that reads back; NaN is `null`, as JSON has none |
/// | Utf8 | a string |
/// | Timestamp, Date, Time | a string, ISO 8601; in UTC with `Z` if the column has a zone |
/// | Duration, Interval | a string, ISO 8601: `P1DT2H3.5S` |
/// | Binary | a string, hexadecimal |
/// | List, LargeList, FixedSizeList, ListView | an array |
/// | Struct | an object |
/// | Map | an object if its keys are texts, else an array of `{"key":1,"value":2}` |
/// | Union | the value that is there |
/// | null | `null` |
///
/// An infinity fails the write, with its row and column, and so does a map with a key twice. Two
/// columns, or fields, of the same name are refused: readers keep one of them (RFC 8259, 4). So is a
/// column that is nested more than 100 levels deep, and a nested value of more than 256 MiB.
///
/// An array that is aborted is left open, so that no reader takes it. Lines are all complete, and
/// nothing but the transport tells that some are missing.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::StringArray, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_table::{TableEnd, TableWriter, json::{Framing, JsonWriter}};
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
    frames: Frames,
    records: Records,
}

/// How a table's records are written.
struct Records {
    framing: Framing,
    is_empty: bool,
}

impl<W: Write> JsonWriter<W> {
    /// Writes what stands before the first record.
    ///
    /// # Errors
    /// A column that JSON cannot hold, before anything is written; an error of the output.
    pub fn new(out: W, schema: SchemaRef, framing: Framing) -> Result<Self, TableError> {
        check(&schema)?;
        let frames = frames(&schema, framing);
        let mut rows = Gather::new(out, schema);
        if framing == Framing::Array {
            rows.append(|out| out.push(b'['));
            rows.hand_over()?;
        }
        Ok(Self {
            rows,
            frames,
            records: Records {
                framing,
                is_empty: true,
            },
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
        self.rows
            .write_text_rows(batch, &self.frames, &mut self.records)
    }

    /// Neither framing has a place to say that a limit cut the table.
    fn finish(mut self: Box<Self>, _end: TableEnd) -> Result<(), TableError> {
        if self.records.framing == Framing::Array {
            self.rows.append(|out| out.extend_from_slice(b"\n]\n"));
        }
        self.rows.end()
    }

    fn abort(self: Box<Self>, _reason: &str) -> Result<(), TableError> {
        self.rows.end()
    }
}

/// What stands around values: their names, the quotes of those that are strings, what begins and
/// ends a record.
fn frames(schema: &Schema, framing: Framing) -> Frames {
    let (begin, end): (&[u8], &[u8]) = match framing {
        Framing::Lines => (b"{", b"}\n"),
        Framing::Array => (b",\n{", b"}"),
    };
    let types = column::cell_types(schema);
    let fields = schema.fields().iter().zip(types).enumerate();
    let around = fields.map(|(place, (field, data_type))| {
        let mut key = if place == 0 { vec![] } else { vec![b','] };
        append_string(&mut key, field.name());
        key.push(b':');
        let quote: &[u8] = if is_string(&data_type) { b"\"" } else { b"" };
        [
            [&key, quote].concat(),
            [zone_mark(&data_type), quote].concat(),
            [&key, b"null".as_slice()].concat(),
        ]
    });
    Frames::new(begin, end, &around.collect::<Vec<_>>())
}

/// Whether values have quotes around them.
fn is_string(data_type: &DataType) -> bool {
    !(data_type.is_numeric()
        || data_type.is_nested()
        || matches!(data_type, DataType::Boolean | DataType::Null))
}

impl TextFormat for Records {
    const SPECIALS: Specials = SPECIALS;
    const BOOLEANS: [&'static str; 2] = ["false", "true"];

    fn has_marks(&self, text: &[u8]) -> bool {
        text::any(text, is_escaped)
    }

    /// What the frame leaves to be said.
    fn append_cell(
        &mut self,
        out: &mut Vec<u8>,
        _place: usize,
        column: &Column<'_>,
        row: usize,
    ) -> Result<(), &'static str> {
        json_value::append_bare(out, column, row, SPECIALS)
    }

    /// Nothing stands before the first record of an array.
    #[inline]
    fn row_is_done(&mut self, out: &mut RowBuffer, begun: usize) {
        if self.is_empty && self.framing == Framing::Array {
            out.remove(begun);
        }
        self.is_empty = false;
    }
}
