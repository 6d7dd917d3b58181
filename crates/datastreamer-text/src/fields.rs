//! Rows of CSV (RFC 4180) and TSV, and their fields. It knows delimiters, quotes and escapes, and no
//! types.
//!
//! In TSV tab, line breaks and backslash are `\t`, `\n`, `\r` and `\\`; every other backslash is
//! itself. Lines end with LF, CR LF or CR.

use std::{borrow::Cow, io};

use datastreamer_table::names::named;

use crate::{
    COLUMNS_MAX, TextFormat,
    input::Input,
    options::{Quote, TextOptions, parse_delimiter},
};

const USUAL_QUOTE: u8 = b'"';

/// How fields are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    form: FieldForm,
    /// Lines that begin with it are left out.
    comment: Option<u8>,
}

/// How fields hold delimiters and line breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldForm {
    /// In quotes of this byte.
    Quotes(u8),
    /// By escapes.
    Escapes,
    /// Not at all.
    Plain,
}

/// The rows of a file, behind its header.
pub(crate) struct Rows {
    input: Input,
    dialect: Dialect,
    names: Vec<String>,
    /// The header that names of the options replace.
    replaced: Option<Vec<String>>,
    /// What the names are from, for messages.
    head: &'static str,
    spans: Vec<Span>,
    /// Of the row that is read next.
    line: u64,
    /// A row that was found and is to be read.
    found: Option<FoundRow>,
}

/// A row whose bytes were consumed last, and whose spans are there.
#[derive(Clone, Copy)]
struct FoundRow {
    bytes: usize,
    line: u64,
}

/// One row, in the buffer.
pub(crate) struct Row<'a> {
    text: &'a str,
    spans: &'a [Span],
    form: FieldForm,
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
    /// Its text has escapes, or is from between quotes and has doubled ones.
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
    /// A field goes on behind its closing quote. Whether that is a part of it, nobody can say: other
    /// readers refuse it, or join both.
    BehindQuote {
        /// The field's place in its row.
        place: usize,
        /// The line of the closing quote, counted from 1 in the row.
        lines: u64,
    },
}

/// The delimiter that the first line of a file declares, as Excel writes and reads it: `sep=;`, also in
/// quotes.
#[derive(Clone, Copy)]
pub(crate) struct Declared {
    pub(crate) delimiter: u8,
    /// With the end of the line.
    bytes: usize,
}

impl Declared {
    const KEY: &[u8] = b"sep=";

    /// Looks at the first line of a file, of which nothing was consumed.
    pub(crate) fn of(input: &Input) -> Option<Self> {
        let rest = input.rest();
        let bytes = line_bytes(rest, input.is_at_end())?;
        let line = &rest[..bytes];
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let inner = line
            .strip_prefix(&[USUAL_QUOTE])
            .and_then(|line| line.strip_suffix(&[USUAL_QUOTE]));
        let (key, delimiter) = inner.unwrap_or(line).split_at_checked(Self::KEY.len())?;
        // Nothing stands behind it, no blank either: that may be a header.
        let delimiter = str::from_utf8(delimiter).ok().filter(|it| it.len() == 1)?;
        key.eq_ignore_ascii_case(Self::KEY)
            .then(|| parse_delimiter(delimiter).ok())?
            .map(|delimiter| Self { delimiter, bytes })
    }

    /// Checks that the rows are read with this delimiter. The line is no row, whatever they are read
    /// with.
    fn check(self, dialect: Dialect) -> io::Result<()> {
        if self.delimiter == dialect.delimiter {
            return Ok(());
        }
        let [declared, other] = [self.delimiter, dialect.delimiter].map(delimiter_name);
        Err(io::Error::other(format!(
            "line 1 declares the delimiter {declared:?} (sep=), and the one that is set, or that of the \
             first file of the table, is {other:?}"
        )))
    }
}

/// Returns a delimiter as messages have it.
pub(crate) fn delimiter_name(delimiter: u8) -> String {
    match delimiter {
        b'\t' => "tab".to_owned(),
        other => char::from(other).to_string(),
    }
}

