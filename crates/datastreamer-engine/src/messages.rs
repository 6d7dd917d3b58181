//! The texts of DataFusion's errors in words for clients: without the names that only its authors and
//! Arrow's know, and without the position, which is told beside them. Called by `error.rs`.

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, DataFusionError, SchemaError},
    sql::sqlparser::parser::ParserError,
};
use datastreamer_table::{column_metadata::few_names, type_name};

/// What is told of an error of the query engine itself.
pub(crate) const INTERNAL: &str = "the query engine fails on this query: the log has more";
/// How the error of a function begins that has no such arguments.
const NO_FUNCTION: &str = "No function matches the given name";
/// How the error of a regular expression begins.
const REGEX: &str = "regex parse error:";
/// What is in the error of one that is too large, by functions and by operators.
const LARGE_REGEX: [&str; 2] = ["Compiled regex exceeds size limit", "CompiledTooBig"];
/// How some functions begin it.
const NO_REGEX: &str = "Regular expression did not compile: ";
/// So many characters of a wrong name may differ from the one that a message proposes.
const MISTAKES_MAX: usize = 2;
/// So many bytes has a name that another one is proposed for: to compare two takes the product of their
/// lengths.
const MISTAKEN_MAX: usize = 64;
/// Texts of DataFusion and Arrow that say too little, or name what no client knows; and ours.
const REPLACED: [(&str, &str); 28] = [
    (
        "compound identifier: ",
        "a column is named by itself, or behind its table and a dot",
    ),
    (
        "Unterminated encoded string literal",
        "a text with escapes (e'...') is not closed, or has one that is none",
    ),
    (
        "[return_type] SUM not supported for",
        "sum is for numbers and lengths of time",
    ),
    (
        "Unexpected EOF while in a multi-line comment",
        "a comment (/*) is not closed",
    ),
    ("Unsupported LIMIT expression", "LIMIT has a number"),
    ("Unsupported OFFSET expression", "OFFSET has a number"),
    (
        "Unsupported JOIN operator",
        "not supported: a JOIN of this kind",
    ),
    (
        "Unsupported SQL unary operator",
        "not supported: this operator before a value",
    ),
    (
        "Unsupported binary operator",
        "not supported: this operator between values",
    ),
    (
        "Offset overflow error",
        "the values of a column take more than 2 GiB at once",
    ),
    ("Divide by zero error", "division by zero"),
    (
        "Aggregate can not be used as a sliding accumulator",
        "not supported: this aggregate over a window frame that begins behind the first row",
    ),
    (
        "Dot access not supported for",
        "not supported: a dot behind an expression of this kind",
    ),
    ("Format error", "the format of a time is wrong"),
    (
        "Substring without for/from is not valid",
        "a substring needs FROM or FOR",
    ),
    (
        "Cannot cast timezone to different",
        "a time that the clocks of the zone never show, or twice",
    ),
    (
        "In/Exist/SetComparison subquery can",
        "not supported: a subquery at this place",
    ),
    (
        "Unable to cast to Date32",
        "the text is no date, or one that is too far from 1970",
    ),
    (
        "Failed to allocate additional",
        "the query needs more memory than there is for queries",
    ),
    (
        "Encountered non UTF-8 data",
        "a binary value that is no text (UTF-8) cannot become one",
    ),
    (
        "Memory Exhausted while",
        "the query needs more memory than there is for queries",
    ),
    (
        "Cannot merge sorted runs",
        "the query needs more memory than there is for queries",
    ),
    (
        "Overflow converting",
        "a time in a query lies between the years 1677 and 2262",
    ),
    ("No SQL statements were provided", "there is no query"),
    (
        "The context currently only supports a single SQL statement",
        "only one SELECT is allowed here",
    ),
    (
        "Projections require unique",
        "two columns of a SELECT have the same name: rename one with AS",
    ),
    (
        "Cannot get result type for decimal operation",
        "the result of the operation has more digits than decimals have",
    ),
    (
        "Range too large to materialize",
        "a range has too many elements",
    ),
];
/// Texts of which a part is kept: what stands before it, what behind it (nothing: up to the end), and
/// what does so in ours.
const KEPT: [[&str; 4]; 25] = [
    [
        "Invalid HexStringLiteral '",
        "'",
        "a binary value has hexadecimal digits, which these are not: ",
        "",
    ],
    [
        "Cannot infer common argument type for regex operation ",
        "",
        "not possible with these types: ",
        "",
    ],
    ["Query ", " not implemented yet", "not supported: ", ""],
    [
        "expr type ",
        " in SetComparison",
        "not possible with these types, ANY or ALL: ",
        "",
    ],
    [
        "Aggregate function calls cannot be nested: ",
        "",
        "aggregate functions cannot be nested: ",
        "",
    ],
    [
        "Cannot access field at argument 1: type ",
        " is not Struct",
        "a value of type ",
        " has no fields",
    ],
    [
        "Cannot coerce arithmetic expression ",
        " to valid types",
        "not possible with these types: ",
        "",
    ],
    [
        "Cannot create filter with non-boolean predicate '",
        "' returning ",
        "a condition must be true or false, which `",
        "` is not",
    ],
    [
        "Cannot get result type for temporal operation ",
        ": ",
        "not possible with these types: ",
        "",
    ],
    [
        "Cannot infer common argument type for comparison operation ",
        "",
        "not possible with these types: ",
        "",
    ],
    [
        "Cannot infer common argument type for logical boolean operation ",
        "",
        "not possible with these types: ",
        "",
    ],
    [
        "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column ",
        " must appear",
        "the column ",
        " must be in GROUP BY or within an aggregate function",
    ],
    [
        "Expected close delimiter '",
        "' before EOF",
        "a name is not closed by ",
        "",
    ],
    [
        "HAVING clause references: ",
        " must appear",
        "a column of HAVING (",
        ") must be in GROUP BY or within an aggregate function",
    ],
    [
        "Invalid qualifier ",
        "",
        "the query reads no table \"",
        "\"",
    ],
    [
        "No value found for placeholder with name ",
        "",
        "there is no value for the parameter ",
        "",
    ],
    [
        "Source table contains ",
        " columns",
        "the names in parentheses behind a table are not as many as its columns, of which there are ",
        "",
    ],
    [
        "The window ",
        " is not defined",
        "there is no window \"",
        "\"",
    ],
    [
        "There isn't a common type to coerce ",
        " in LIKE expression",
        "LIKE is for texts, not for ",
        "",
    ],
    [
        "Too many columns! The subquery should only return one column: ",
        "",
        "a subquery at this place has one column only, not ",
        "",
    ],
    ["Unsupported SQL type ", "", "there is no type ", ""],
    [
        "Unsupported compound identifier '",
        "'",
        "there is no table \"",
        "\"",
    ],
    [
        "Unsupported compound identifier ",
        "",
        "there is no table ",
        "",
    ],
    [
        "table function '",
        "' not found",
        "there is no table function \"",
        "\"",
    ],
    [
        "variable [\"",
        "\"] has no type",
        "not supported: a variable (",
        ")",
    ],
];
/// Functions that need a window: without one DataFusion does not know them.
const OF_WINDOWS: [&str; 9] = [
    "cume_dist",
    "dense_rank",
    "lag",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];
