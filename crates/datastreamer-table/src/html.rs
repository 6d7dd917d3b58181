//! A table as a page for people: no more rows than somebody looks at.
//!
//! [`HtmlWriter`] owns the page, `html.css` how it looks. Cells come from `shown.rs`.
//!
//! Source: HTML (WHATWG living standard), 13.1.

use std::{fmt, io::Write, sync::Arc};

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

/// The style of every page: the content of its only `style` element, for a policy that allows it.
pub const STYLE: &str = include_str!("html.css");

/// What a page has around its rows, from whoever knows what was asked for.
#[derive(Clone)]
pub struct PageFrame {
    /// The title, unless the table has a name of its own.
    pub title: String,
    /// HTML above the table, written as it is: whoever makes it has escaped it.
    pub above: String,
    /// What stands in the heads of columns, in their order; columns beyond the last have their names
    /// only.
    pub heads: Vec<ColumnHead>,
    /// How many rows are before the first of this page.
    pub offset: u64,
    /// How many rows there are on all pages, where that is known.
    pub rows: Option<u64>,
    /// Makes the HTML below the table, of the rows that the page has.
    pub below: Arc<dyn Fn(PageRows) -> String + Send + Sync>,
}

/// The head of a column of a page.
#[derive(Clone, Debug, Default)]
pub struct ColumnHead {
    /// Where a click on the name leads, as a URL reference.
    pub link: Option<String>,
    /// How the rows are sorted by this column first.
    pub sorted: Option<Sorted>,
}

/// The direction of a sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sorted {
    /// The least value first.
    Ascending,
    /// The greatest value first.
    Descending,
}

/// The rows of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRows {
    /// How many it shows.
    pub shown: u64,
    /// Whether there are more behind them.
    pub has_more: bool,
}

impl fmt::Debug for PageFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageFrame")
            .field("title", &self.title)
            .field("offset", &self.offset)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// Writes the first rows of a table as one HTML page, with nothing to load and no script.
///
/// The head names the columns, with their units, and has their descriptions as titles. Null is an
/// empty cell with a background of its own. What text cannot hold in HTML, the control characters,
/// becomes U+FFFD. Below the table stands how many rows are shown and whether there are more; in a
/// page that was aborted, why. A [`PageFrame`] adds links to other pages.
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
    /// Which columns are set right.
    are_right: Vec<bool>,
    frame: Option<PageFrame>,
    /// What is said where a limit has cut the table.
    limit: Option<String>,
    /// A cell before it is escaped.
    cell: Vec<u8>,
}

impl<W: Write> HtmlWriter<W> {
    /// Writes the page up to its first row. No more than `rows_max` rows will be shown.
    ///
    /// # Errors
    /// A column that cannot be shown, before anything is written; an error of the output.
    pub fn new(out: W, schema: SchemaRef, rows_max: u64) -> Result<Self, TableError> {
        Self::framed(out, schema, rows_max, None)
    }

