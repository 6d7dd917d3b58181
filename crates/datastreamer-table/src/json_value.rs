//! Values as JSON: in records, and as the text of a nested value in formats that have no such values.
//!
//! Called by `json.rs`, `csv.rs`, `shown.rs` and `votable/json_text.rs`. Source: RFC 8259.

use std::{collections::HashSet, ops::Range};

use super::{
    column::{Cells, Column, Texts},
    scalar,
    text::{self, Specials},
    times,
};

/// JSON has no number that is none. What is infinite is refused before it could be written.
pub(super) const SPECIALS: Specials = Specials {
    nan: "null",
    infinity: "",
    minus_infinity: "",
};

/// The same for people, as Python and JSON5 write them.
pub(super) const SHOWN_SPECIALS: Specials = Specials {
    nan: "NaN",
    infinity: "Infinity",
    minus_infinity: "-Infinity",
};

/// 256 MiB in a nested value: PostgreSQL's jsonb holds no more. A value is in memory twice, and the
/// names of fields make some a thousand times as long as they were stored.
const BYTES_MAX: usize = 256 << 20;

const INFINITE: &str = "JSON has no infinity";
const TOO_LONG: &str = "the nested value takes more than 256 MiB as JSON";
const NULL_KEY: &str = "a key of the map is null";
const KEY_TWICE: &str = "a key is in the map twice, and of those JSON readers keep one";

/// Appends a value that is not null; a string without its quotes.
///
/// # Errors
/// What JSON cannot hold.
pub(super) fn append_bare(
    out: &mut Vec<u8>,
    column: &Column<'_>,
    row: usize,
    specials: Specials,
) -> Result<(), &'static str> {
    let values = Values {
        specials,
        end_max: out.len() + BYTES_MAX,
    };
    values.append_bare(out, column, row)
}

/// How values are written.
#[derive(Clone, Copy)]
struct Values {
    specials: Specials,
    /// The most bytes that the buffer may have behind a value within another.
    end_max: usize,
}

impl Values {
    fn append_bare(
        self,
        out: &mut Vec<u8>,
        column: &Column<'_>,
        row: usize,
    ) -> Result<(), &'static str> {
        let is_infinite = match &column.cells {
            Cells::F32(values) => values[row].is_infinite(),
            Cells::F64(values) => values[row].is_infinite(),
            _ => false,
        };
        if is_infinite && self.specials.infinity.is_empty() {
            return Err(INFINITE);
        }
        match &column.cells {
            Cells::Text(texts) => append_escaped(out, texts.get(row)),
            Cells::Bytes(bytes) => bytes.get(row).iter().for_each(|byte| text::hex(out, *byte)),
            Cells::List(lists, elements) => self.append_array(out, elements, lists.range(row))?,
            Cells::Struct(fields) => self.append_object(out, fields, row)?,
            Cells::Map(map, entries) => {
                let offsets = map.value_offsets();
                let rows = offsets[row] as usize..offsets[row + 1] as usize;
                let [keys, values] = &**entries;
                match &keys.cells {
                    Cells::Text(texts) => self.append_map(out, (keys, texts), values, rows)?,
                    _ => self.append_entries(out, keys, values, rows)?,
                }
            }
            Cells::Union(union, columns) => {
                let id = union.type_id(row);
                let column = columns.iter().find(|(of, _)| *of == id);
                if let Some((_, column)) = column {
                    self.append(out, column, union.value_offset(row))?;
                }
            }
            cells => scalar::append(out, cells, row, self.specials)?,
        }
        Ok(())
    }

    /// Appends a value within another.
    fn append(
        self,
        out: &mut Vec<u8>,
        column: &Column<'_>,
        row: usize,
    ) -> Result<(), &'static str> {
        if column.is_null(row) {
            out.extend_from_slice(b"null");
        } else {
            let is_string = is_string(&column.cells);
            if is_string {
                out.push(b'"');
            }
            self.append_bare(out, column, row)?;
            out.extend_from_slice(column.zone_mark);
            if is_string {
                out.push(b'"');
            }
        }
        match out.len() > self.end_max {
            true => Err(TOO_LONG),
            false => Ok(()),
        }
    }

    fn append_array(
        self,
        out: &mut Vec<u8>,
        elements: &Column<'_>,
        rows: Range<usize>,
    ) -> Result<(), &'static str> {
        out.push(b'[');
        let first = rows.start;
        for row in rows {
            if row > first {
                out.push(b',');
            }
            self.append(out, elements, row)?;
        }
        out.push(b']');
        Ok(())
    }

    fn append_object(
        self,
        out: &mut Vec<u8>,
        fields: &[(&str, Column<'_>)],
        row: usize,
    ) -> Result<(), &'static str> {
        out.push(b'{');
        for (place, (name, column)) in fields.iter().enumerate() {
            self.append_member(out, place == 0, name, column, row)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Appends a name and its value, behind others unless it `is_first`.
    fn append_member(
        self,
        out: &mut Vec<u8>,
        is_first: bool,
        name: &str,
        column: &Column<'_>,
        row: usize,
    ) -> Result<(), &'static str> {
        if !is_first {
            out.push(b',');
        }
        append_string(out, name);
        out.push(b':');
        self.append(out, column, row)
    }

    /// Appends a map whose keys are texts, as an object.
    fn append_map(
        self,
        out: &mut Vec<u8>,
        (keys, texts): (&Column<'_>, &Texts<'_>),
        values: &Column<'_>,
        rows: Range<usize>,
    ) -> Result<(), &'static str> {
        let mut seen = HashSet::new();
        out.push(b'{');
        let first = rows.start;
        for row in rows {
            if keys.is_null(row) {
                return Err(NULL_KEY);
            }
            let key = texts.get(row);
            if !seen.insert(key) {
                return Err(KEY_TWICE);
            }
            self.append_member(out, row == first, key, values, row)?;
        }
        out.push(b'}');
        Ok(())
    }

    /// Appends a map whose keys are no texts, as an array of entries: what `map_from_entries` of
    /// Spark and DuckDB takes.
    fn append_entries(
        self,
        out: &mut Vec<u8>,
        keys: &Column<'_>,
        values: &Column<'_>,
        rows: Range<usize>,
    ) -> Result<(), &'static str> {
        out.push(b'[');
        let first = rows.start;
        for row in rows {
            if row > first {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"key\":");
            self.append(out, keys, row)?;
            out.extend_from_slice(b",\"value\":");
            self.append(out, values, row)?;
            out.push(b'}');
        }
        out.push(b']');
        Ok(())
    }
}

/// Whether values have quotes around them.
fn is_string(cells: &Cells<'_>) -> bool {
    matches!(
        cells,
        Cells::Text(_) | Cells::Bytes(_) | Cells::Duration(..) | Cells::Interval(_)
    ) || times::cell_bytes(cells).is_some()
}

/// Appends a string (RFC 8259, 7).
pub(super) fn append_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    append_escaped(out, text);
    out.push(b'"');
}

/// What a string cannot have as it is.
#[inline]
pub(super) fn is_escaped(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

/// Appends what is within the quotes of a string.
fn append_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if is_escaped(*byte) {
            out.extend_from_slice(&bytes[plain_from..at]);
            append_escape(out, *byte);
            plain_from = at + 1;
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
}

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
