//! A table as a page for people: no more rows than somebody looks at.
//!
//! [`HtmlWriter`] owns the page, `html.css` how it looks. Cells come from `shown.rs`.
//!
//! Source: HTML (WHATWG living standard), 13.1.

use std::{io::Write, sync::Arc};

use arrow::{
    datatypes::{Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    TableEnd, TableError, TableWriter, column,
    column::Column,
    gather::{BadCell, Gather},
    meta, shown,
};

/// How many rows a page has unless its maker says otherwise: browsers lay so many out at once.
pub const ROWS_MAX: u64 = 1000;

const STYLE: &str = include_str!("html.css");

/// Writes the first rows of a table as one HTML page, with nothing to load and no script.
///
/// The head names the columns, with their units, and has their descriptions as titles. Null is an
/// empty cell with a background of its own. What text cannot hold in HTML, the control characters,
/// becomes U+FFFD. Below the table stands how many rows are shown and whether there are more; in a
/// page that was aborted, why.
///
/// Once a row was left out [`is_full`](TableWriter::is_full) is true: the source may stop, and
/// [`finish`](TableWriter::finish) with [`TableEnd::Complete`] is right then too.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_table::{TableEnd, TableWriter, html::HtmlWriter};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
/// let numbers = Arc::new(Int32Array::from(vec![7, 8]));
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![numbers])?;
/// let mut page = Vec::new();
/// let mut table = Box::new(HtmlWriter::new(&mut page, schema, 1)?);
/// table.write(&batch)?;
/// assert!(table.is_full());
/// table.finish(TableEnd::Complete)?;
/// assert!(String::from_utf8(page)?.contains("The first row of a table that has more."));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HtmlWriter<W> {
    rows: Gather<W>,
    rows_max: u64,
    rows_shown: u64,
    has_more: bool,
    /// A cell before it is escaped.
    cell: Vec<u8>,
}

impl<W: Write> HtmlWriter<W> {
    /// Writes the page up to its first row. No more than `rows_max` rows will be shown.
    ///
    /// # Errors
    /// A column that cannot be shown, before anything is written; an error of the output.
    pub fn new(out: W, schema: SchemaRef, rows_max: u64) -> Result<Self, TableError> {
        check(&schema)?;
        let mut rows = Gather::new(out, Arc::clone(&schema));
        rows.append(|out| append_head(out, &schema));
        rows.hand_over()?;
        Ok(Self {
            rows,
            rows_max,
            rows_shown: 0,
            has_more: false,
            cell: Vec::new(),
        })
    }

    /// Everything after the last row.
    fn end(mut self, class: &str, note: &str) -> Result<(), TableError> {
        self.rows.append(|out| {
            out.extend_from_slice(b"</tbody>\n</table>\n</div>\n<p class=\"");
            out.extend_from_slice(class.as_bytes());
            out.extend_from_slice(b"\">");
            append_escaped(out, note);
            out.extend_from_slice(b"</p>\n</body>\n</html>\n");
        });
        self.rows.end()
    }
}

/// Refuses columns that cannot be shown.
///
/// # Errors
/// The first such column.
pub(super) fn check(schema: &Schema) -> Result<(), TableError> {
    column::check_kinds(schema, "HTML")
}

impl<W: Write> TableWriter for HtmlWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let left = usize::try_from(self.rows_max - self.rows_shown).unwrap_or(usize::MAX);
        let shown = left.min(batch.num_rows());
        self.has_more |= batch.num_rows() > shown;
        let (cell, rows_shown) = (&mut self.cell, &mut self.rows_shown);
        self.rows
            .write_rows(&batch.slice(0, shown), |out, columns, row| {
                append_row(out, cell, columns, row)?;
                *rows_shown += 1;
                Ok(())
            })
    }

    fn finish(self: Box<Self>, end: TableEnd) -> Result<(), TableError> {
        let has_more = self.has_more || end == TableEnd::Overflow;
        let note = match (self.rows_shown, has_more) {
            (1, false) => "The only row.".to_owned(),
            (rows, false) => format!("All {rows} rows."),
            (1, true) => "The first row of a table that has more.".to_owned(),
            (rows, true) => format!("The first {rows} rows of a table that has more."),
        };
        self.end("end", &note)
    }

    /// The page is closed and says why there are no more rows.
    fn abort(self: Box<Self>, reason: &str) -> Result<(), TableError> {
        let rows = self.rows_shown;
        let note = format!("The table failed after {rows} rows and is incomplete: {reason}");
        self.end("failed", &note)
    }

    fn is_full(&self) -> bool {
        self.has_more
    }
}

