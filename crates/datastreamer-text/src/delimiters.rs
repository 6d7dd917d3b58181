//! Which delimiter a CSV or TSV file has. Many that are called `.csv` have semicolons, bars or tabs: by
//! commas they would be one column of whole lines. Another delimiter is taken only if every row agrees,
//! or the first line declares it (`sep=;`).
//!
//! `lib.rs` calls it. It reads a file once for each delimiter that its header shows, and no values.

use std::{
    fs::File,
    io::{self, Seek},
};

use arrow::datatypes::Schema;

use crate::{
    TextForm, TextFormat,
    csv::{self, BETWEEN_NAMES, REPLACED_HEADER},
    encoding::TextEncoding,
    fields::{Declared, Dialect, Rows, delimiter_name as name},
    input,
    options::{DecimalMark, TextOptions},
};

/// What may be between fields besides the usual.
const OTHERS: [u8; 3] = [b';', b'|', b'\t'];

/// The columns of a file, and how they were found.
#[derive(Debug)]
pub struct Inferred {
    /// The columns with their types.
    pub columns: Schema,
    /// How many rows there are, if they were read.
    pub rows: Option<u64>,
    /// The delimiter, if it is not the usual one of the format, or is declared in the file's first line.
    pub delimiter: Option<u8>,
    /// The encoding that was set, or that a byte order mark says, else UTF-8.
    pub encoding: TextEncoding,
    /// What was found out and not set, for people.
    pub notes: Vec<String>,
}

/// Infers the columns of a file: with the delimiter of the options, or the one of which the file shows
/// that it has it.
///
/// # Errors
/// The file cannot be read or split into rows.
pub(crate) fn infer(file: &File, form: TextForm<'_>, dialect: Dialect) -> io::Result<Inferred> {
    let options = form.options;
    let again = || {
        let mut file = file.try_clone()?;
        file.rewind()?;
        input(file, form)
    };
    let first = again()?;
    let encoding = first.encoding();
    let mut notes = Vec::new();
    if options.encoding.is_none() && encoding != TextEncoding::Utf8 {
        notes.push(format!("is {} by its byte order mark", encoding.name()));
    }
    let found = |(columns, rows), delimiter, notes| {
        Ok(Inferred {
            columns,
            rows,
            delimiter,
            encoding,
            notes,
        })
    };
    if let Some(delimiter) = options.delimiter {
        return found(
            csv::infer(again()?, dialect, options)?,
            Some(delimiter),
            notes,
        );
    }
    if let Some(Declared { delimiter, .. }) = Declared::of(&first) {
        let declared = TextOptions {
            delimiter: Some(delimiter),
            ..options.clone()
        };
        let delimiter_name = name(delimiter);
        declared.check_together().map_err(|text| {
            io::Error::other(format!(
                "line 1 declares the delimiter {delimiter_name:?} (sep=): {text}"
            ))
        })?;
        notes.push(format!(
            "declares the delimiter {delimiter_name:?} in its first line (sep=), which is no row"
        ));
        let dialect = dialect.with_delimiter(delimiter);
        // Other readers take the line for the header, and Excel for none.
        if Rows::first_row(again()?, dialect).is_ok_and(|header| header.len() == 1) {
            return Err(io::Error::other(format!(
                "line 1 declares the delimiter {delimiter_name:?} (sep=), and the row behind it has one \
                 field: set delimiter if line 1 is no row"
            )));
        }
        return found(
            csv::infer(again()?, dialect, &declared)?,
            Some(delimiter),
            notes,
        );
    }
    let usual = || {
        let commas = dialect.delimiter == b',' && options.decimal == Some(DecimalMark::Comma);
        match commas {
            true => Err(io::Error::other(
                "decimal = \",\" needs another delimiter than the comma: set delimiter",
            )),
            false => csv::infer(again()?, dialect, options),
        }
    };
    // A header whose fields are in quotes cannot be split by another delimiter than its own.
    let header = Rows::first_row(first, dialect).ok();
    if let Some(header) = &header
        && (header.len() != 1 || options.has_types_of(header))
    {
        return found(usual()?, None, notes);
    }
    let mut agree = Vec::new();
    let mut disagree = Vec::new();
    for delimiter in OTHERS {
        let other = dialect.with_delimiter(delimiter);
        let is_there = |header: &Vec<String>| header[0].contains(char::from(delimiter));
        if !header.as_ref().is_none_or(is_there)
            || dialect.has_comment(delimiter)
            || Rows::first_row(again()?, other).map_or(0, |header| header.len()) < 2
        {
            continue;
        }
        match csv::infer(again()?, other, options) {
            Ok(columns) => agree.push((delimiter, columns)),
            Err(error) => disagree.push((delimiter, error)),
        }
    }
    if agree.len() == 1
        && let Some((delimiter, (columns, rows))) = agree.pop()
    {
        let fields = columns.fields();
        let (count, other) = (fields.len(), name(delimiter));
        let why = match fields
            .iter()
            .all(|field| options.types.contains_key(field.name()))
        {
            true => "as declared",
            false => "in every row",
        };
        let usual = match header {
            Some(_) => "has one column",
            None => "cannot be split",
        };
        notes.push(format!(
            "{usual} by its usual delimiter, and has {count} with {other:?}, {why}: it is read with \
             {other:?}; set delimiter to be sure"
        ));
        return found((columns, rows), Some(delimiter), notes);
    }
    let why: Vec<_> = match agree.is_empty() {
        true => {
            let texts = disagree.iter();
            let texts =
                texts.map(|(delimiter, error)| format!("with {:?}: {error}", name(*delimiter)));
            texts.collect()
        }
        false => {
            let names = agree.iter().map(|(delimiter, _)| name(*delimiter));
            vec![format!(
                "every row has several columns with each of {:?}",
                names.collect::<Vec<_>>()
            )]
        }
    };
    if why.is_empty() {
        return found(usual()?, None, notes);
    }
    let why = why.join("; ");
    match usual() {
        Ok(columns) => {
            notes.push(format!(
                "is read as one column, although its header has other delimiters ({why}): set \
                 delimiter if it has more"
            ));
            found(columns, None, notes)
        }
        Err(error) => Err(io::Error::other(format!("{error} ({why}): set delimiter"))),
    }
}

impl Inferred {
    /// Returns the options with the delimiter and the header that were found: those of the first file of a
    /// table hold for the others, which may look as if they had another delimiter.
    #[must_use]
    pub fn settle(&self, format: TextFormat, options: &TextOptions) -> TextOptions {
        let usual = format.with_usual_delimiter(options).delimiter;
        let header = self.columns.metadata().get(REPLACED_HEADER);
        let header = header.map(|header| header.split(BETWEEN_NAMES).map(str::to_owned).collect());
        TextOptions {
            replaced_header: header.or_else(|| options.replaced_header.clone()),
            delimiter: self.delimiter.or(options.delimiter).or(usual),
            ..options.clone()
        }
    }

    /// Returns whether the file is written as usual for its format: by no option, and as UTF-8.
    pub fn is_usual(&self, options: &TextOptions) -> bool {
        options.is_empty() && self.delimiter.is_none() && self.encoding == TextEncoding::Utf8
    }
}