/// How the error of a function begins that is not there.
const INVALID_FUNCTION: &str = "Invalid function '";
/// What stands in the parser's errors where the query has ended.
const FOUND_NOTHING: &str = "found: EOF";
/// Arrow's names of decimals, which stand alone in some texts.
const DECIMALS: [&str; 4] = ["Decimal32", "Decimal64", "Decimal128", "Decimal256"];
/// Parts of a query that DataFusion runs at some places only, by its names, and what they are.
const PARTS: [(&str, &str); 12] = [
    ("Unpivot", "UNPIVOT"),
    ("Collate", "COLLATE"),
    ("Convert", "CONVERT"),
    (
        "Exists",
        "EXISTS, NOT IN, ANY or ALL of this subquery, or at this place",
    ),
    ("InSubquery", "IN of this subquery, or at this place"),
    ("MatchAgainst", "MATCH AGAINST"),
    (
        "OuterReferenceColumn",
        "a reference to an outer query at this place",
    ),
    ("Pivot", "PIVOT"),
    (
        "ScalarSubquery",
        "a subquery at this place that refers to the outer query",
    ),
    (
        "SetComparison",
        "ANY or ALL of a subquery, but as a condition of WHERE",
    ),
    ("Wildcard", "* as an argument of this function"),
    ("WindowFunction", "a window function at this place"),
];
/// What stands before the arguments that a function has.
const CANDIDATES: &str = "Candidate functions:";
/// DataFusion's names of groups of types, in a list of arguments.
const GROUPS: [&str; 9] = [
    "Any(",
    "Coercible(",
    "Comparable(",
    "Exact(",
    "NullAry(",
    "Numeric(",
    "String(",
    "UserDefined",
    "VariadicAny",
];
/// What stands before the name of a part of SQL that DataFusion knows and does not run.
const UNSUPPORTED: [&str; 3] = [
    "Physical plan does not support logical expression ",
    "Unsupported ast node in sqltorel: ",
    "Unsupported ast node ",
];
/// What Arrow and DataFusion say before or instead of what is out of range, and what it is.
const OVERFLOWS: [(&str, &str); 8] = [
    ("Signed integer overflow in ", ""),
    ("Overflow happened on: ", ""),
    ("Overflow happened on ", ""),
    ("Array overflow on ", ""),
    (
        "Decimal overflow: rounded value",
        "a decimal that is rounded",
    ),
    ("Date arithmetic overflow: ", "a date and an interval"),
    ("Timestamp out of range", "a time and an interval"),
    ("Arithmetic Overflow in AvgAccumulator", "an average"),
];
/// What stands before the position in the text of the parser's error.
const POSITION: &str = " at Line: ";
/// What DataFusion puts before a table's name, unless the query has it.
const DEFAULT_SCHEMA: [&str; 2] = ["datafusion.public.", "datafusion."];
/// What DataFusion, Arrow and Parquet put before a text, some before one another's.
const PREFIXES: [&str; 24] = [
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
    "Ipc error: ",
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

/// What stands before a text of the decoder of Parquet.
pub(crate) const OF_PARQUET: &str = "Parquet data cannot be read: ";
/// How errors of decompression begin: of Snappy, gzip, LZ4 and Zstandard, and Brotli's.
const DECOMPRESSION: [&str; 15] = [
    "snappy: ",
    "corrupt deflate stream",
    "corrupt gzip stream",
    "deflate decompression error",
    "invalid gzip header",
    "the offset to copy is not contained in the decompressed buffer",
    "provided output is too small",
    "expected another byte, found none",
    "literal is out of bounds",
    "Unknown frame descriptor",
    "Data corruption detected",
    "Restored data doesn't match checksum",
    "Src size is incorrect",
    "Destination buffer is too small",
    "Invalid Data",
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
        root if is_of_large_regex(&root.message()) => {
            ("a regular expression is too large".into(), None)
        }
        // An assertion, which only its authors understand. `error.rs` logs it.
        DataFusionError::Internal(text) if !text.contains(NO_FUNCTION) => (INTERNAL.into(), None),
        root => (for_clients(&root.message()), None),
    }
}

