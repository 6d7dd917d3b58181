//! CSV (RFC 4180) and TSV.
//!
//! [`CsvWriter`] writes a header and a line a row. In CSV a text is quoted where it must be, and an
//! empty text always: an empty field is a null. In TSV tab, line breaks and backslash are written
//! as `\t`, `\n`, `\r` and `\\`, and null as an empty field too.

use std::io::Write;

use arrow::{
    datatypes::{DataType, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    GATHER_BYTES, TableEnd, TableError, TableWriter,
    column::{Cells, Column, cast_columns, cell_types},
    text::{self, BeyondYears, Specials},
};

/// What pandas, DuckDB, polars and astropy all read.
const SPECIALS: Specials = Specials {
    nan: "NaN",
    infinity: "inf",
    minus_infinity: "-inf",
};

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
/// Booleans are `true` and `false`, times ISO 8601, binary values hexadecimal. Lists are refused:
/// no two readers agree on them.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::StringArray, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_formats::table::{TableEnd, TableWriter, csv::{CsvWriter, Delimiter}};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
/// let names = StringArray::from(vec![Some("a,b"), Some(""), None]);
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(names)])?;
/// let mut file = Vec::new();
/// let mut table = Box::new(CsvWriter::new(&mut file, schema, Delimiter::Comma)?);
/// table.write(&batch)?;
/// table.finish(TableEnd::Complete)?;
/// assert_eq!(file, b"name\r\n\"a,b\"\r\n\"\"\r\n\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CsvWriter<W> {
    out: W,
    schema: SchemaRef,
    delimiter: Delimiter,
    /// Encoded, and not yet written.
    gathered: Vec<u8>,
    rows_written: u64,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// A column that the format cannot hold, before anything is written; what the output says.
    pub fn new(out: W, schema: SchemaRef, delimiter: Delimiter) -> Result<Self, TableError> {
        let refused = cell_types(&schema)
            .into_iter()
            .position(|data_type| !holds(&data_type));
        if let Some(place) = refused {
            let field = schema.field(place);
            return Err(TableError::Column {
                column: field.name().clone(),
                problem: format!("{} cannot hold {}", delimiter.name(), field.data_type()),
            });
        }
        let mut gathered = Vec::with_capacity(GATHER_BYTES + GATHER_BYTES / 4);
        for (place, field) in schema.fields().iter().enumerate() {
            if place > 0 {
                gathered.push(delimiter.byte());
            }
            delimiter.append_text(&mut gathered, field.name());
        }
        gathered.extend_from_slice(delimiter.line_end());
        let mut writer = Self {
            out,
            schema,
            delimiter,
            gathered,
            rows_written: 0,
        };
        writer.hand_over()?;
        Ok(writer)
    }

    fn hand_over(&mut self) -> Result<(), TableError> {
        self.out.write_all(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }

    fn end(mut self) -> Result<(), TableError> {
        self.hand_over()?;
        Ok(self.out.flush()?)
    }

    fn append_row(
        &mut self,
        columns: &[Column<'_>],
        row: usize,
    ) -> Result<(), (usize, BeyondYears)> {
        let out = &mut self.gathered;
        for (place, column) in columns.iter().enumerate() {
            if place > 0 {
                out.push(self.delimiter.byte());
            }
            if !column.is_null(row) {
                append_cell(out, self.delimiter, column, row)
                    .map_err(|problem| (place, problem))?;
            }
        }
        out.extend_from_slice(self.delimiter.line_end());
        Ok(())
    }
}

impl<W: Write> TableWriter for CsvWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let arrays = cast_columns(batch)?;
        let columns: Option<Vec<_>> = arrays.iter().map(|array| Column::of(array)).collect();
        let columns = columns
            .filter(|columns| columns.len() == self.schema.fields().len())
            .ok_or_else(|| {
                TableError::Schema("a batch has another schema than its table".into())
            })?;
        for row in 0..batch.num_rows() {
            let kept = self.gathered.len();
            if let Err((place, BeyondYears)) = self.append_row(&columns, row) {
                self.gathered.truncate(kept);
                return Err(TableError::Value {
                    row: self.rows_written,
                    column: self.schema.field(place).name().clone(),
                    problem: BeyondYears::PROBLEM.into(),
                });
            }
            self.rows_written += 1;
            if self.gathered.len() >= GATHER_BYTES {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    /// Neither format has a place to say that a limit cut the table.
    fn finish(self: Box<Self>, _end: TableEnd) -> Result<(), TableError> {
        self.end()
    }

    fn abort(self: Box<Self>, _reason: &str) -> Result<(), TableError> {
        self.end()
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

    fn append_text(self, out: &mut Vec<u8>, text: &str) {
        match self {
            Self::Comma => append_quoted(out, text.as_bytes()),
            Self::Tab => append_escaped(out, text.as_bytes()),
        }
    }
}

fn holds(data_type: &DataType) -> bool {
    use DataType as T;
    data_type.is_integer()
        || matches!(
            data_type,
            T::Boolean | T::Float32 | T::Float64 | T::Decimal128(_, _)
        )
        || matches!(
            data_type,
            T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Binary | T::LargeBinary | T::BinaryView
        )
        || matches!(
            data_type,
            T::FixedSizeBinary(_)
                | T::Timestamp(_, _)
                | T::Date32
                | T::Date64
                | T::Time32(_)
                | T::Time64(_)
        )
}

#[inline]
fn append_cell(
    out: &mut Vec<u8>,
    delimiter: Delimiter,
    column: &Column<'_>,
    row: usize,
) -> Result<(), BeyondYears> {
    match &column.cells {
        Cells::Bool(array) => text::boolean(out, array.value(row)),
        Cells::I8(values) => text::integer(out, values[row]),
        Cells::I16(values) => text::integer(out, values[row]),
        Cells::I32(values) => text::integer(out, values[row]),
        Cells::I64(values) => text::integer(out, values[row]),
        Cells::U8(values) => text::integer(out, values[row]),
        Cells::U16(values) => text::integer(out, values[row]),
        Cells::U32(values) => text::integer(out, values[row]),
        Cells::U64(values) => text::integer(out, values[row]),
        Cells::F32(values) => text::float(out, values[row], SPECIALS),
        Cells::F64(values) => text::float(out, values[row], SPECIALS),
        Cells::Decimal(values, scale) => text::decimal(out, values[row], *scale),
        Cells::Text(texts) => delimiter.append_text(out, texts.get(row)),
        Cells::Bytes(bytes) => bytes.get(row).iter().for_each(|byte| text::hex(out, *byte)),
        cells => text::time(out, cells, row)?,
    }
    Ok(())
}

#[inline]
fn append_quoted(out: &mut Vec<u8>, text: &[u8]) {
    let must_quote = |byte: &u8| matches!(byte, b',' | b'"' | b'\r' | b'\n');
    if !text.is_empty() && !text.iter().any(must_quote) {
        out.extend_from_slice(text);
        return;
    }
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

#[inline]
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
