//! The error that names the column, and the row, at fault.

use std::{error::Error, fmt, io};

use arrow::datatypes::Schema;

/// Why a table could not be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum TableError {
    /// The format cannot hold a column; found before anything was written.
    Column {
        /// The column's name.
        column: String,
        /// What it cannot hold.
        problem: String,
    },
    /// The format cannot hold a value.
    Value {
        /// The row, counted from 0 over the complete table. The text of the error counts from 1.
        row: u64,
        /// The column's name.
        column: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The table has fewer rows than were announced, or, where as many were written, more.
    Rows {
        /// How many were announced.
        announced: u64,
        /// How many were written.
        written: u64,
    },
    /// A schema without columns; a batch of another one than the writer was made with.
    Schema(String),
    /// The output failed.
    Output(io::Error),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column { column, problem } => write!(f, "column {column:?}: {problem}"),
            Self::Value {
                row,
                column,
                problem,
            } => write!(f, "row {}, column {column:?}: {problem}", row + 1),
            Self::Rows { announced, written } if written < announced => write!(
                f,
                "the table ended after {written} of the {announced} rows that were announced"
            ),
            Self::Rows { announced, .. } => {
                write!(
                    f,
                    "the table has more than the {announced} rows that were announced"
                )
            }
            Self::Schema(problem) => f.write_str(problem),
            Self::Output(error) => write!(f, "the table's output failed: {error}"),
        }
    }
}

impl Error for TableError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Output(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for TableError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A row, counted from the first of the batch, and what is wrong with its value.
pub(super) type BadRow = (usize, &'static str);

/// A value that a format cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadValue {
    /// Counted from the first of the rows that were encoded.
    pub(super) row: usize,
    /// The column's place.
    pub(super) place: usize,
    pub(super) problem: &'static str,
}

impl BadValue {
    /// Tells of it. `rows` are those of the table before the ones that were encoded.
    pub(super) fn error(self, schema: &Schema, rows: u64) -> TableError {
        TableError::Value {
            row: rows + self.row as u64,
            column: schema.field(self.place).name().clone(),
            problem: self.problem.into(),
        }
    }
}

/// Finds the first bad value of rows that are encoded column by column.
#[derive(Debug, Default)]
pub(super) struct FirstBad(Option<(BadRow, usize)>);

impl FirstBad {
    /// Takes what became of the next column, by its place.
    pub(super) fn note(&mut self, place: usize, column: Result<(), BadRow>) {
        if let Err(bad) = column
            && self.row().is_none_or(|first| bad.0 < first)
        {
            self.0 = Some((bad, place));
        }
    }

    /// The row, counted from the first of the batch.
    pub(super) fn row(&self) -> Option<usize> {
        self.0.map(|((row, _), _)| row)
    }

    /// What became of the rows from this one on.
    pub(super) fn result(&self, from: usize) -> Result<(), BadValue> {
        match self.0 {
            None => Ok(()),
            Some(((row, problem), place)) => Err(BadValue {
                row: row - from,
                place,
                problem,
            }),
        }
    }
}
