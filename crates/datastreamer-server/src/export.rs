//! From a target (`stars.vot?dec=gt.30`) to a job: a request that is checked and not yet run.
//!
//! Called by `respond.rs` and `cat.rs`.

use http::StatusCode;

use crate::{
    refusal::Refusal,
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

impl<'a> Export<'a> {
    /// Finds the route of `file_name` (decoded, without a slash) and checks the parameters. A table that
    /// is one file is sent unread if it `may_be_file`.
    pub(crate) fn find(
        site: &'a Site,
        file_name: &str,
        query: &Query,
        accept: Option<&str>,
        may_be_file: bool,
    ) -> Result<Self, Refusal> {
        let Found { route, format } = site.routes.find(file_name).ok_or_else(|| {
            let names = site.routes.names();
            let text = format!("there is no /{file_name}; there are {names}");
            Refusal::new(StatusCode::NOT_FOUND, text)
        })?;
        let wanted = Wanted {
            suffix: format,
            accept,
            may_be_file,
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

    /// Returns whether a browser shows the file instead of saving it.
    pub(crate) fn is_for_people(&self) -> bool {
        let rows = self.job.rows.as_ref();
        rows.is_some_and(|rows| rows.format.is_for_people())
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