impl Dialect {
    /// Returns how a file of a format is written; `None` of NDJSON.
    pub(crate) fn of(format: TextFormat, options: &TextOptions) -> Option<Self> {
        let (delimiter, form) = match format {
            TextFormat::Csv => (b',', FieldForm::Quotes(USUAL_QUOTE)),
            TextFormat::Tsv => (b'\t', FieldForm::Escapes),
            TextFormat::Ndjson => return None,
        };
        Some(Self {
            delimiter: options.delimiter.unwrap_or(delimiter),
            form: match options.quote {
                Some(Quote::Byte(quote)) => FieldForm::Quotes(quote),
                Some(Quote::None) => FieldForm::Plain,
                None => form,
            },
            comment: options.comment,
        })
    }

    /// Returns the same with another delimiter.
    pub(crate) fn with_delimiter(self, delimiter: u8) -> Self {
        Self { delimiter, ..self }
    }

    /// Returns whether a line that begins with this byte is left out.
    pub(crate) fn has_comment(self, byte: u8) -> bool {
        self.comment == Some(byte)
    }

    fn quote(self) -> Option<u8> {
        match self.form {
            FieldForm::Quotes(quote) => Some(quote),
            FieldForm::Escapes | FieldForm::Plain => None,
        }
    }
}

/// Checks that a header is the one that the names were made for.
fn check_header(header: &[String], first: Option<&[String]>) -> io::Result<()> {
    match first {
        Some(first) if first != header => Err(io::Error::other(format!(
            "the header is {header:?}, and that of the first file was {first:?}: names replace one header \
             only"
        ))),
        _ => Ok(()),
    }
}

impl Rows {
    /// Reads the header, unless the first row has values.
    ///
    /// # Errors
    /// The file cannot be read; it ends within quotes; it is not UTF-8; it has another number of columns
    /// than there are names, or declares another delimiter.
    pub(crate) fn new(
        mut input: Input,
        dialect: Dialect,
        options: &TextOptions,
    ) -> io::Result<Self> {
        let declared = Declared::of(&input);
        if let Some(declared) = declared {
            declared.check(dialect)?;
            input.consume(declared.bytes);
        }
        let mut rows = Self {
            input,
            dialect,
            names: Vec::new(),
            replaced: None,
            head: "header",
            spans: Vec::new(),
            line: 1 + u64::from(declared.is_some()),
            found: None,
        };
        let (found, fields) = rows.first()?;
        let has_header = options.header.unwrap_or(true);
        rows.names = match (has_header, &options.names) {
            (_, Some(names)) => {
                if found.is_some() && fields.len() != names.len() {
                    let (fields, names) = (fields.len(), names.len());
                    let text = format!("the first row has {fields} fields, and names {names}");
                    return Err(io::Error::other(text));
                }
                if has_header && found.is_some() {
                    check_header(&fields, options.replaced_header.as_deref())?;
                    rows.replaced = Some(fields);
                }
                names.clone()
            }
            (true, None) => named(fields),
            (false, None) => named(vec![String::new(); fields.len()]),
        };
        if !has_header {
            rows.head = "first row";
            rows.found = found;
        }
        Ok(rows)
    }

