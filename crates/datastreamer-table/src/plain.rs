//! A table as plain text with its columns aligned: for people and terminals.
//!
//! [`PlainWriter`] owns widths and padding. Cells come from `shown.rs`.

use std::{io::Write, sync::Arc};

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    TableEnd, TableError, TableWriter, column,
    column::{Column, cast_columns, cell_types},
    gather::{BadCell, Gather},
    meta, shown,
};

/// Widths come from so many rows of the first batch: enough to be right for most of a table.
const MEASURED_ROWS: usize = 1000;

/// One long text must not widen every row: no column is wider, in characters, for its values' sake.
const WIDTH_MAX: usize = 60;

/// What stands for null.
const NULL: &[u8] = b"-";

/// Writes one table as aligned columns: names, units where there are any, a rule, rows.
///
/// Widths, in characters, are those of the first batch's values. A value that is wider moves the
/// rest of its row; it is never cut, and two spaces at least are between columns. Null is `-`.
/// Control characters, line breaks among them, are written as Rust escapes (`\n`, `\u{1b}`), so that
/// a row is a line and a terminal obeys nothing.
///
/// It is for people: a text `-` looks like null. Where a limit cut the table, or it failed, the last
/// line begins with `--` and says so.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_table::{TableEnd, TableWriter, plain::PlainWriter};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, true)]));
/// let numbers = Arc::new(Int32Array::from(vec![Some(700), None]));
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![numbers])?;
/// let mut file = Vec::new();
/// let mut table = Box::new(PlainWriter::new(&mut file, schema)?);
/// table.write(&batch)?;
/// table.finish(TableEnd::Complete)?;
/// assert_eq!(file, b"  n\n---\n700\n  -\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PlainWriter<W> {
    rows: Gather<W>,
    columns: Vec<Alignment>,
    /// The head follows the first rows' widths.
    has_head: bool,
    /// What is said where a limit has cut the table.
    limit: Option<String>,
    /// A cell before it is padded.
    cell: Vec<u8>,
}

struct Alignment {
    /// In characters.
    width: usize,
    is_right: bool,
    is_last: bool,
}

impl<W: Write> PlainWriter<W> {
    /// Prepares a table; nothing is written before the first rows, or the end.
    ///
    /// # Errors
    /// A column that cannot be shown.
    pub fn new(out: W, schema: SchemaRef) -> Result<Self, TableError> {
        check(&schema)?;
        let count = schema.fields().len();
        let columns = schema.fields().iter().zip(cell_types(&schema));
        let columns = columns.enumerate().map(|(place, (field, data_type))| {
            let unit = meta::of_column(field, meta::UNIT).unwrap_or_default();
            Alignment {
                width: width_of(field.name()).max(width_of(unit)).max(1),
                is_right: shown::is_set_right(&data_type),
                is_last: place + 1 == count,
            }
        });
        Ok(Self {
            columns: columns.collect(),
            rows: Gather::new(out, schema),
            has_head: false,
            limit: None,
            cell: Vec::new(),
        })
    }

    /// Says, where a limit has cut the table, which one it was.
    pub fn with_limit(self, limit: Option<String>) -> Self {
        Self { limit, ..self }
    }

    /// Widens columns to what these rows need.
    fn measure(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let arrays = cast_columns(batch)?;
        for (alignment, array) in self.columns.iter_mut().zip(&arrays) {
            let Some(column) = Column::of(array) else {
                continue;
            };
            for row in (0..batch.num_rows()).filter(|row| !column.is_null(*row)) {
                self.cell.clear();
                // What cannot be written fails when it is.
                if shown::append_cell(&mut self.cell, &column, row).is_ok() {
                    escape_controls(&mut self.cell);
                    let width = characters(&self.cell).min(WIDTH_MAX);
                    alignment.width = alignment.width.max(width);
                }
            }
        }
        Ok(())
    }

    fn append_head(&mut self) {
        let schema = Arc::clone(self.rows.schema());
        let columns = &self.columns;
        let names = schema.fields().iter().map(|field| field.name());
        let unit = |field| meta::of_column(field, meta::UNIT).unwrap_or_default();
        let units = schema.fields().iter().map(|field| unit(field));
        let rules = columns.iter().map(|column| "-".repeat(column.width));
        self.rows.append(|out| {
            append_line(out, columns, names);
            if has_units(&schema) {
                append_line(out, columns, units);
            }
            append_line(out, columns, rules);
        });
        self.has_head = true;
    }