    /// The same, with what the page has around its rows.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn framed(
        out: W,
        schema: SchemaRef,
        rows_max: u64,
        frame: Option<PageFrame>,
    ) -> Result<Self, TableError> {
        check(&schema)?;
        let types = column::cell_types(&schema);
        let are_right: Vec<_> = types.iter().map(shown::is_set_right).collect();
        let mut rows = Gather::new(out, Arc::clone(&schema));
        rows.append(|out| append_head(out, &schema, &are_right, frame.as_ref()));
        rows.hand_over()?;
        Ok(Self {
            rows,
            rows_max,
            rows_shown: 0,
            has_more: false,
            are_right,
            frame,
            limit: None,
            cell: Vec::new(),
        })
    }

    /// Says, where a limit has cut the table, which one it was.
    pub fn with_limit(self, limit: Option<String>) -> Self {
        Self { limit, ..self }
    }

    /// Everything after the last row.
    fn end(mut self, class: &str, note: &str, has_more: bool) -> Result<(), TableError> {
        let rows = PageRows {
            shown: self.rows_shown,
            has_more,
        };
        let below = self.frame.as_ref().map(|frame| (frame.below)(rows));
        self.rows.append(|out| {
            out.extend_from_slice(b"</tbody>\n</table>\n</div>\n<p class=\"");
            out.extend_from_slice(class.as_bytes());
            out.extend_from_slice(b"\">");
            append_escaped(out, note);
            out.extend_from_slice(b"</p>\n");
            out.extend_from_slice(below.unwrap_or_default().as_bytes());
            out.extend_from_slice(b"</body>\n</html>\n");
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
        let are_right = &self.are_right;
        self.rows
            .write_rows(&batch.slice(0, shown), |out, columns, row| {
                append_row(out, cell, are_right, columns, row)?;
                *rows_shown += 1;
                Ok(())
            })
    }

    fn finish(self: Box<Self>, end: TableEnd) -> Result<(), TableError> {
        let has_more = self.has_more || end == TableEnd::Overflow;
        let mut note = match &self.frame {
            Some(frame) => place_of(frame, self.rows_shown, has_more),
            None => count_of(self.rows_shown, has_more),
        };
        if let Some(limit) = self.limit.as_ref().filter(|_| end == TableEnd::Overflow) {
            note = format!("{note} ({limit})");
        }
        note.push('.');
        self.end("end", &note, has_more)
    }

    /// The page is closed and says why there are no more rows.
    fn abort(self: Box<Self>, reason: &str) -> Result<(), TableError> {
        let rows = self.rows_shown;
        let note = format!("The table failed after {rows} rows and is incomplete: {reason}");
        self.end("failed", &note, false)
    }

    fn is_full(&self) -> bool {
        self.has_more
    }
}

/// Says how many rows a page has that begins with the first one.
fn count_of(shown: u64, has_more: bool) -> String {
    match (shown, has_more) {
        (1, false) => "The only row".to_owned(),
        (rows, false) => format!("All {rows} rows"),
        (1, true) => "The first row of a table that has more".to_owned(),
        (rows, true) => format!("The first {rows} rows of a table that has more"),
    }
}

/// Says which of all rows a page has. What has been seen of them goes before what was known.
fn place_of(frame: &PageFrame, shown: u64, has_more: bool) -> String {
    let last = frame.offset.saturating_add(shown);
    let all = match has_more {
        true => frame.rows.filter(|rows| *rows > last),
        false if shown > 0 => Some(last),
        // Behind the last row, whichever that is.
        false => frame.rows.filter(|rows| *rows <= last),
    };
    let of = match all {
        Some(all) => format!(" of {all}"),
        None => " of a table that has more".to_owned(),
    };
    match shown {
        0 if has_more => "No rows are shown".to_owned(),
        0 if frame.offset == 0 => "No rows".to_owned(),
        0 => match all {
            Some(all) => format!("No rows behind row {}: there are {all}", frame.offset),
            None => format!("No rows behind row {}", frame.offset),
        },
        1 => format!("Row {last}{of}"),
        _ => format!("Rows {} to {last}{of}", frame.offset.saturating_add(1)),
    }
}

fn append_head(out: &mut Vec<u8>, schema: &Schema, are_right: &[bool], frame: Option<&PageFrame>) {
    let name = meta::of_table(schema, meta::NAME);
    let name = name.or(frame.map(|frame| frame.title.as_str()));
    let name = name.unwrap_or("Table");
    out.extend_from_slice(
        b"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>",
    );
    append_escaped(out, name);
    // Without an icon browsers ask for /favicon.ico.
    out.extend_from_slice(
        b"</title>\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
          <link rel=\"icon\" href=\"data:,\">\n<style>",
    );
    out.extend_from_slice(STYLE.as_bytes());
    out.extend_from_slice(b"</style>\n</head>\n<body>\n<h1>");
    append_escaped(out, name);
    out.extend_from_slice(b"</h1>\n");
    if let Some(description) = meta::of_table(schema, meta::DESCRIPTION) {
        out.extend_from_slice(b"<p>");
        append_escaped(out, description);
        out.extend_from_slice(b"</p>\n");
    }
    out.extend_from_slice(frame.map_or("", |frame| &frame.above).as_bytes());
    // Reached by keyboard, so that it scrolls without a mouse; what is reached has a name.
    out.extend_from_slice(b"<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"");
    append_escaped(out, name);
    out.extend_from_slice(b"\">\n<table>\n<thead>\n<tr>");
    let heads = frame.map_or(&[][..], |frame| &frame.heads);
    for (place, field) in schema.fields().iter().enumerate() {
        let is_right = are_right.get(place).copied().unwrap_or_default();
        append_column(out, field, is_right, heads.get(place));
    }
    out.extend_from_slice(b"</tr>\n</thead>\n<tbody>\n");
}

fn append_column(out: &mut Vec<u8>, field: &Field, is_right: bool, head: Option<&ColumnHead>) {
    out.extend_from_slice(b"<th scope=\"col\"");
    if is_right {
        out.extend_from_slice(b" class=\"right\"");
    }
    match head.and_then(|head| head.sorted) {
        Some(Sorted::Ascending) => out.extend_from_slice(b" aria-sort=\"ascending\""),
        Some(Sorted::Descending) => out.extend_from_slice(b" aria-sort=\"descending\""),
        None => {}
    }
    if let Some(description) = meta::of_column(field, meta::DESCRIPTION) {
        out.extend_from_slice(b" title=\"");
        append_escaped(out, description);
        out.push(b'"');
    }
    out.push(b'>');
    let link = head.and_then(|head| head.link.as_deref());
    if let Some(link) = link {
        out.extend_from_slice(b"<a rel=\"nofollow\" href=\"");
        append_escaped(out, link);
        out.extend_from_slice(b"\">");
    }
    append_escaped(out, field.name());
    if link.is_some() {
        out.extend_from_slice(b"</a>");
    }
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
    are_right: &[bool],
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
        out.extend_from_slice(match are_right.get(place) {
            Some(true) => b"<td class=\"right\">".as_slice(),
            _ => b"<td>",
        });
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
