//! Rows of CSV (RFC 4180) and TSV, and their fields. It knows delimiters, quotes and escapes, and no
//! types.
//!
//! In TSV tab, line breaks and backslash are `\t`, `\n`, `\r` and `\\`; every other backslash is
//! itself. Lines end with LF, CR LF or CR.

use std::{borrow::Cow, io, str};

use datastreamer_table::names::named;

use crate::{COLUMNS_MAX, input::Input};

const QUOTE: u8 = b'"';

/// How fields are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delimiter {
    Comma,
    Tab,
}

/// The rows of a file, behind its header.
pub(crate) struct Rows {
    input: Input,
    delimiter: Delimiter,
    names: Vec<String>,
    spans: Vec<Span>,
    /// Of the row that is read next.
    line: u64,
}

/// One row, in the buffer.
pub(crate) struct Row<'a> {
    text: &'a str,
    spans: &'a [Span],
    delimiter: Delimiter,
    pub(crate) line: u64,
}

/// Where a field is in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: usize,
    to: usize,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Its text is what the field holds.
    Plain,
    /// The same, from between quotes.
    Quoted,
    /// Its text has escapes, or quotes that are not around all of it.
    Escaped,
}

/// The text of a field.
pub(crate) struct FieldText<'a> {
    pub(crate) text: Cow<'a, str>,
    /// Nothing in quotes is a text; nothing is a null.
    pub(crate) is_quoted: bool,
}

/// What a piece of a file begins with.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Row {
        /// With the end of the line.
        bytes: usize,
        lines: u64,
    },
    /// More bytes are needed.
    Part,
    TooMany,
    OpenQuote,
}

impl Rows {
    /// Reads the header.
    ///
    /// # Errors
    /// The file cannot be read; it ends within quotes; it is not UTF-8.
    pub(crate) fn new(input: Input, delimiter: Delimiter) -> io::Result<Self> {
        let mut rows = Self {
            input,
            delimiter,
            names: Vec::new(),
            spans: Vec::new(),
            line: 1,
        };
        let mut names = Vec::new();
        while let Some(bytes) = rows.find()? {
            let row = rows.row(bytes, 1)?;
            if row.spans != [Span::BLANK] {
                let columns = 0..row.spans.len();
                names = columns
                    .map(|place| row.get(place).text.into_owned())
                    .collect();
                break;
            }
        }
        rows.names = named(names);
        Ok(rows)
    }

    /// Returns the names of the columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the next row. A blank line is a row of a table with one column, else none.
    ///
    /// # Errors
    /// The file cannot be read; it ends within quotes; a row is not UTF-8, or has more or fewer fields
    /// than the header.
    pub(crate) fn next(&mut self) -> io::Result<Option<Row<'_>>> {
        let columns = self.names.len();
        loop {
            let line = self.line;
            let Some(bytes) = self.find()? else {
                return Ok(None);
            };
            let is_blank = self.spans[..] == [Span::BLANK];
            if is_blank && columns != 1 {
                continue;
            }
            let fields = self.spans.len();
            if fields != columns {
                let text = format!("line {line} has {fields} fields, and the header {columns}");
                return Err(io::Error::other(text));
            }
            return self.row(bytes, line).map(Some);
        }
    }

    /// Finds the fields of the next row, and consumes its bytes.
    fn find(&mut self) -> io::Result<Option<usize>> {
        loop {
            let (rest, is_at_end) = (self.input.rest(), self.input.is_at_end());
            if rest.is_empty() && is_at_end {
                return Ok(None);
            }
            match split(rest, is_at_end, self.delimiter, &mut self.spans) {
                Found::Row { bytes, lines } => {
                    self.input.consume(bytes);
                    self.line += lines;
                    return Ok(Some(bytes));
                }
                Found::Part => self.input.read_more()?,
                Found::TooMany => {
                    let text = format!("line {} has over {COLUMNS_MAX} fields", self.line);
                    return Err(io::Error::other(text));
                }
                Found::OpenQuote => {
                    let text = "ends within quotes: the file is incomplete";
                    return Err(io::Error::other(text));
                }
            }
        }
    }

    fn row(&self, bytes: usize, line: u64) -> io::Result<Row<'_>> {
        let text = str::from_utf8(self.input.consumed(bytes));
        let text = text.map_err(|_| io::Error::other(format!("line {line} is not UTF-8")))?;
        Ok(Row {
            text,
            spans: &self.spans,
            delimiter: self.delimiter,
            line,
        })
    }
}