    /// Reads the fields of the first row; none of an empty file.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub(crate) fn first_row(input: Input, dialect: Dialect) -> io::Result<Vec<String>> {
        let options = TextOptions::default();
        Self::new(input, dialect, &options).map(|rows| rows.names)
    }

    /// Finds the first row that is not blank, and its fields.
    fn first(&mut self) -> io::Result<(Option<FoundRow>, Vec<String>)> {
        while let Some(found) = self.find()? {
            let row = self.row(found)?;
            if row.spans != [Span::BLANK] {
                let fields = (0..row.spans.len()).map(|place| row.get(place).text.into_owned());
                let fields = fields.collect();
                return Ok((Some(found), fields));
            }
        }
        Ok((None, Vec::new()))
    }

    /// Returns the header that names of the options replace, if there is one.
    pub(crate) fn replaced(&self) -> Option<&[String]> {
        self.replaced.as_deref()
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
            let found = match self.found.take() {
                Some(found) => Some(found),
                None => self.find()?,
            };
            let Some(found) = found else {
                return Ok(None);
            };
            let is_blank = self.spans[..] == [Span::BLANK];
            if is_blank && columns != 1 {
                continue;
            }
            let fields = self.spans.len();
            if fields != columns {
                let (head, line) = (self.head, found.line);
                let text = format!("line {line} has {fields} fields, and the {head} {columns}");
                return Err(io::Error::other(text));
            }
            return self.row(found).map(Some);
        }
    }

    /// Finds the fields of the next row, and consumes its bytes.
    fn find(&mut self) -> io::Result<Option<FoundRow>> {
        loop {
            let (rest, is_at_end) = (self.input.rest(), self.input.is_at_end());
            let Some(first) = rest.first() else {
                if is_at_end {
                    return Ok(None);
                }
                self.input.read_more()?;
                continue;
            };
            if self.dialect.comment == Some(*first) {
                match line_bytes(rest, is_at_end) {
                    Some(bytes) => {
                        self.input.consume(bytes);
                        self.line += 1;
                    }
                    None => self.input.read_more()?,
                }
                continue;
            }
            let line = self.line;
            match split(rest, is_at_end, self.dialect, &mut self.spans) {
                Found::Row { bytes, lines } => {
                    self.input.consume(bytes);
                    self.line += lines;
                    return Ok(Some(FoundRow { bytes, line }));
                }
                Found::Part => self.input.read_more()?,
                Found::TooMany => {
                    let text = format!("line {line} has over {COLUMNS_MAX} fields");
                    return Err(io::Error::other(text));
                }
                Found::OpenQuote => {
                    let text = "ends within quotes: the file is incomplete";
                    return Err(io::Error::other(text));
                }
                Found::BehindQuote { place, lines } => {
                    let line = line + lines - 1;
                    let column = match self.names.get(place) {
                        Some(name) => format!("column {name:?}"),
                        None => format!("field {}", place + 1),
                    };
                    return Err(io::Error::other(format!(
                        "line {line}, {column}: there is text behind the closing quote: a quote within \
                         a field in quotes is doubled; set quote to \"\" if quotes are part of values"
                    )));
                }
            }
        }
    }

    fn row(&self, found: FoundRow) -> io::Result<Row<'_>> {
        Ok(Row {
            text: self.input.text(found.bytes, found.line)?,
            spans: &self.spans,
            form: self.dialect.form,
            line: found.line,
        })
    }
}

