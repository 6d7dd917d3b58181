//! The flags that say how files of text are written, and the types of their columns. They hold for the
//! tables of the command line.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::DataType;
use clap::Args;
use datastreamer_engine::text::{
    DecimalMark, Quote, TextEncoding, TextOptions, parse_comment, parse_decimal, parse_delimiter,
    parse_quote, parse_type,
};

use crate::config::reference::{ROUTES, help};

const HEADING: &str = "CSV, TSV and NDJSON files of the command line";

/// How CSV, TSV and NDJSON files are written.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TextFlags {
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "CHARACTER",
        value_parser = parse_delimiter,
        help = help(ROUTES, "delimiter"),
    )]
    delimiter: Option<u8>,
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "CHARACTER",
        value_parser = parse_quote,
        help = help(ROUTES, "quote"),
    )]
    quote: Option<Quote>,
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "true|false",
        help = help(ROUTES, "header"),
    )]
    header: Option<bool>,
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "NAME,NAME",
        value_delimiter = ',',
        help = help(ROUTES, "names"),
    )]
    names: Option<Vec<String>>,
    /// A text that is null, besides the empty one; may be given several times.
    #[arg(long, help_heading = HEADING, value_name = "TEXT", allow_hyphen_values = true)]
    null: Vec<String>,
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "CHARACTER",
        value_parser = parse_comment,
        help = help(ROUTES, "comment"),
    )]
    comment: Option<u8>,
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "ENCODING",
        value_parser = TextEncoding::parse,
        help = help(ROUTES, "encoding"),
    )]
    encoding: Option<TextEncoding>,
    #[arg(
        long,
        help_heading = HEADING,
        value_name = ".|,",
        value_parser = parse_decimal,
        help = help(ROUTES, "decimal"),
    )]
    decimal: Option<DecimalMark>,
    /// The type of a column, which is not inferred then, for example code=text; may be given several
    /// times.
    #[arg(
        long = "type",
        help_heading = HEADING,
        value_name = "COLUMN=TYPE",
        value_parser = parse_column,
    )]
    types: Vec<(String, DataType)>,
}

impl TextFlags {
    /// Checks that no column has two types.
    ///
    /// # Errors
    /// One has.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut typed = HashSet::new();
        match self.types.iter().find(|(name, _)| !typed.insert(name)) {
            Some((name, _)) => Err(format!("--type: column \"{name}\" has two types")),
            None => Ok(()),
        }
    }

    /// Returns the options that they are.
    pub(super) fn options(&self) -> TextOptions {
        TextOptions {
            delimiter: self.delimiter,
            quote: self.quote,
            header: self.header,
            names: self.names.clone(),
            nulls: self.null.clone(),
            comment: self.comment,
            encoding: self.encoding,
            decimal: self.decimal,
            types: BTreeMap::from_iter(self.types.iter().cloned()),
            ..TextOptions::default()
        }
    }
}

/// Reads the name and the type of a column: a name may have `=`, a type has none.
fn parse_column(text: &str) -> Result<(String, DataType), String> {
    let (name, data_type) = text
        .rsplit_once('=')
        .ok_or("a type is written as COLUMN=TYPE")?;
    Ok((name.to_owned(), parse_type(data_type)?))
}
