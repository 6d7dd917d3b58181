//! The error that names the byte, the column and the row at fault.

use std::{error::Error, fmt, io};

use arrow::error::ArrowError;

/// Why a FITS file, or some rows of it, cannot be read. Bytes are counted from the file's
/// beginning, rows from 0.
#[derive(Debug)]
#[non_exhaustive]
pub enum FitsError {
    /// The file cannot be opened or read.
    File {
        /// Where it was to be read.
        byte: u64,
        /// The system's error.
        error: io::Error,
    },
    /// The file does not begin as FITS does.
    NotFits,
    /// The file is compressed as a whole.
    Gzip,
    /// The file ends before its data does.
    Truncated {
        /// Where the truncated data begins.
        byte: u64,
        /// How many bytes are missing.
        bytes_missing: u64,
    },
    /// A header is not as the standard wants it.
    Header {
        /// Where the card, or the header, begins.
        byte: u64,
        /// What is wrong.
        problem: String,
    },
    /// A column cannot be read.
    Column {
        /// The column's name.
        column: String,
        /// Why.
        problem: String,
    },
    /// A value is not one of its type.
    Value {
        /// The row.
        row: u64,
        /// The column's name.
        column: String,
        /// Where the value is.
        byte: u64,
        /// What is wrong.
        problem: String,
    },
    /// The table that was asked for is not there, or cannot be read.
    NoTable(String),
    /// Rows or columns were asked for that do not exist, or more at once than a batch holds.
    Request(String),
}

impl fmt::Display for FitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { byte, error } => write!(f, "byte {byte}: {error}"),
            Self::NotFits => f.write_str("not a FITS file: it does not begin with SIMPLE = T"),
            Self::Gzip => f.write_str("the file is compressed by gzip: uncompress it with gunzip"),
            Self::Truncated {
                byte,
                bytes_missing,
            } => write!(
                f,
                "the file is truncated: {bytes_missing} bytes are missing of the data that begins \
                 at byte {byte}"
            ),
            Self::Header { byte, problem } => write!(f, "header, byte {byte}: {problem}"),
            Self::Column { column, problem } => write!(f, "column {column:?}: {problem}"),
            Self::Value {
                row,
                column,
                byte,
                problem,
            } => write!(
                f,
                "row {}, column {column:?}, byte {byte}: {problem}",
                row + 1
            ),
            Self::NoTable(problem) | Self::Request(problem) => f.write_str(problem),
        }
    }
}

impl Error for FitsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<FitsError> for ArrowError {
    fn from(error: FitsError) -> Self {
        Self::ExternalError(Box::new(error))
    }
}
