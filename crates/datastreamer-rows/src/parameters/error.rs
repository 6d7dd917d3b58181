//! The errors of declarations, of given values, and of texts that name parameters.

use std::{error::Error, fmt};

/// A place in a text, counted as an editor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPosition {
    /// The line, from 1.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
}

impl fmt::Display for TextPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why parameters could not be declared, given or found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParameterError {
    /// A declaration contradicts itself: its author's fault.
    Declared {
        /// The name as declared.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A query's text and its declarations do not fit: their author's fault.
    Query {
        /// Where in the text.
        at: TextPosition,
        /// What is wrong there.
        problem: String,
    },
    /// A query's text does not use a declared parameter: its author's fault.
    Unused {
        /// The parameter.
        name: String,
    },
    /// No such parameter: the giver's fault.
    Unknown {
        /// What was given, quoted and shortened.
        name: String,
        /// What exists.
        declared: Vec<String>,
    },
    /// A parameter was given twice: the giver's fault.
    Doubled {
        /// The parameter.
        name: String,
    },
    /// A parameter without default was not given: the giver's fault.
    Missing {
        /// The parameter.
        name: String,
        /// What is expected of it.
        expected: &'static str,
    },
    /// A value is none, or is out of range: the giver's fault.
    Value {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ParameterError {
    /// Says whether another value helps; otherwise the declaration or the query is wrong.
    pub fn is_of_giver(&self) -> bool {
        match self {
            Self::Unknown { .. }
            | Self::Doubled { .. }
            | Self::Missing { .. }
            | Self::Value { .. } => true,
            Self::Declared { .. } | Self::Query { .. } | Self::Unused { .. } => false,
        }
    }
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared { name, problem } => write!(f, "parameter {name:?}: {problem}"),
            Self::Query { at, problem } => write!(f, "{at}: {problem}"),
            Self::Unused { name } => write!(f, "the query does not use the parameter {name}"),
            Self::Unknown { name, declared } if declared.is_empty() => {
                write!(f, "there is no parameter {name}: there are none")
            }
            Self::Unknown { name, declared } => {
                let declared = declared.join(", ");
                write!(f, "there is no parameter {name}: there are {declared}")
            }
            Self::Doubled { name } => write!(f, "parameter {name}: it was given twice"),
            Self::Missing { name, expected } => {
                write!(f, "parameter {name}: it must be given, as {expected}")
            }
            Self::Value { name, problem } => write!(f, "parameter {name}: {problem}"),
        }
    }
}

impl Error for ParameterError {}