impl<'a> Row<'a> {
    /// Returns a field.
    pub(crate) fn get(&self, place: usize) -> FieldText<'a> {
        let span = self.spans[place];
        let text = &self.text[span.from..span.to];
        let (text, is_quoted) = match (span.form, self.delimiter) {
            (Form::Plain, Delimiter::Tab) if self.spans.len() == 1 => blanks_in_quotes(text),
            (Form::Plain, _) => (Cow::Borrowed(text), false),
            (Form::Quoted, _) => (Cow::Borrowed(text), true),
            (Form::Escaped, Delimiter::Comma) => (Cow::Owned(without_quotes(text)), true),
            (Form::Escaped, Delimiter::Tab) => (Cow::Owned(without_escapes(text)), false),
        };
        FieldText { text, is_quoted }
    }
}

impl Span {
    const BLANK: Self = Self {
        from: 0,
        to: 0,
        form: Form::Plain,
    };
}

/// Splits the first row of a piece of a file into its fields.
fn split(piece: &[u8], is_at_end: bool, delimiter: Delimiter, spans: &mut Vec<Span>) -> Found {
    spans.clear();
    let (mut at, mut lines) = (0, 1);
    let between = delimiter.byte();
    loop {
        if spans.len() == COLUMNS_MAX {
            return Found::TooMany;
        }
        let from = at;
        let mut form = Form::Plain;
        let mut to = None;
        if delimiter == Delimiter::Comma && piece.get(at) == Some(&QUOTE) {
            let Some(quoted) = Quoted::find(&piece[at..]) else {
                return match is_at_end {
                    true => Found::OpenQuote,
                    false => Found::Part,
                };
            };
            at += quoted.bytes;
            lines += quoted.lines;
            let is_last = piece.get(at).is_none();
            if is_last && !is_at_end {
                // The next byte may be a second quote.
                return Found::Part;
            }
            let ends = is_last || piece[at] == between || matches!(piece[at], b'\n' | b'\r');
            form = Form::Escaped;
            if ends && !quoted.has_quotes {
                form = Form::Quoted;
                to = Some(at - 1);
            }
        }
        let length = memchr::memchr3(between, b'\n', b'\r', &piece[at..]);
        if length.is_none() && !is_at_end {
            return Found::Part;
        }
        let end = length.map_or(piece.len(), |length| at + length);
        if delimiter == Delimiter::Tab && piece[at..end].contains(&b'\\') {
            form = Form::Escaped;
        }
        spans.push(Span {
            from: from + usize::from(form == Form::Quoted),
            to: to.unwrap_or(end),
            form,
        });
        at = end + 1;
        match piece.get(end) {
            Some(byte) if *byte == between => {}
            Some(b'\r') => {
                return match piece.get(at) {
                    None if !is_at_end => Found::Part,
                    Some(b'\n') => Found::Row {
                        bytes: at + 1,
                        lines,
                    },
                    _ => Found::Row { bytes: at, lines },
                };
            }
            _ => {
                let bytes = at.min(piece.len());
                return Found::Row { bytes, lines };
            }
        }
    }
}

/// A text in quotes at the beginning of a field.
struct Quoted {
    /// With both quotes.
    bytes: usize,
    /// Some in it are doubled.
    has_quotes: bool,
    lines: u64,
}

impl Quoted {
    fn find(field: &[u8]) -> Option<Self> {
        let (mut at, mut has_quotes, mut lines) = (1, false, 0);
        loop {
            let length = memchr::memchr(QUOTE, &field[at..])?;
            lines += memchr::memchr_iter(b'\n', &field[at..at + length]).count() as u64;
            at += length + 1;
            if field.get(at) != Some(&QUOTE) {
                return Some(Self {
                    bytes: at,
                    has_quotes,
                    lines,
                });
            }
            has_quotes = true;
            at += 1;
        }
    }
}

impl Delimiter {
    fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Tab => b'\t',
        }
    }
}