    fn end(mut self, note: &str) -> Result<(), TableError> {
        if !self.has_head {
            self.append_head();
        }
        if !note.is_empty() {
            let mut line = format!("-- {note}").into_bytes();
            escape_controls(&mut line);
            line.push(b'\n');
            self.rows.append(|out| out.extend_from_slice(&line));
        }
        self.rows.end()
    }
}

/// Refuses columns that cannot be shown.
///
/// # Errors
/// The first such column.
pub(super) fn check(schema: &Schema) -> Result<(), TableError> {
    column::check_kinds(schema, "text")
}

impl<W: Write> TableWriter for PlainWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if !self.has_head {
            self.measure(&batch.slice(0, MEASURED_ROWS.min(batch.num_rows())))?;
            self.append_head();
        }
        let (alignments, cell) = (&self.columns, &mut self.cell);
        self.rows.write_rows(batch, |out, columns, row| {
            append_row(out, cell, alignments, columns, row)
        })
    }

    fn finish(self: Box<Self>, end: TableEnd) -> Result<(), TableError> {
        const CUT: &str = "a limit cut the table here: it has more rows";
        let note = match (end, &self.limit) {
            (TableEnd::Complete, _) => String::new(),
            (TableEnd::Overflow, None) => CUT.to_owned(),
            (TableEnd::Overflow, Some(limit)) => format!("{CUT} ({limit})"),
        };
        self.end(&note)
    }

    /// The last line says why there are no more rows.
    fn abort(self: Box<Self>, reason: &str) -> Result<(), TableError> {
        self.end(&format!(
            "the table failed here and is incomplete: {reason}"
        ))
    }
}

fn has_units(schema: &Schema) -> bool {
    let mut fields = schema.fields().iter();
    fields.any(|field| meta::of_column(field, meta::UNIT).is_some())
}

fn append_line(
    out: &mut Vec<u8>,
    columns: &[Alignment],
    texts: impl Iterator<Item = impl AsRef<str>>,
) {
    for (alignment, text) in columns.iter().zip(texts) {
        let mut cell = text.as_ref().as_bytes().to_vec();
        escape_controls(&mut cell);
        append_aligned(out, alignment, &cell);
    }
    out.push(b'\n');
}

fn append_row(
    out: &mut Vec<u8>,
    cell: &mut Vec<u8>,
    alignments: &[Alignment],
    columns: &[Column<'_>],
    row: usize,
) -> Result<(), BadCell> {
    for (place, (alignment, column)) in alignments.iter().zip(columns).enumerate() {
        cell.clear();
        if column.is_null(row) {
            cell.extend_from_slice(NULL);
        } else {
            shown::append_cell(cell, column, row).map_err(|problem| (place, problem))?;
            escape_controls(cell);
        }
        append_aligned(out, alignment, cell);
    }
    out.push(b'\n');
    Ok(())
}

/// Appends a cell, and the space to the next. Nothing follows the last but the line's end.
fn append_aligned(out: &mut Vec<u8>, alignment: &Alignment, cell: &[u8]) {
    let padding = alignment.width.saturating_sub(characters(cell));
    let (before, after) = match (alignment.is_right, alignment.is_last) {
        (true, true) => (padding, 0),
        (true, false) => (padding, 2),
        (false, true) => (0, 0),
        (false, false) => (0, padding + 2),
    };
    out.resize(out.len() + before, b' ');
    out.extend_from_slice(cell);
    out.resize(out.len() + after, b' ');
}

fn width_of(text: &str) -> usize {
    let mut cell = text.as_bytes().to_vec();
    escape_controls(&mut cell);
    characters(&cell)
}

/// The characters of UTF-8: its bytes that continue none.
fn characters(utf8: &[u8]) -> usize {
    utf8.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Replaces control characters by their escapes.
fn escape_controls(cell: &mut Vec<u8>) {
    // 0xc2 leads those beyond ASCII, and some that are none.
    let may_be_control = |byte: &u8| *byte < b' ' || matches!(byte, 0x7f | 0xc2);
    if !cell.iter().any(may_be_control) {
        return;
    }
    let mut escaped = String::with_capacity(cell.len() + 8);
    for character in String::from_utf8_lossy(cell).chars() {
        match character.is_control() {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    cell.clear();
    cell.extend_from_slice(escaped.as_bytes());
}
