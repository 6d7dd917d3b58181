//! The error of this crate. Its kind tells who can act: the client, the operator, or neither.

use std::{
    error::Error as StdError,
    fmt, io,
    path::{Path, PathBuf},
};

use datafusion::common::DataFusionError;
use datastreamer_table::column_metadata::{ColumnMetadataError, few_names};
use serde::{Deserialize, Serialize};

use crate::messages::{
    INTERNAL, OF_PARQUET, Position, is_of_regex, message, missing_table, nearest, of_reader,
};

/// The reason why there are no rows, or no more rows.
#[derive(Debug)]
pub struct EngineError {
    kind: EngineErrorKind,
    /// The file that the text is about, which does not name it.
    file: Option<Box<Path>>,
    text: String,
    /// Where a link leads that leads nowhere. It is no concern of clients.
    target: Option<Box<Path>>,
    position: Option<Position>,
    missing_table: Option<Box<str>>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// Who can act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// The client: the query or a value in it is wrong.
    BadQuery,
    /// The client or the operator: the query needs more memory or spill space than the limit.
    Exhausted,
    /// The client or the operator: the query took longer than the limit.
    TimedOut,
    /// Nobody: others have what the query needs, or a file system does not answer. It may be tried
    /// again.
    Busy,
    /// The client: the query fails on the data, for example with a division by zero or a text that is
    /// not a number.
    Computation,
    /// The operator: a file cannot be read, or changed while it was read.
    Data,
    /// Neither: the rows were stopped.
    Stopped,
}

impl EngineError {
    pub(crate) fn new(kind: EngineErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            file: None,
            text: text.into(),
            target: None,
            position: None,
            missing_table: None,
            cause: None,
        }
    }

    /// An error of these parts, which another process has told.
    pub(crate) fn of_parts(
        kind: EngineErrorKind,
        text: String,
        [file, target]: [Option<PathBuf>; 2],
        position: Option<Position>,
        missing_table: Option<String>,
    ) -> Self {
        Self {
            file: file.map(PathBuf::into_boxed_path),
            target: target.map(PathBuf::into_boxed_path),
            position,
            missing_table: missing_table.map(String::into_boxed_str),
            ..Self::new(kind, text)
        }
    }

    /// Returns the text without the file, the file, and where a link leads that leads nowhere.
    pub(crate) fn parts(&self) -> (&str, [Option<&Path>; 2]) {
        (&self.text, [self.file.as_deref(), self.target.as_deref()])
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::new(EngineErrorKind::BadQuery, text)
    }

    /// An error of data. The text may be one of a reader.
    pub(crate) fn data(text: impl Into<String>) -> Self {
        Self::new(EngineErrorKind::Data, of_reader(&text.into()))
    }

    /// An error of a file. The text does not name it.
    pub(crate) fn of_file(file: &Path, text: impl Into<String>) -> Self {
        Self {
            file: Some(file.into()),
            ..Self::data(text)
        }
    }

    /// An error of the system about a file or a directory that was there.
    pub(crate) fn of_system(file: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::not_found(file),
            _ => Self::of_file(file, error.to_string()),
        }
    }

    /// A file or a directory that was listed is not there, or not where its link leads.
    pub(crate) fn not_found(file: &Path) -> Self {
        match file.read_link() {
            Ok(target) => Self {
                target: Some(target.into()),
                ..Self::of_file(file, "is a link that leads nowhere")
            },
            Err(_) => Self::of_file(file, "has been removed"),
        }
    }

    /// Returns what its text leaves out: of an error of the query engine itself.
    pub(crate) fn unsaid(&self) -> Option<String> {
        let cause = self.cause.as_ref().filter(|_| self.text == INTERNAL);
        cause.map(ToString::to_string)
    }

    /// Returns what it says, for another one who waits for the same; without the cause.
    pub(crate) fn copy(&self) -> Self {
        Self {
            file: self.file.clone(),
            target: self.target.clone(),
            position: self.position,
            missing_table: self.missing_table.clone(),
            ..Self::new(self.kind, self.text.clone())
        }
    }

    pub(crate) fn names_file(&self) -> bool {
        self.file.is_some()
    }

    /// Returns whether it is from the decoder of Parquet, which knows no file.
    pub(crate) fn is_of_parquet(&self) -> bool {
        self.text.starts_with(OF_PARQUET)
    }

    /// Returns the text for clients: it names files, but not the folders that they are in.
    pub fn text_for_clients(&self) -> String {
        if self.kind != EngineErrorKind::Data {
            return self.text.clone();
        }
        let folder = self.file.as_deref().and_then(Path::parent);
        let text = match folder {
            Some(folder) => self.text.replace(&format!("{}/", folder.display()), ""),
            None => self.text.clone(),
        };
        let text = without_folders(&text);
        match self.file.as_deref().and_then(Path::file_name) {
            Some(name) => format!("{}: {text}", Path::new(name).display()),
            None => text,
        }
    }

    /// Returns who can act.
    pub fn kind(&self) -> EngineErrorKind {
        self.kind
    }

    /// Returns the position in the query's text, if it is known.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Returns the name of the table that the query reads, and that is not there, if that is the error.
    pub fn missing_table(&self) -> Option<&str> {
        self.missing_table.as_deref()
    }

    /// Sets the position of a parser's error that has none: the text ended too early.
    pub(crate) fn at_the_end_of(mut self, text: &str) -> Self {
        let text = text.trim_end();
        self.position.get_or_insert_with(|| Position {
            line: text.lines().count().max(1) as u64,
            column: text.lines().last().map_or(0, |line| line.chars().count()) as u64 + 1,
        });
        self
    }

    /// Names the tables that are there, if the error is that one is not.
    pub(crate) fn with_tables(mut self, names: &[String]) -> Self {
        let Some(missing) = &self.missing_table else {
            return self;
        };
        let mut names: Vec<_> = names.iter().map(String::as_str).collect();
        names.sort_unstable();
        let meant = nearest(missing, names.iter().copied());
        let meant = meant.map(|meant| format!("; did you mean \"{meant}\"?"));
        let there = match names.is_empty() {
            true => "none".to_owned(),
            false => few_names(&names),
        };
        self.text = format!(
            "{}; there are {there}{}",
            self.text,
            meant.unwrap_or_default()
        );
        self
    }

    /// Puts the subject before the text.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", file.display())?;
        }
        f.write_str(&self.text)?;
        match &self.target {
            Some(target) => write!(f, ": there is no {}", target.display()),
            None => Ok(()),
        }
    }
}