fn append_head(out: &mut Vec<u8>, schema: &Schema) {
    let name = meta::of_table(schema, meta::NAME).unwrap_or("Table");
    let style_begin = concat!(
        "</title>\n",
        "<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n"
    );
    out.extend_from_slice(
        b"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    );
    out.extend_from_slice(b"<title>");
    append_escaped(out, name);
    out.extend_from_slice(style_begin.as_bytes());
    out.extend_from_slice(STYLE.as_bytes());
    for (place, data_type) in column::cell_types(schema).iter().enumerate() {
        if shown::is_set_right(data_type) {
            let rule = format!(
                "th:nth-child({0}),td:nth-child({0}){{text-align:right}}\n",
                place + 1
            );
            out.extend_from_slice(rule.as_bytes());
        }
    }
    out.extend_from_slice(b"</style>\n</head>\n<body>\n<h1>");
    append_escaped(out, name);
    out.extend_from_slice(b"</h1>\n");
    if let Some(description) = meta::of_table(schema, meta::DESCRIPTION) {
        out.extend_from_slice(b"<p>");
        append_escaped(out, description);
        out.extend_from_slice(b"</p>\n");
    }
    // Reached by keyboard, so that it scrolls without a mouse.
    out.extend_from_slice(b"<div class=\"table\" tabindex=\"0\">\n<table>\n<thead>\n<tr>");
    for field in schema.fields() {
        append_column(out, field);
    }
    out.extend_from_slice(b"</tr>\n</thead>\n<tbody>\n");
}

fn append_column(out: &mut Vec<u8>, field: &Field) {
    out.extend_from_slice(b"<th scope=\"col\"");
    if let Some(description) = meta::of_column(field, meta::DESCRIPTION) {
        out.extend_from_slice(b" title=\"");
        append_escaped(out, description);
        out.push(b'"');
    }
    out.push(b'>');
    append_escaped(out, field.name());
    if let Some(unit) = meta::of_column(field, meta::UNIT) {
        out.extend_from_slice(b"<br><small>");
        append_escaped(out, unit);
        out.extend_from_slice(b"</small>");
    }
    out.extend_from_slice(b"</th>");
}

fn append_row(
    out: &mut Vec<u8>,
    cell: &mut Vec<u8>,
    columns: &[Column<'_>],
    row: usize,
) -> Result<(), BadCell> {
    out.extend_from_slice(b"<tr>");
    for (place, column) in columns.iter().enumerate() {
        if column.is_null(row) {
            out.extend_from_slice(b"<td class=\"null\"></td>");
            continue;
        }
        cell.clear();
        shown::append_cell(cell, column, row).map_err(|problem| (place, problem))?;
        out.extend_from_slice(b"<td>");
        append_escaped(out, &String::from_utf8_lossy(cell));
        out.extend_from_slice(b"</td>");
    }
    out.extend_from_slice(b"</tr>\n");
    Ok(())
}

/// Appends a text for an element or an attribute. CR is escaped, which readers make an LF, and LF
/// with it, so that a row is a line.
fn append_escaped(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\n' => out.extend_from_slice(b"&#10;"),
            '\r' => out.extend_from_slice(b"&#13;"),
            '\t' => out.push(b'\t'),
            _ => {
                let character = match character.is_control() {
                    true => char::REPLACEMENT_CHARACTER,
                    false => character,
                };
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
}
