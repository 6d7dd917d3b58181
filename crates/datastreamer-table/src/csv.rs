//! CSV (RFC 4180) and TSV.
//!
//! [`CsvWriter`] writes a header and a line a row. In CSV a text is quoted where it must be, and one
//! that is empty, or empty bytes, always: an empty field is a null. In TSV tab, line breaks and
//! backslash are written as `\t`, `\n`, `\r` and `\\`, and null as an empty field too.
//!
//! No line is blank: pandas, pyarrow and astropy skip those, and with them a row. In a table of one
//! column a null, an empty text and one of blanks have quotes, in TSV as well, whose readers know
//! them. So null and an empty text are the same there, and polars, which takes nothing in quotes for
//! a null number, must be given a column's type. A text of blanks and quotes alone is quoted as in
//! CSV then, as it would be taken for one of these.

use std::{io::Write, sync::Arc};

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    TableEnd, TableError, TableWriter,
    buffer::RowBuffer,
    column::{Cells, Column, cell_types, check_kinds, zone_mark},
    gather::{Frames, Gather},
    json_value, scalar,
    text::{self, Specials},
    text_format::TextFormat,
};

/// At the beginning of a file readers take it for no part of the text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What is kept of the room for a nested value's JSON: few are longer.
const JSON_BYTES_KEPT: usize = 64 * 1024;

/// How fields are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    /// CSV: lines end with CR LF (RFC 4180, 2.1).
    Comma,
    /// TSV: lines end with LF (IANA, text/tab-separated-values).
    Tab,
}

/// Writes one table as CSV or TSV.
///
/// Booleans are `true` and `false`, times ISO 8601 (in UTC with `Z` if the column has a zone), lengths
/// of time too (`P1DT2H3.5S`), binary values hexadecimal. Nested values are JSON, as
/// [`JsonWriter`](super::json::JsonWriter) writes them.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int32Array, StringArray};
/// use arrow::{datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_table::{TableEnd, TableWriter, csv::{CsvWriter, Delimiter}};
///
/// let schema = Arc::new(Schema::new(vec![
///     Field::new("n", DataType::Int32, true),
///     Field::new("name", DataType::Utf8, true),
/// ]));
/// let numbers = Int32Array::from(vec![Some(1), None, Some(3)]);
/// let names = StringArray::from(vec![Some("a,b"), Some(""), None]);
/// let columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(names)];
/// let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
/// let mut file = Vec::new();
/// let mut table = Box::new(CsvWriter::new(&mut file, schema, Delimiter::Comma)?);
/// table.write(&batch)?;
/// table.finish(TableEnd::Complete)?;
/// assert_eq!(file, b"n,name\r\n1,\"a,b\"\r\n,\"\"\r\n3,\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CsvWriter<W> {
    rows: Gather<W>,
    frames: Frames,
    fields: Fields,
}

/// How a table's fields are written.
struct Fields {
    delimiter: Delimiter,
    /// The table has one column, so that a line may be blank.
    are_alone: bool,
    /// A nested value as JSON, before it is escaped.
    json: Vec<u8>,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// A column that the format cannot hold, before anything is written; an error of the output.
    pub fn new(out: W, schema: SchemaRef, delimiter: Delimiter) -> Result<Self, TableError> {
        Self::marked(out, schema, delimiter, false)
    }

    /// The same, with a byte order mark before the header if it `has_mark`: without one some
    /// spreadsheets take UTF-8 for another encoding.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn marked(
        out: W,
        schema: SchemaRef,
        delimiter: Delimiter,
        has_mark: bool,
    ) -> Result<Self, TableError> {
        check(&schema, delimiter)?;
        let columns = schema.fields().len();
        let mut rows = Gather::new(out, Arc::clone(&schema));
        rows.append(|out| {
            if has_mark {
                out.extend_from_slice(BYTE_ORDER_MARK.encode_utf8(&mut [0; 4]).as_bytes());
            }
            append_header(out, &schema, delimiter);
        });
        rows.hand_over()?;
        let types = cell_types(&schema);
        let around = types.iter().enumerate().map(|(place, data_type)| {
            let before = match place {
                0 => Vec::new(),
                _ => vec![delimiter.byte()],
            };
            [before.clone(), zone_mark(data_type).to_vec(), before]
        });
        let around: Vec<_> = around.collect();
        Ok(Self {
            rows,
            frames: Frames::new(b"", delimiter.line_end(), &around),
            fields: Fields {
                delimiter,
                are_alone: columns == 1,
                json: Vec::new(),
            },
        })
    }
}