impl<'a> Row<'a> {
    /// Returns a field.
    pub(crate) fn get(&self, place: usize) -> FieldText<'a> {
        let span = self.spans[place];
        let text = &self.text[span.from..span.to];
        let (text, is_quoted) = match (span.form, self.form) {
            (Form::Plain, FieldForm::Escapes) if self.spans.len() == 1 => blanks_in_quotes(text),
            (Form::Plain, _) | (Form::Escaped, FieldForm::Plain) => (Cow::Borrowed(text), false),
            (Form::Quoted, _) => (Cow::Borrowed(text), true),
            (Form::Escaped, FieldForm::Quotes(quote)) => {
                let quote = char::from(quote);
                let doubled = String::from_iter([quote, quote]);
                (
                    Cow::Owned(text.replace(&doubled, quote.encode_utf8(&mut [0; 4]))),
                    true,
                )
            }
            (Form::Escaped, FieldForm::Escapes) => (Cow::Owned(without_escapes(text)), false),
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

/// Returns the bytes of a line, with its end; `None`: more are needed.
fn line_bytes(piece: &[u8], is_at_end: bool) -> Option<usize> {
    match memchr::memchr2(b'\n', b'\r', piece) {
        Some(end) if piece[end] == b'\r' => match piece.get(end + 1) {
            None if !is_at_end => None,
            Some(b'\n') => Some(end + 2),
            _ => Some(end + 1),
        },
        Some(end) => Some(end + 1),
        None => is_at_end.then_some(piece.len()),
    }
}

/// Splits the first row of a piece of a file into its fields.
fn split(piece: &[u8], is_at_end: bool, dialect: Dialect, spans: &mut Vec<Span>) -> Found {
    spans.clear();
    let (mut at, mut lines) = (0, 1);
    let (between, quote) = (dialect.delimiter, dialect.quote());
    loop {
        if spans.len() == COLUMNS_MAX {
            return Found::TooMany;
        }
        let mut from = at;
        let mut form = Form::Plain;
        let mut to = None;
        if let Some(quote) = quote
            && piece.get(at) == Some(&quote)
        {
            let Some(quoted) = Quoted::find(&piece[at..], quote) else {
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
            if !ends {
                let place = spans.len();
                return Found::BehindQuote { place, lines };
            }
            form = match quoted.has_quotes {
                true => Form::Escaped,
                false => Form::Quoted,
            };
            from += 1;
            to = Some(at - 1);
        }
        let length = memchr::memchr3(between, b'\n', b'\r', &piece[at..]);
        if length.is_none() && !is_at_end {
            return Found::Part;
        }
        let end = length.map_or(piece.len(), |length| at + length);
        if dialect.form == FieldForm::Escapes && piece[at..end].contains(&b'\\') {
            form = Form::Escaped;
        }
        spans.push(Span {
            from,
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
    fn find(field: &[u8], quote: u8) -> Option<Self> {
        let (mut at, mut has_quotes, mut lines) = (1, false, 0);
        loop {
            let length = memchr::memchr(quote, &field[at..])?;
            lines += memchr::memchr_iter(b'\n', &field[at..at + length]).count() as u64;
            at += length + 1;
            if field.get(at) != Some(&quote) {
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
    let is_blank = |byte: u8| byte == USUAL_QUOTE || byte.is_ascii_whitespace();
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

    fn read(bytes: &[u8], format: TextFormat) -> Result<Vec<Vec<String>>, String> {
        read_with(bytes, format, &TextOptions::default())
    }

    fn read_with(
        bytes: &[u8],
        format: TextFormat,
        options: &TextOptions,
    ) -> Result<Vec<Vec<String>>, String> {
        let drops = Drops(Cursor::new(bytes.to_vec()));
        let input = Input::new(Box::new(drops), options.encoding);
        let dialect = Dialect::of(format, options).unwrap();
        let read = || {
            let mut rows = Rows::new(input?, dialect, options)?;
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
        read(text.as_bytes(), TextFormat::Csv)
    }

    fn tsv(text: &str) -> Result<Vec<Vec<String>>, String> {
        read(text.as_bytes(), TextFormat::Tsv)
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
            // A quote within a field that begins with none is a part of it.
            (
                "a,b\n5\" x,q\"r\"\n \"s\",\"\"\"t\"\"\"\n",
                rows(&[&["a", "b"], &["5\" x", "q\"r\""], &[" \"s\"", "\"t\""]]),
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
            for (format, writer) in [
                (TextFormat::Csv, csv::Delimiter::Comma),
                (TextFormat::Tsv, csv::Delimiter::Tab),
            ] {
                let mut file = Vec::new();
                let table = csv::CsvWriter::new(&mut file, batch.schema(), writer);
                let mut table = Box::new(table.unwrap());
                table.write(&batch).unwrap();
                table.finish(TableEnd::Complete).unwrap();
                let mut expected = vec![vec![shown.to_owned()]];
                expected.extend(texts.map(|text| vec![text.to_owned()]));
                assert_eq!(read(&file, format), Ok(expected));
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
        let error = read(b"a,b\n1,2\n\xff,3\n", TextFormat::Csv).unwrap_err();
        assert!(
            error.starts_with("line 3 is not UTF-8 at byte 8, "),
            "{error}"
        );
        let marked = read(b"\xef\xbb\xbfa,b\n1,\xff\n", TextFormat::Csv).unwrap_err();
        assert!(
            marked.starts_with("line 2 is not UTF-8 at byte 9, "),
            "{marked}"
        );
    }

    #[test]
    fn text_behind_a_closing_quote_is_refused() {
        for (text, expected) in [
            ("a,b\n1,\"2\"3\n", "line 2, column \"b\": "),
            ("a,b\n\"x\" ,2\n", "line 2, column \"a\": "),
            ("a,b\n1,\"\"x\n", "line 2, column \"b\": "),
            ("a,b\n1,\"q\"\"r\"s\"\n", "line 2, column \"b\": "),
            ("a,b\n\"1\n\n2\"3,\n", "line 4, column \"a\": "),
            ("a,\"b\"c\n1,2\n", "line 1, field 2: "),
        ] {
            let error = csv(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert!(error.contains("behind the closing quote"), "{error}");
        }
    }

    #[test]
    fn a_first_line_that_declares_the_delimiter_is_no_row() {
        let with = |delimiter| TextOptions {
            delimiter: Some(delimiter),
            ..TextOptions::default()
        };
        let expected = rows(&[&["a", "b"], &["1,5", "x"]]);
        for first in [
            "sep=;\n",
            "sep=;\r\n",
            "\"sep=;\"\r",
            "SEP=;\n",
            "\u{feff}sep=;\n",
        ] {
            let text = format!("{first}a;b\n1,5;x\n");
            for format in [TextFormat::Csv, TextFormat::Tsv] {
                let read = |delimiter| read_with(text.as_bytes(), format, &with(delimiter));
                assert_eq!(read(b';'), expected, "{text:?}");
                let error = read(b'|').unwrap_err();
                assert!(
                    error.starts_with("line 1 declares the delimiter \";\""),
                    "{error}"
                );
            }
        }
        let tabs = read_with(b"sep=\t\na\tb\n1,5\tx\n", TextFormat::Tsv, &with(b'\t'));
        assert_eq!(tabs, expected);
        let wrong = read_with(b"sep=;\na;b\n1\n", TextFormat::Csv, &with(b';'));
        assert_eq!(wrong.unwrap_err(), "line 3 has 1 fields, and the header 2");
        // No delimiter that a file may have, or not the first line.
        assert_eq!(csv("sep=x\n1\n"), rows(&[&["sep=x"], &["1"]]));
        assert_eq!(csv("sep=\n1\n"), rows(&[&["sep="], &["1"]]));
        assert_eq!(csv("sep=; \n1\n"), rows(&[&["sep=; "], &["1"]]));
        assert_eq!(csv("sep=tab\n1\n"), rows(&[&["sep=tab"], &["1"]]));
        assert_eq!(csv("a\nsep=;\n"), rows(&[&["a"], &["sep=;"]]));
    }

    #[test]
    fn a_dialect_has_its_own_delimiter_quote_and_comment() {
        let semicolons = TextOptions {
            delimiter: Some(b';'),
            quote: Some(Quote::Byte(b'\'')),
            comment: Some(b'#'),
            ..TextOptions::default()
        };
        for (text, expected) in [
            (
                "#made by hand\r\n# \"\r\na;b\r\n1,5;'x;\n#''y'\r\n#;\n\n\"2\";#3",
                rows(&[&["a", "b"], &["1,5", "x;\n#'y"], &["\"2\"", "#3"]]),
            ),
            ("#only", rows(&[&[]])),
            ("a\n#1\n''\n", rows(&[&["a"], &[""]])),
        ] {
            let read = read_with(text.as_bytes(), TextFormat::Csv, &semicolons);
            assert_eq!(read, expected, "{text:?}");
        }
        let plain = TextOptions {
            quote: Some(Quote::None),
            ..TextOptions::default()
        };
        let text = b"a\tb\n\"x\tC:\\new\n\"\ty\"\n";
        let expected = rows(&[&["a", "b"], &["\"x", "C:\\new"], &["\"", "y\""]]);
        assert_eq!(read_with(text, TextFormat::Tsv, &plain), expected);
        // A comment counts as a line.
        let error = read_with(b"#\na;b\n#\n1\n", TextFormat::Csv, &semicolons).unwrap_err();
        assert_eq!(error, "line 4 has 1 fields, and the header 2");
    }

    #[test]
    fn names_are_those_of_the_header_of_the_options_or_the_places() {
        let options = |header, names: Option<&[&str]>| TextOptions {
            header: Some(header),
            names: names.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            ..TextOptions::default()
        };
        let text = b"\n1,\"2\n\"\n3,4\n";
        for (options, expected) in [
            (options(true, None), rows(&[&["1", "2\n"], &["3", "4"]])),
            (
                options(true, Some(&["a", "b"])),
                rows(&[&["a", "b"], &["3", "4"]]),
            ),
            (
                options(false, Some(&["a", "b"])),
                rows(&[&["a", "b"], &["1", "2\n"], &["3", "4"]]),
            ),
            (
                options(false, None),
                rows(&[&["column1", "column2"], &["1", "2\n"], &["3", "4"]]),
            ),
        ] {
            assert_eq!(read_with(text, TextFormat::Csv, &options), expected);
        }
        let wrong = read_with(text, TextFormat::Csv, &options(false, Some(&["a"])));
        assert_eq!(
            wrong.unwrap_err(),
            "the first row has 2 fields, and names 1"
        );
        let short = read_with(b"1,2\n3\n", TextFormat::Csv, &options(false, None));
        assert_eq!(
            short.unwrap_err(),
            "line 2 has 1 fields, and the first row 2"
        );
    }
}
