//! From a target (`stars.vot?dec=gt.30`) to a job: a request that is checked and not yet run.
//!
//! Called by `respond.rs` and `cat.rs`.

use datastreamer_http::Problem;
use http::StatusCode;
use serde_json::json;

use crate::{
    site::Site,
    site::routes::{Found, Route},
    sources::{Job, Query, Wanted},
};

/// A file that was asked for, checked.
pub(crate) struct Export<'a> {
    pub(crate) route: &'a Route,
    pub(crate) job: Job,
    /// The format may come from the client's `Accept`.
    pub(crate) is_by_accept: bool,
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

impl<'a> Export<'a> {
    /// Finds the route of `file_name` (decoded, without a slash) and checks the parameters.
    pub(crate) fn find(
        site: &'a Site,
        file_name: &str,
        query: &Query,
        accept: Option<&str>,
    ) -> Result<Self, Refusal> {
        let Found { route, format } = site.routes.find(file_name).ok_or_else(|| {
            let names = site.routes.names();
            let text = format!("there is no /{file_name}; there are {names}");
            Refusal::new(StatusCode::NOT_FOUND, text)
        })?;
        let wanted = Wanted {
            suffix: format,
            accept,
        };
        let job = route.source.check(query, wanted);
        let job = job.map_err(|refusal| refusal.about(file_name))?;
        Ok(Self {
            route,
            is_by_accept: job.rows.is_some() && format.is_none(),
            job,
        })
    }

    /// Returns the media type; of a table, that of the format that was requested.
    pub(crate) fn media_type(&self) -> &str {
        match &self.job.rows {
            Some(rows) => rows.format.media_type(),
            None => self.route.media_type(),
        }
    }

    /// Returns the name of the saved file.
    pub(crate) fn file_name(&self) -> String {
        match &self.job.rows {
            Some(rows) => format!("{}.{}", self.route.name(), rows.format.suffix()),
            None => self.route.file_name(),
        }
    }

    /// Returns whether clients that accept a content coding get one.
    pub(crate) fn is_compressible(&self) -> bool {
        let allowed = self.route.compress;
        match &self.job.rows {
            Some(rows) => allowed && rows.format.is_compressible(),
            None => allowed,
        }
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