impl StdError for EngineError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<DataFusionError> for EngineError {
    fn from(error: DataFusionError) -> Self {
        if let Some(ours) = find_ours(&error) {
            return ours;
        }
        let diagnostic = error.diagnostic();
        let span = diagnostic.and_then(|diagnostic| diagnostic.span);
        let root = error.find_root();
        if matches!(root, DataFusionError::Internal(_)) {
            tracing::error!(%error, "the query engine failed");
        }
        let (text, position) = message(root);
        let position = span.map_or(position, |span| {
            Some(Position {
                line: span.start.line,
                column: span.start.column,
            })
        });
        Self {
            kind: kind_of(root),
            file: None,
            text,
            target: None,
            position,
            missing_table: missing_table(root).map(Into::into),
            cause: Some(Box::new(error)),
        }
    }
}

/// Finds an error of this crate that a table, a reader or a plan node returned through DataFusion.
fn find_ours(error: &DataFusionError) -> Option<EngineError> {
    let mut cause: &(dyn StdError + 'static) = error;
    loop {
        if let Some(ours) = cause.downcast_ref::<EngineError>() {
            return Some(EngineError {
                file: ours.file.clone(),
                target: ours.target.clone(),
                missing_table: ours.missing_table.clone(),
                ..EngineError::new(ours.kind, ours.text.clone())
            });
        }
        cause = cause.source()?;
    }
}

fn kind_of(root: &DataFusionError) -> EngineErrorKind {
    use datafusion::arrow::error::ArrowError as A;
    match root {
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => EngineErrorKind::BadQuery,
        DataFusionError::ResourcesExhausted(_) => EngineErrorKind::Exhausted,
        DataFusionError::ArrowError(error, _) => match **error {
            A::DivideByZero
            | A::ArithmeticOverflow(_)
            | A::OffsetOverflowError(_)
            | A::ComputeError(_)
            | A::CastError(_)
            | A::InvalidArgumentError(_) => EngineErrorKind::Computation,
            // Of a query's text. The readers of files say the row and the column first.
            A::ParseError(ref text)
                if PARSED_IN_QUERIES
                    .iter()
                    .any(|begin| text.starts_with(begin)) =>
            {
                EngineErrorKind::Computation
            }
            _ => EngineErrorKind::Data,
        },
        // An assertion in the engine does not hold: another query may do.
        DataFusionError::Execution(_) | DataFusionError::Internal(_) => {
            EngineErrorKind::Computation
        }
        root if is_of_regex(&root.message()) => EngineErrorKind::Computation,
        _ => EngineErrorKind::Data,
    }
}

/// How errors of texts begin that a query makes something of.
const PARSED_IN_QUERIES: [&str; 5] = [
    "Unable to represent",
    "Error parsing timestamp",
    "Invalid input syntax for type interval",
    "Invalid timezone",
    "Unable to cast to Date32",
];

/// Cuts absolute paths in a text to their last part.
fn without_folders(text: &str) -> String {
    let words = text.split_inclusive(|c: char| c.is_whitespace() || "\"'`(),;".contains(c));
    words
        .map(|word| match word.starts_with('/') {
            true => word.rsplit_once('/').map_or(word, |(_, last)| last),
            false => word,
        })
        .collect()
}

/// The way of an error through DataFusion; the conversion above finds it again.
impl From<EngineError> for DataFusionError {
    fn from(error: EngineError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<ColumnMetadataError> for EngineError {
    fn from(error: ColumnMetadataError) -> Self {
        Self::data(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_files_and_no_folders() {
        let file = Path::new("/data of mine/stars.parquet");
        let error = EngineError::of_file(file, "/data of mine/stars.parquet: gone");
        assert_eq!(
            error.text_for_clients(),
            "stars.parquet: stars.parquet: gone"
        );
        let error = EngineError::data("Object at location /a/b/c.csv not found (/a/b), 1/2");
        let wanted = "Object at location c.csv not found (b), 1/2";
        assert_eq!(error.text_for_clients(), wanted);
        let error = EngineError::bad("expected a number, found /a/b");
        assert_eq!(error.text_for_clients(), error.to_string());
    }
}
