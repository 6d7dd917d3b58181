//! From a target (`stars.vot?dec=gt.30`) to a source that is ready to write: the blocking half.
//!
//! Called by `respond.rs` and `cat.rs`; nothing runs yet.

use http::StatusCode;

use crate::{
    routes::{Found, Route},
    site::Site,
    sources::{Prepared, Query, Wanted},
};

/// A file that was asked for, checked.
pub(crate) struct Export<'a> {
    pub(crate) route: &'a Route,
    pub(crate) prepared: Prepared,
    /// The client's `Accept` may have decided of the format.
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

    /// For who reads no JSON.
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
    pub(crate) async fn find(
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
        let prepared = route.source.prepare(query, wanted).await;
        let prepared = prepared.map_err(|refusal| Refusal {
            text: format!("/{file_name}: {}", refusal.text),
            ..refusal
        })?;
        Ok(Self {
            route,
            is_by_accept: prepared.rows.is_some() && format.is_none(),
            prepared,
        })
    }

    /// Returns what the file is: of a table, what was asked for.
    pub(crate) fn media_type(&self) -> &str {
        match &self.prepared.rows {
            Some(rows) => rows.format.media_type(),
            None => self.route.media_type(),
        }
    }

    /// Returns the name of the saved file.
    pub(crate) fn file_name(&self) -> String {
        match &self.prepared.rows {
            Some(rows) => format!("{}.{}", self.route.name(), rows.format.suffix()),
            None => self.route.file_name(),
        }
    }

    /// Says whether clients that accept a content coding get one.
    pub(crate) fn is_compressible(&self) -> bool {
        let allowed = self.route.compress;
        match &self.prepared.rows {
            Some(rows) => allowed && rows.format.is_compressible(),
            None => allowed,
        }
    }
}