/// Returns the table that is not there, if that is the error. DataFusion says so in its text only.
pub(crate) fn missing_table(root: &DataFusionError) -> Option<&str> {
    match root {
        DataFusionError::Plan(text) => missing_table_in(text),
        _ => None,
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

/// Finds the name that a wrong one may be meant for.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > MISTAKEN_MAX {
        return None;
    }
    // In a short name two characters are most of it.
    let most = MISTAKES_MAX.min(name.chars().count() / 2);
    let wanted = name.to_lowercase();
    let alike = names
        .into_iter()
        .filter(|known| known.len().abs_diff(name.len()) <= MISTAKES_MAX)
        .map(|known| (strsim::osa_distance(&known.to_lowercase(), &wanted), known));
    let nearest = alike.min_by_key(|(mistakes, _)| *mistakes);
    let nearest = nearest.filter(|(mistakes, _)| *mistakes <= most);
    nearest.map(|(_, known)| known)
}

fn no_column(column: &Column, there: &[Column]) -> String {
    let name = &column.name;
    let of_table = |other: &&Column| column.relation.is_none() || other.relation == column.relation;
    let there = there.iter().filter(of_table);
    let mut names: Vec<_> = there.map(|other| other.name.as_str()).collect();
    // Names have a case: first the one that is perhaps meant.
    names.sort_by_key(|other| (other.to_lowercase() != name.to_lowercase(), *other));
    names.dedup();
    let there_are = few_names(&names);
    match (&column.relation, names.is_empty()) {
        (Some(table), true) => format!("the query reads no table \"{table}\""),
        (Some(table), false) => {
            format!("the table \"{table}\" has no column \"{name}\"; there are {there_are}")
        }
        (None, true) => format!("there is no column \"{name}\""),
        (None, false) => format!("there is no column \"{name}\"; there are {there_are}"),
    }
}

