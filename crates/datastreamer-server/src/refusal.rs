//! Why there is no file: a status and a text for the client, and what is for the operator only.
//!
//! Sources and `export.rs` make it; `http/respond.rs` and `cli/cat.rs` show it. No path, host, SQL of
//! the operator, nor text of a library is for clients: an error that does not say what they are told
//! becomes [`Concealed`].

use std::{error::Error as StdError, fmt};

use datastreamer::find_cause;
use datastreamer_http::{Problem, StatusError};
use http::StatusCode;
use serde_json::json;

/// What clients are told of an error that was not written for them.
pub(crate) const SOURCE_FAILED: &str = "the source failed; the server's log has the reason";

/// 2000 bytes of a text: some repeat what was asked, which may be as long as the client likes.
const TEXT_BYTES_MAX: usize = 2000;

/// Cuts a text that repeats much of a request.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push_str("...");
    }
    text
}

/// Why there is no such file.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// Line and column in a query's text, counted from 1.
    pub(crate) position: Option<(u64, u64)>,
    /// The methods that there are, if it is for the method.
    pub(crate) methods: Option<&'static str>,
    /// What is behind it, for the operator.
    pub(crate) cause: Option<String>,
    pub(crate) fault: Fault,
}

/// An error whose text is for the operator. Its source is the [`StatusError`] for the client.
#[derive(Debug)]
pub(crate) struct Concealed {
    text: String,
    told: StatusError,
    fault: Fault,
}

/// Whose matter a failure is whose status would say that it is its client's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    /// As the status says.
    #[default]
    OfStatus,
    /// What the operator has written fails, whoever asks for it.
    OfOperator,
}

impl Concealed {
    /// Conceals a text; clients are told another one.
    pub(crate) fn telling(told: &str, text: String) -> Box<dyn StdError + Send + Sync> {
        let told = StatusError::new(StatusCode::INTERNAL_SERVER_ERROR, told);
        let fault = Fault::OfStatus;
        Box::new(Self { text, told, fault })
    }

    /// Tells clients a text, of a failure of what the operator has written.
    pub(crate) fn of_operator(status: StatusCode, text: String) -> Box<dyn StdError + Send + Sync> {
        Box::new(Self {
            text: text.clone(),
            told: StatusError::new(status, text),
            fault: Fault::OfOperator,
        })
    }

    /// Returns whether an error is that of something that the operator has written.
    pub(crate) fn is_of_operator(error: &(dyn StdError + 'static)) -> bool {
        let concealed: Option<&Self> = find_cause(error);
        concealed.is_some_and(|concealed| concealed.fault == Fault::OfOperator)
    }

    /// Conceals why planning refused.
    pub(crate) fn refusal(refusal: Refusal) -> Self {
        let text = refusal.cause.clone();
        Self {
            text: text.unwrap_or_else(|| refusal.text.clone()),
            fault: refusal.fault,
            told: Problem::from(refusal).into(),
        }
    }
}

impl fmt::Display for Concealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Concealed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.told)
    }
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: cut(text.into()),
            position: None,
            methods: None,
            cause: None,
            fault: Fault::default(),
        }
    }

    /// Returns whether it is for a mistake of the client's.
    pub(crate) fn is_of_client(&self) -> bool {
        self.status.is_client_error() && self.fault == Fault::OfStatus
    }

    /// Adds what is behind it, for the operator.
    pub(crate) fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Names the file that is refused.
    pub(crate) fn about(mut self, file_name: &str) -> Self {
        self.text = format!("/{file_name}: {}", self.text);
        self
    }

    /// For the operator.
    pub(crate) fn into_text(self) -> String {
        let text = self.cause.unwrap_or(self.text);
        match self.position {
            Some((line, column)) => format!("{text} (line {line}, column {column})"),
            None => text,
        }
    }

    /// A parameter is wrong.
    pub(crate) fn bad_parameter(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = Self::new(refusal.status, refusal.text);
        match refusal.position {
            Some((line, column)) => {
                problem.member("position", json!({ "line": line, "column": column }))
            }
            None => problem,
        }
    }
}