/// Refuses columns that the format cannot hold.
///
/// # Errors
/// The first such column.
pub(super) fn check(schema: &Schema, delimiter: Delimiter) -> Result<(), TableError> {
    check_kinds(schema, delimiter.name())?;
    // TSV has no quotes to hide it behind.
    match schema.fields().first() {
        Some(field) if delimiter == Delimiter::Tab && field.name().starts_with(BYTE_ORDER_MARK) => {
            let problem = "readers take U+FEFF at the beginning of a file for a byte order mark";
            Err(TableError::Column {
                column: field.name().clone(),
                problem: problem.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

fn append_header(out: &mut Vec<u8>, schema: &Schema, delimiter: Delimiter) {
    let fields = schema.fields();
    for (place, field) in fields.iter().enumerate() {
        let name = field.name();
        let is_first = place == 0;
        let is_escaped = delimiter == Delimiter::Tab && delimiter.has_marks(name.as_bytes());
        let is_blank = fields.len() == 1 && !is_escaped && delimiter.is_blank_line(name.as_bytes());
        if !is_first {
            out.push(delimiter.byte());
        }
        match is_blank || (is_first && name.starts_with(BYTE_ORDER_MARK)) {
            true => append_in_quotes(out, name.as_bytes()),
            false => delimiter.append_text(out, name),
        }
    }
    out.extend_from_slice(delimiter.line_end());
}

impl TextFormat for Fields {
    const SPECIALS: Specials = scalar::SPECIALS;
    const BOOLEANS: [&'static str; 2] = ["false", "true"];

    fn has_marks(&self, text: &[u8]) -> bool {
        self.delimiter.has_marks(text)
    }

    /// Texts with marks or without anything, and what is rendered for no format.
    fn append_cell(
        &mut self,
        out: &mut Vec<u8>,
        _place: usize,
        column: &Column<'_>,
        row: usize,
    ) -> Result<(), &'static str> {
        match &column.cells {
            Cells::Text(texts) => self.delimiter.append_text(out, texts.get(row)),
            Cells::Bytes(bytes) if bytes.get(row).is_empty() => self.delimiter.append_text(out, ""),
            Cells::Bytes(bytes) => bytes.get(row).iter().for_each(|byte| text::hex(out, *byte)),
            cells if cells.are_nested() => {
                self.json.clear();
                json_value::append_bare(&mut self.json, column, row, json_value::SPECIALS)?;
                self.delimiter.append_bytes(out, &self.json);
                self.json.shrink_to(JSON_BYTES_KEPT);
            }
            cells => scalar::append(out, cells, row, Self::SPECIALS)?,
        }
        Ok(())
    }

    /// Sets a line in quotes if it must not stand alone as it is.
    #[inline]
    fn row_is_done(&mut self, out: &mut RowBuffer, begun: usize) {
        if self.are_alone {
            let end = out.len() - self.delimiter.line_end().len();
            if self.delimiter.is_blank_line(&out.as_bytes()[begun..end]) {
                set_in_quotes(out, begun, end);
            }
        }
    }
}

fn set_in_quotes(out: &mut RowBuffer, begun: usize, end: usize) {
    out.insert(end, b'"');
    for at in (begun..end).rev() {
        if out.as_bytes()[at] == b'"' {
            out.insert(at, b'"');
        }
    }
    out.insert(begun, b'"');
}

impl<W: Write> TableWriter for CsvWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        self.rows
            .write_text_rows(batch, &self.frames, &mut self.fields)
    }

    /// Neither format has a place to say that a limit cut the table.
    fn finish(self: Box<Self>, _end: TableEnd) -> Result<(), TableError> {
        self.rows.end()
    }

    fn abort(self: Box<Self>, _reason: &str) -> Result<(), TableError> {
        self.rows.end()
    }
}

impl Delimiter {
    fn name(self) -> &'static str {
        match self {
            Self::Comma => "CSV",
            Self::Tab => "TSV",
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Tab => b'\t',
        }
    }

    fn line_end(self) -> &'static [u8] {
        match self {
            Self::Comma => b"\r\n",
            Self::Tab => b"\n",
        }
    }

    /// Says whether a field must have quotes around it, or an escape.
    #[inline]
    fn has_marks(self, text: &[u8]) -> bool {
        match self {
            Self::Comma => text::any(text, |byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')),
            Self::Tab => text::any(text, |byte| matches!(byte, b'\t' | b'\n' | b'\r' | b'\\')),
        }
    }

    /// Says whether a line that is one field would be skipped, or, in TSV, be taken for one that has
    /// quotes for that reason.
    #[inline]
    fn is_blank_line(self, line: &[u8]) -> bool {
        let is_tab = self == Self::Tab;
        let mut bytes = line.iter();
        bytes.all(|byte| byte.is_ascii_whitespace() || is_tab && *byte == b'"')
    }

    fn append_text(self, out: &mut Vec<u8>, text: &str) {
        self.append_bytes(out, text.as_bytes());
    }

    /// Appends a text in UTF-8.
    fn append_bytes(self, out: &mut Vec<u8>, text: &[u8]) {
        match self {
            Self::Comma if text.is_empty() || self.has_marks(text) => append_in_quotes(out, text),
            Self::Comma => out.extend_from_slice(text),
            Self::Tab => append_escaped(out, text),
        }
    }
}

fn append_in_quotes(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'"', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(b'"');
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn append_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte => out.push(*byte),
        }
    }
}