/// Returns the text of a field that begins with a quote. What follows the closing quote is part of
/// it.
fn without_quotes(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = &field[1..];
    while let Some((before, after)) = rest.split_once('"') {
        text.push_str(before);
        let Some(after) = after.strip_prefix('"') else {
            return text + after;
        };
        text.push('"');
        rest = after;
    }
    text + rest
}

fn without_escapes(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let escaped = match after.as_bytes().first() {
            Some(b't') => Some('\t'),
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            Some(b'\\') => Some('\\'),
            _ => None,
        };
        text.push(escaped.unwrap_or('\\'));
        rest = &after[usize::from(escaped.is_some())..];
    }
    text + rest
}

/// TSV has no quotes. Only the one column of a table has blanks and quotes in quotes, because a line
/// of blanks is none to other readers: so our writer writes it.
fn blanks_in_quotes(line: &str) -> (Cow<'_, str>, bool) {
    let is_blank = |byte: u8| byte == QUOTE || byte.is_ascii_whitespace();
    let plain = (Cow::Borrowed(line), false);
    if !line.bytes().all(is_blank) || line.len() < 2 || !line.starts_with('"') {
        return plain;
    }
    let Some(within) = line[1..].strip_suffix('"') else {
        return plain;
    };
    let single = within.replace("\"\"", "");
    match (within.contains('"'), single.contains('"')) {
        (false, _) => (Cow::Borrowed(within), true),
        (true, false) => (Cow::Owned(within.replace("\"\"", "\"")), true),
        // Not every quote is doubled: another writer's.
        (true, true) => plain,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    /// Gives a byte at a time.
    struct Drops(Cursor<Vec<u8>>);

    impl Read for Drops {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let one = into.len().min(1);
            self.0.read(&mut into[..one])
        }
    }

    fn read(bytes: &[u8], delimiter: Delimiter) -> Result<Vec<Vec<String>>, String> {
        let input = Input::new(Box::new(Drops(Cursor::new(bytes.to_vec()))));
        let read = || {
            let mut rows = Rows::new(input?, delimiter)?;
            let mut read = vec![rows.names().to_vec()];
            while let Some(row) = rows.next()? {
                let fields = 0..row.spans.len();
                let fields = fields.map(|place| row.get(place)).map(|field| {
                    match (field.text.as_ref(), field.is_quoted) {
                        ("", false) => "null".to_owned(),
                        (text, _) => text.to_owned(),
                    }
                });
                read.push(fields.collect());
            }
            Ok(read)
        };
        read().map_err(|error: io::Error| error.to_string())
    }

    fn csv(text: &str) -> Result<Vec<Vec<String>>, String> {
        read(text.as_bytes(), Delimiter::Comma)
    }

    fn tsv(text: &str) -> Result<Vec<Vec<String>>, String> {
        read(text.as_bytes(), Delimiter::Tab)
    }

    fn rows(rows: &[&[&str]]) -> Result<Vec<Vec<String>>, String> {
        let row = |row: &&[&str]| row.iter().map(|field| (*field).to_owned()).collect();
        Ok(rows.iter().map(row).collect())
    }

    #[test]
    fn fields_of_csv_are_what_rfc_4180_says() {
        for (text, expected) in [
            ("a,b\n1,2\n", rows(&[&["a", "b"], &["1", "2"]])),
            ("a,b\r\n1,2", rows(&[&["a", "b"], &["1", "2"]])),
            ("a,b\r1,2\r", rows(&[&["a", "b"], &["1", "2"]])),
            ("a,b\n,\"\"\n", rows(&[&["a", "b"], &["null", ""]])),
            ("a,b\n1,", rows(&[&["a", "b"], &["1", "null"]])),
            (
                "a,b\n\"x,\n\r\"\"y\",\"z\"",
                rows(&[&["a", "b"], &["x,\n\r\"y", "z"]]),
            ),
            (
                "a,b\n5\" x,\"q\"r\"\n",
                rows(&[&["a", "b"], &["5\" x", "qr\""]]),
            ),
            ("\u{feff}a,b\n", rows(&[&["a", "b"]])),
            ("\u{feff}\"a,b\"\n", rows(&[&["a,b"]])),
            ("\n\na,b\n\n1,2\n\n", rows(&[&["a", "b"], &["1", "2"]])),
            (
                "a\n1\n\n2\n\n",
                rows(&[&["a"], &["1"], &["null"], &["2"], &["null"]]),
            ),
            (",a,\n", rows(&[&["column1", "a", "column3"]])),
            (",column1\n", rows(&[&["column1_", "column1"]])),
            ("a\nx\0y\n", rows(&[&["a"], &["x\0y"]])),
        ] {
            assert_eq!(csv(text), expected, "{text:?}");
        }
    }

    #[test]
    fn tsv_has_escapes_and_no_quotes() {
        for (text, expected) in [
            ("a\tb\n\"x\ty\"\n", rows(&[&["a", "b"], &["\"x", "y\""]])),
            (
                "a\tb\nx\\ty\\nz\\r\\\\n\tC:\\dir\\\n",
                rows(&[&["a", "b"], &["x\ty\nz\r\\n", "C:\\dir\\"]]),
            ),
            ("a\\tb\tc\n", rows(&[&["a\tb", "c"]])),
            (
                "a\n\"\"\n\"  \"\n\n\"x\"\n",
                rows(&[&["a"], &[""], &["  "], &["null"], &["\"x\""]]),
            ),
            // Of quotes and blanks alone: as CSV has them, unless no writer of that has written it.
            (
                "a\n\"\"\"\"\"\"\n\"\"\"\"\n\" \"\" \"\n\"\n\"\"\"\n\" \" \"\n",
                rows(&[
                    &["a"],
                    &["\"\""],
                    &["\""],
                    &[" \" "],
                    &["\""],
                    &["\"\"\""],
                    &["\" \" \""],
                ]),
            ),
        ] {
            assert_eq!(tsv(text), expected, "{text:?}");
        }
    }

    #[test]
    fn one_column_of_texts_is_read_as_it_was_written() {
        use std::sync::Arc;

        use arrow::{
            array::{ArrayRef, StringArray},
            record_batch::RecordBatch,
        };
        use datastreamer_table::{TableEnd, TableWriter, csv};

        let texts = [
            "", " ", "\"", "\"\"", "\"\"\"", "\"\"\"\"", "\" \"", " \"\"", "\"\" ", "\"a\"", "a",
            "\"\t\"", "\\", "\"\\\"", "\u{a0}\"",
        ];
        for (name, shown) in [
            ("a", "a"),
            ("\"\"", "\"\""),
            (" \" ", " \" "),
            ("\"b\"", "\"b\""),
        ] {
            let column: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
            let batch = RecordBatch::try_from_iter([(name, column)]).unwrap();
            for (delimiter, writer) in [
                (Delimiter::Comma, csv::Delimiter::Comma),
                (Delimiter::Tab, csv::Delimiter::Tab),
            ] {
                let mut file = Vec::new();
                let table = csv::CsvWriter::new(&mut file, batch.schema(), writer);
                let mut table = Box::new(table.unwrap());
                table.write(&batch).unwrap();
                table.finish(TableEnd::Complete).unwrap();
                let mut expected = vec![vec![shown.to_owned()]];
                expected.extend(texts.map(|text| vec![text.to_owned()]));
                assert_eq!(read(&file, delimiter), Ok(expected));
            }
        }
    }

    #[test]
    fn a_file_that_ends_within_quotes_is_incomplete() {
        for complete in ["a,b\n1,\"x\n\"\n", "a\n5\"\n", "a\n\"\"\"\"\n", "\"a\""] {
            assert!(csv(complete).is_ok(), "{complete}");
        }
        for cut in [
            "a,b\n1,\"x\n2,y\n",
            "a\n\"",
            "a\n\"\"\"",
            "a,b,c\nx,\"\"\",\n",
        ] {
            let error = csv(cut).unwrap_err();
            assert!(error.contains("ends within quotes"), "{cut}: {error}");
        }
    }

    #[test]
    fn a_wrong_row_is_named_by_its_line() {
        for (text, expected) in [
            (
                "a,b\n\"1\n\",2\n3\n",
                "line 4 has 1 fields, and the header 2",
            ),
            ("a,b\n\n1,2,3\n", "line 3 has 3 fields, and the header 2"),
        ] {
            assert_eq!(csv(text).unwrap_err(), expected, "{text:?}");
        }
        let error = read(b"a,b\n1,2\n\xff,3\n", Delimiter::Comma).unwrap_err();
        assert!(error.starts_with("line 3 is not UTF-8"), "{error}");
    }
}
