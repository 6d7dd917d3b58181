//! From a target (`stars.vot?dec=gt.30`) to a job: a request that is checked and not yet run.
//!
//! Called by `respond.rs` and `cat.rs`.

use http::StatusCode;

use crate::{
    refusal::Refusal,
    site::Site,
    site::routes::{Found, Route},
    sources::{FILE_NAME_PARAMETER, Job, Query, RowFacts, Wanted},
};

/// A file that was asked for, checked.
pub(crate) struct Export<'a> {
    pub(crate) route: &'a Route,
    pub(crate) job: Job,
    /// The format may come from the client's `Accept`.
    pub(crate) is_by_accept: bool,
    /// The name that the request wants the file to be saved under.
    wanted_name: Option<String>,
}

/// The name that a file is saved under.
pub(crate) enum SavedName {
    /// As the request wants it.
    Wanted(String),
    Own {
        stem: String,
        suffix: String,
        /// Whether it states the limit also as long as nobody knows whether that cuts.
        has_limit: bool,
    },
}

impl SavedName {
    /// Returns the name, with the limit if the file has the first rows only.
    pub(crate) fn of(&self, facts: Option<&RowFacts>) -> String {
        let (stem, suffix, has_limit) = match self {
            Self::Wanted(name) => return name.clone(),
            Self::Own {
                stem,
                suffix,
                has_limit,
            } => (stem, suffix, *has_limit),
        };
        let is_stated = |facts: &&RowFacts| facts.is_cut().unwrap_or(has_limit);
        match facts.filter(is_stated).and_then(|facts| facts.limit) {
            Some(limit) => format!("{stem}-first-{}.{suffix}", limit.rows),
            None => format!("{stem}.{suffix}"),
        }
    }
}

/// Who takes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    /// A client of the server: a table that is one file is sent unread, and pages have links.
    Client,
    /// Whoever reads standard output: every row is read, so that a damaged file does not pass for a
    /// table, and links would lead nowhere.
    Output,
}

/// Bytes of such a name: file systems take 255, and a suffix may be added.
const FILE_NAME_MAX: usize = 200;

impl<'a> Export<'a> {
    /// Finds the route of `file_name` (decoded, without a slash) and checks the parameters for whoever
    /// takes the file.
    pub(crate) fn find(
        site: &'a Site,
        file_name: &str,
        query: &Query,
        accept: Option<&str>,
        taker: Taker,
    ) -> Result<Self, Refusal> {
        let Found { route, format } = site.routes.find(file_name).ok_or_else(|| {
            let names = site.routes.names();
            let text = format!("there is no /{file_name}; there are {names}");
            Refusal::new(StatusCode::NOT_FOUND, text)
        })?;
        let mut query = query.clone();
        let wanted_name = take_file_name(&mut query, route);
        let wanted_name = wanted_name.map_err(Refusal::bad_parameter)?;
        let wanted = Wanted {
            suffix: format,
            accept,
            may_be_file: taker == Taker::Client,
            page_of: (taker == Taker::Client).then_some(route.name()),
            is_named: wanted_name.is_some(),
        };
        let job = route.source.check(&query, wanted);
        let job = job.map_err(|refusal| refusal.about(file_name))?;
        Ok(Self {
            wanted_name,
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

    /// Returns the name of the saved file, as far as it is known before a run.
    pub(crate) fn file_name(&self) -> String {
        let rows = self.job.rows.as_ref();
        self.saved_name().of(rows.map(|rows| rows.facts.as_ref()))
    }

    /// Returns the name of the saved file: that which the request wants, or one that says what a table is
    /// narrowed by.
    pub(crate) fn saved_name(&self) -> SavedName {
        let rows = self.job.rows.as_ref();
        let suffix = rows.map_or(self.route.suffix(), |rows| rows.format.suffix());
        let narrowed = rows.map_or("", |rows| &rows.narrowed);
        let stem = match &self.wanted_name {
            // Not another kind of file than it is.
            Some(name) if has_suffix(name, suffix) => return SavedName::Wanted(name.clone()),
            Some(name) => return SavedName::Wanted(format!("{name}.{suffix}")),
            None => format!("{}{narrowed}", self.name()),
        };
        SavedName::Own {
            stem,
            suffix: suffix.to_owned(),
            has_limit: rows.is_some_and(|rows| rows.names_limit),
        }
    }

    /// Returns whether the request says how the file is to be called.
    pub(crate) fn has_wanted_name(&self) -> bool {
        self.wanted_name.is_some()
    }

    /// Returns the route's name, with that of one of its tables.
    fn name(&self) -> String {
        let label = self.job.rows.as_ref().and_then(|rows| rows.label.as_ref());
        match label {
            Some(label) => format!("{}-{label}", self.route.name()),
            None => self.route.name().to_owned(),
        }
    }

    /// Returns whether a browser shows the file instead of saving it.
    pub(crate) fn is_for_people(&self) -> bool {
        let rows = self.job.rows.as_ref();
        rows.is_some_and(|rows| rows.format.is_for_people())
    }

    /// Returns the style of a page, for a policy.
    pub(crate) fn style(&self) -> Option<&'static str> {
        self.job.rows.as_ref()?.format.style()
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

/// Takes the name of the saved file out of the parameters, unless it is that of a column.
fn take_file_name(query: &mut Query, route: &Route) -> Result<Option<String>, String> {
    if route.source.has_name(FILE_NAME_PARAMETER) {
        return Ok(None);
    }
    let name = query.take(&[FILE_NAME_PARAMETER])?;
    match &name {
        Some(name) if !name.contains(char::is_alphanumeric) || name.len() > FILE_NAME_MAX => {
            Err(format!(
                "parameter `{FILE_NAME_PARAMETER}`: a name has 1 to {FILE_NAME_MAX} bytes, and a letter or \
                 digit"
            ))
        }
        _ => Ok(name),
    }
}

fn has_suffix(name: &str, suffix: &str) -> bool {
    let stem = name.len().checked_sub(suffix.len() + 1);
    stem.is_some_and(|stem| {
        name.is_char_boundary(stem)
            && name[stem..].starts_with('.')
            && name[stem + 1..].eq_ignore_ascii_case(suffix)
    })
}
