//! The texts of DataFusion's errors in words for clients: without the names that only its authors and
//! Arrow's know, and without the position, which is told beside them. Called by `error.rs`.

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, DataFusionError, SchemaError},
    sql::sqlparser::parser::ParserError,
};
use datastreamer_table::{column_metadata::few_names, type_name};

/// What stands before the position in the text of the parser's error.
const POSITION: &str = " at Line: ";
/// What DataFusion puts before a table's name, unless the query has it.
const DEFAULT_SCHEMA: [&str; 2] = ["datafusion.public.", "datafusion."];
/// What DataFusion, Arrow and Parquet put before a text, some before one another's.
const PREFIXES: [&str; 23] = [
    "Arrow error: ",
    "Arrow: ",
    "Cast error: ",
    "Compute error: ",
    "EOF: ",
    "Error during planning: ",
    "Execution error: ",
    "External error: ",
    "External: ",
    "General error: ",
    "IO error: ",
    "Internal error: ",
    "Invalid argument error: ",
    "Io error: ",
    "NYI: ",
    "Object Store error: ",
    "Optimizer rule 'type_coercion' failed\ncaused by\n",
    "Parquet argument error: ",
    "Parquet error: ",
    "Parser error: ",
    "SQL error: ",
    "Schema error: ",
    "This feature is not implemented: ",
];

/// The position of an error in a query's text, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// Returns the text and, if it has one, the position of an error without a cause.
pub(crate) fn message(root: &DataFusionError) -> (String, Option<Position>) {
    match root {
        DataFusionError::SQL(error, _) => match &**error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
                (for_clients(text), position_in(text))
            }
            ParserError::RecursionLimitExceeded => ("the query is nested too deeply".into(), None),
        },
        DataFusionError::SchemaError(error, _) => (of_schema(error), None),
        root => (for_clients(&root.message()), None),
    }
}

fn of_schema(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => no_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            let name = &field.name;
            format!(
                "several tables have a column \"{name}\": write the name of the table before it"
            )
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            format!("two columns are called \"{name}\": rename one with AS")
        }
    }
}

fn no_column(column: &Column, there: &[Column]) -> String {
    let name = &column.name;
    let in_capitals = there
        .iter()
        .find(|other| other.name != *name && other.name.to_lowercase() == name.to_lowercase());
    let hint = match in_capitals {
        Some(other) => format!("; a name with capitals has quotes: \"{}\"", other.name),
        None => String::new(),
    };
    let mut names: Vec<_> = there.iter().map(|other| other.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let names = match names.is_empty() {
        true => String::new(),
        false => format!("; there are {}", few_names(&names)),
    };
    match &column.relation {
        Some(table) => format!("the table \"{table}\" has no column \"{name}\"{hint}{names}"),
        None => format!("there is no column \"{name}\"{hint}{names}"),
    }
}

fn for_clients(text: &str) -> String {
    // Before it stands why each signature does not match, as an internal error.
    let from = text.find("No function matches the given name").unwrap_or(0);
    let text = &text[from..];
    let end = text.find("\nThis issue was likely caused by a bug");
    let text = &text[..end.unwrap_or(text.len())];
    let end = position_in(text).and_then(|_| text.rfind(POSITION));
    let text = without_prefixes(text[..end.unwrap_or(text.len())].trim());
    match missing_table(text) {
        Some(table) => format!("there is no table \"{table}\""),
        None => with_type_names(text),
    }
}

fn without_prefixes(mut text: &str) -> &str {
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    text
}

/// Reads the name of a table that is not there, as the query has it.
fn missing_table(text: &str) -> Option<&str> {
    let name = text.strip_prefix("table '")?.strip_suffix("' not found")?;
    let schemas = DEFAULT_SCHEMA.iter();
    let bare = schemas
        .filter_map(|schema| name.strip_prefix(schema))
        .next();
    Some(bare.unwrap_or(name))
}

/// Reads the position from the text of the parser's error: `... at Line: 1, Column: 8`.
fn position_in(text: &str) -> Option<Position> {
    let (_, place) = text.rsplit_once(POSITION)?;
    let (line, column) = place.split_once(", Column: ")?;
    let digits = column.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Position {
        line: line.parse().ok()?,
        column: digits.parse().ok()?,
    })
}

/// Replaces Arrow's names of types in a text. Those that are words of English too, such as `List`,
/// are names only with what is in them: `List(Int64)`.
fn with_type_names(text: &str) -> String {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        replaced.push_str(&rest[..start]);
        rest = &rest[start..];
        let word = rest.find(|character| !is_word(character));
        let word = word.unwrap_or(rest.len());
        let whole = word + in_parentheses(&rest[word..]);
        let is_name = whole > word || rest[..word].contains(|digit: char| digit.is_ascii_digit());
        let parsed = is_name
            .then(|| rest[..whole].parse::<DataType>().ok())
            .flatten();
        match parsed {
            Some(data_type) => {
                replaced.push_str(&type_name(&data_type));
                rest = &rest[whole..];
            }
            None => {
                replaced.push_str(&rest[..word]);
                rest = &rest[word..];
            }
        }
    }
    replaced + rest
}

/// Returns the length of a part in parentheses at the start of a text; 0 if there is none.
fn in_parentheses(text: &str) -> usize {
    if !text.starts_with('(') {
        return 0;
    }
    let mut depth = 0;
    let end = text.find(|character| {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_for_clients_have_no_position_and_no_names_of_another_program() {
        for (text, expected) in [
            (
                "Internal error: Function 'sum' failed to match any signature.\nThis issue was likely \
                 caused by a bug in DataFusion's code. Please help us. No function matches the given \
                 name and argument types 'sum(Utf8)'.",
                "No function matches the given name and argument types 'sum(text)'.",
            ),
            (
                "No function matches the given name and argument types 'sum(Utf8)'. You might need to \
                 add explicit type casts.\n\tCandidate functions:\n\tsum(Decimal)\n\tsum(UInt64)",
                "No function matches the given name and argument types 'sum(text)'. You might need to \
                 add explicit type casts.\n\tCandidate functions:\n\tsum(Decimal)\n\tsum(unsigned \
                 64-bit integer)",
            ),
            (
                "Internal error: it.\nThis issue was likely caused by a bug in DataFusion's code.",
                "it.",
            ),
            (
                "Unterminated string literal at Line: 1, Column: 35",
                "Unterminated string literal",
            ),
            (
                "Cannot coerce Timestamp(µs, \"UTC\") + Utf8View, or Interval(MonthDayNano)",
                "Cannot coerce timestamp with zone in microseconds + text, or interval",
            ),
            (
                "no type: Int640, xInt64, List of (a)",
                "no type: Int640, xInt64, List of (a)",
            ),
        ] {
            assert_eq!(for_clients(text), expected);
        }
    }

    #[test]
    fn the_parser_s_position_is_read_from_its_text() {
        let text = "Expected: an expression, found: FROM at Line: 2, Column: 14";
        let place = Position {
            line: 2,
            column: 14,
        };
        assert_eq!(position_in(text), Some(place));
        assert_eq!(position_in("no place"), None);
    }
}
