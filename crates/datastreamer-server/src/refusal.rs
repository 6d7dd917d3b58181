//! Why a request is refused: a status and a text for the client.
//!
//! Sources and `export.rs` make it; `http/respond.rs` and `cli/cat.rs` show it.

use datastreamer_http::Problem;
use http::StatusCode;
use serde_json::json;

/// Why there is no such file.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// Line and column in a query's text, counted from 1.
    pub(crate) position: Option<(u64, u64)>,
    /// The methods that there are, if it is for the method.
    pub(crate) methods: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
            position: None,
            methods: None,
        }
    }

    /// Names the file that is refused.
    pub(crate) fn about(mut self, file_name: &str) -> Self {
        self.text = format!("/{file_name}: {}", self.text);
        self
    }

    /// For readers of text.
    pub(crate) fn into_text(self) -> String {
        match self.position {
            Some((line, column)) => format!("{} (line {line}, column {column})", self.text),
            None => self.text,
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