fn for_clients(text: &str) -> String {
    // Before it stands why each signature does not match, as an internal error.
    let from = text.find(NO_FUNCTION).unwrap_or(0);
    let text = &text[from..];
    let end = text.find("\nThis issue was likely caused by a bug");
    let text = &text[..end.unwrap_or(text.len())];
    let end = position_in(text).and_then(|_| text.rfind(POSITION));
    let text = of_reader(text[..end.unwrap_or(text.len())].trim());
    let text = without_values(&text);
    if is_of_regex(text) {
        return of_regex(text);
    }
    match missing_table_in(text) {
        Some(table) => format!("there is no table \"{table}\""),
        None => each_once(&with_type_names(&with_known_words(text))),
    }
}

/// Leaves out candidates that are there before: each kind of text has one.
fn each_once(text: &str) -> String {
    let Some((problem, candidates)) = text.split_once(CANDIDATES) else {
        return text.to_owned();
    };
    let mut lines: Vec<_> = Vec::new();
    for line in candidates.lines() {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    format!("{problem}{CANDIDATES}{}", lines.join("\n"))
}

fn of_regex(text: &str) -> String {
    let problem = match text.rsplit_once("error: ") {
        Some((_, problem)) => problem.lines().next().unwrap_or_default(),
        None => text.trim_start_matches(NO_REGEX),
    };
    format!("the regular expression is wrong: {problem}")
}

/// Replaces or cuts words that are no names of Arrow's types, and that no client knows.
fn with_known_words(text: &str) -> String {
    for unsupported in UNSUPPORTED {
        if let Some(what) = text.strip_prefix(unsupported) {
            let part = PARTS.iter().find(|(name, _)| what.starts_with(name));
            return format!("not supported: {}", part.map_or(what, |(_, part)| part));
        }
    }
    if let Some((_, ours)) = REPLACED.iter().find(|(theirs, _)| text.starts_with(theirs)) {
        return (*ours).to_owned();
    }
    if let Some(name) = text.strip_prefix(INVALID_FUNCTION) {
        return no_function(name);
    }
    if let Some(ours) = KEPT.iter().find_map(|kept| keep(text, kept)) {
        return ours;
    }
    if let Some(expected) = text.strip_suffix(FOUND_NOTHING) {
        return format!("{expected}found: the end of the query");
    }
    for (said, what) in OVERFLOWS {
        if let Some((_, numbers)) = text.split_once(said) {
            let what = if what.is_empty() { numbers } else { what };
            return format!("the result is out of range: {what}");
        }
    }
    let Some((problem, candidates)) = text.split_once(CANDIDATES) else {
        return DECIMALS.iter().fold(text.to_owned(), |text, name| {
            text.replace(&format!(" {name} of precision"), " decimal of precision")
        });
    };
    if GROUPS.iter().any(|group| candidates.contains(group)) {
        return problem.trim_end().to_owned();
    }
    let mut candidates = candidates.to_owned();
    for word in ["Decimal", "Duration", "Interval"] {
        candidates =
            candidates.replace(&format!("({word})"), &format!("({})", word.to_lowercase()));
    }
    let candidates = candidates.replace("String", "text");
    let candidates = candidates.replace("Null", "null");
    format!("{problem}{CANDIDATES}{candidates}")
}

fn keep(text: &str, [before, behind, ours, ours_behind]: &[&str; 4]) -> Option<String> {
    let kept = text.strip_prefix(before)?;
    let end = match behind.is_empty() {
        true => kept.len(),
        false => kept.find(behind)?,
    };
    Some(format!("{ours}{}{ours_behind}", &kept[..end]))
}

/// Says that there is no function; `text` is its name, and behind it perhaps the nearest one, which may
/// be far.
fn no_function(text: &str) -> String {
    let (name, rest) = text.split_once('\'').unwrap_or((text, ""));
    if OF_WINDOWS.contains(&name.to_lowercase().as_str()) {
        return format!("the function {name} needs a window: {name}(...) OVER (...)");
    }
    let near = rest.split('\'').nth(1);
    match nearest(name, near) {
        Some(near) => format!("there is no function {name}; did you mean {near}?"),
        None => format!("there is no function {name}"),
    }
}

/// Cuts what Rust prints of a value behind its name: `Pivot { table: ...`.
fn without_values(text: &str) -> &str {
    let is_field = |rest: &str| {
        let name = rest.split_once(": ").map_or("", |(name, _)| name);
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let mut braces = text.match_indices(" { ");
    let Some((end, _)) = braces.find(|(at, brace)| is_field(&text[at + brace.len()..])) else {
        return text;
    };
    let name = text[..end].rfind(' ').map_or(0, |blank| blank + 1);
    let parenthesis = text[name..end].find('(').map(|at| name + at);
    &text[..parenthesis.unwrap_or(end)]
}

/// Removes the prefixes of readers' errors. `Parquet` is a word for clients.
pub(crate) fn of_reader(mut text: &str) -> String {
    let mut is_of_parquet = false;
    while let Some(prefix) = PREFIXES.iter().find(|prefix| text.starts_with(**prefix)) {
        is_of_parquet |= prefix.starts_with("Parquet");
        text = &text[prefix.len()..];
    }
    if DECOMPRESSION.iter().any(|start| text.starts_with(start)) {
        text = "its compressed values are damaged";
    }
    match is_of_parquet {
        true => format!("{OF_PARQUET}{text}"),
        false => text.to_owned(),
    }
}

/// Returns whether a text is about a regular expression.
pub(crate) fn is_of_regex(text: &str) -> bool {
    text.starts_with(REGEX) || text.starts_with(NO_REGEX) || is_of_large_regex(text)
}

fn is_of_large_regex(text: &str) -> bool {
    LARGE_REGEX.iter().any(|part| text.contains(part))
}

/// Reads the name of a table that is not there, as the query has it.
fn missing_table_in(text: &str) -> Option<&str> {
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
/// are names only with what is in them: `List(Int64)`. A constant is its value: `Int64(1)`.
fn with_type_names(text: &str) -> String {
    // Of the function `arrow_cast`, which takes Arrow's names.
    if text.contains("arrow type name") {
        let (text, _) = text.split_once(". Error ").unwrap_or((text, ""));
        return text.to_owned();
    }
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        replaced.push_str(&rest[..start]);
        rest = &rest[start..];
        let word = rest.find(|character| !is_word(character));
        let word = word.unwrap_or(rest.len());
        let whole = word + in_parentheses(&rest[word..]);
        let is_name = whole > word || is_type(&rest[..word]);
        let parsed = |text: &str| is_name.then(|| text.parse::<DataType>().ok()).flatten();
        let (name, length) = match (parsed(&rest[..whole]), parsed(&rest[..word])) {
            (Some(data_type), _) => (type_name(&data_type), whole),
            (None, Some(_)) if whole > word => (rest[word + 1..whole - 1].to_owned(), whole),
            _ => (rest[..word].to_owned(), word),
        };
        replaced.push_str(&name);
        rest = &rest[length..];
    }
    replaced + rest
}

/// Returns whether a word that Arrow calls a type by is one of no language.
fn is_type(word: &str) -> bool {
    let has_digit = word.contains(|digit: char| digit.is_ascii_digit());
    has_digit || ["Binary", "Boolean", "LargeBinary", "BinaryView"].contains(&word)
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
                 add explicit type casts.\n\tCandidate functions:\n\tsum(decimal)\n\tsum(unsigned \
                 64-bit integer)",
            ),
            (
                "Memory Exhausted while Sorting (DiskManager is disabled)",
                "the query needs more memory than there is for queries",
            ),
            (
                "Error during planning: Projections require unique expression names but the \
                 expression \"a.x\" at position 0 and \"a.x\" at position 1 have the same name.",
                "two columns of a SELECT have the same name: rename one with AS",
            ),
            (
                "Error during planning: Column \"count(Int64(1))\", Utf8(\"a\"), Boolean",
                "Column \"count(1)\", \"a\", boolean",
            ),
            (
                "This feature is not implemented: Unsupported ast node Pivot { table: 1 } in it",
                "not supported: PIVOT",
            ),
            (
                "Physical plan does not support logical expression InSubquery(InSubquery { e: 1 })",
                "not supported: IN of this subquery, or at this place",
            ),
            (
                "Unsupported ast node in sqltorel: Identifier",
                "not supported: Identifier",
            ),
            (
                "Failed to allocate additional 760.0 KB for TopK[0] with 0.0 B already allocated",
                "the query needs more memory than there is for queries",
            ),
            (
                "Unable to cast to Date32 for converting from i64 to i32 failed",
                "the text is no date, or one that is too far from 1970",
            ),
            (
                "Unsupported type 'Nope'. Must be a supported arrow type name such as 'Int32'. \
                 Error unknown token: Nope",
                "Unsupported type 'Nope'. Must be a supported arrow type name such as 'Int32'",
            ),
            (
                "1.00 is too large to store in a Decimal128 of precision 2. Max is 0.99",
                "1.00 is too large to store in a decimal of precision 2. Max is 0.99",
            ),
            (
                "Cannot infer common string type for string concat operation Float64 || Binary",
                "Cannot infer common string type for string concat operation 64-bit float || binary",
            ),
            (
                "No function matches the given name and argument types 'initcap(Binary)'.\n\t\
                 Candidate functions:\n\tinitcap(String)",
                "No function matches the given name and argument types 'initcap(binary)'.\n\t\
                 Candidate functions:\n\tinitcap(text)",
            ),
            ("Unknown word: a { b", "Unknown word: a { b"),
            (
                "table 'datafusion.public./etc/passwd' not found",
                "there is no table \"/etc/passwd\"",
            ),
            ("table 'a.b' not found", "there is no table \"a.b\""),
            (
                "Optimizer rule 'type_coercion' failed\ncaused by\nError during planning: it",
                "it",
            ),
            (
                "regex parse error:\n    (\n    ^\nerror: unclosed group",
                "the regular expression is wrong: unclosed group",
            ),
            (
                "Regular expression did not compile: Syntax(\n~~\nregex parse error:\n    (?zz)a\n\
                 error: unrecognized flag\n~~\n)",
                "the regular expression is wrong: unrecognized flag",
            ),
            (
                "Regular expression did not compile: [",
                "the regular expression is wrong: [",
            ),
            (
                "Parquet error: Parquet argument error: External: snappy: corrupt input",
                "Parquet data cannot be read: its compressed values are damaged",
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
