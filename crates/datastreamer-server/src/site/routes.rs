//! The routes by URL: which file a path names.

use std::collections::BTreeMap;

use http::HeaderValue;

use crate::{
    config::{Keep, RouteLimits},
    escapes::encode,
    sources::{
        Source,
        rows::{Format, Progress},
    },
};

/// A message names 20 files: more are found on the index page.
const NAMED_MAX: usize = 20;

/// One file that is produced on the fly, under `/NAME.SUFFIX`; or rows, under `/NAME` and under
/// `/NAME.SUFFIX` with the suffix of every format.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    name: String,
    suffix: String,
    media_type: String,
    pub(crate) source: Source,
    pub(crate) description: Option<String>,
    /// Whether clients that accept a content coding get one.
    pub(crate) compress: bool,
    pub(crate) keep: Keep,
    /// Differs between two configurations of it, within one program.
    pub(crate) settings: u64,
    pub(crate) limits: RouteLimits,
}

/// All routes, by file name.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTable {
    by_file_name: BTreeMap<String, Route>,
}

impl Route {
    /// Names a source; suffix and media type are the source's usual ones.
    pub(crate) fn new(name: &str, source: Source) -> Result<Self, String> {
        // Clients resolve `.` and `..` themselves.
        if matches!(name, "" | "." | "..") || name.contains('/') {
            return Err(format!("`{name}` cannot be a route's name in a URL"));
        }
        let (suffix, media_type) = source.usual_form();
        Ok(Self {
            name: name.into(),
            suffix,
            media_type,
            source,
            description: None,
            compress: false,
            keep: Keep::Nothing,
            settings: 0,
            limits: RouteLimits::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn suffix(&self) -> &str {
        &self.suffix
    }

    pub(crate) fn gives_rows(&self) -> bool {
        matches!(self.source, Source::Rows(_))
    }

    /// Returns how far a table is that is being opened; `None` of other routes.
    pub(crate) fn progress(&self) -> Option<Progress> {
        match &self.source {
            Source::Rows(rows) => rows.progress(),
            _ => None,
        }
    }

    pub(crate) fn set_suffix(&mut self, suffix: &str) -> Result<(), String> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if suffix.is_empty() || suffix.starts_with('.') || !suffix.chars().all(good) {
            return Err(format!(
                "`{suffix}` is no suffix: write for example \"sql\" or \"tar.gz\""
            ));
        }
        self.suffix = suffix.into();
        Ok(())
    }

    pub(crate) fn set_media_type(&mut self, media_type: &str) -> Result<(), String> {
        if !media_type.contains('/') || HeaderValue::from_str(media_type).is_err() {
            return Err(format!(
                "`{media_type}` is no media type: write for example \"text/csv\""
            ));
        }
        self.media_type = media_type.into();
        Ok(())
    }

    /// The last part of the URL, and the name of the saved file: of rows, in their usual format.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.suffix)
    }

    /// Returns the last part of the URL, percent-encoded.
    pub(crate) fn url_part(&self) -> String {
        encode(&self.file_name())
    }

    /// All last parts of URLs that name it.
    fn file_names(&self) -> Vec<String> {
        if !self.gives_rows() {
            return vec![self.file_name()];
        }
        let suffixes = suffixes().map(|suffix| format!("{}.{suffix}", self.name));
        std::iter::once(self.name.clone()).chain(suffixes).collect()
    }

    /// Lists the other suffixes of a route of rows, for people. Empty for other files.
    pub(crate) fn other_suffixes(&self) -> String {
        if !self.gives_rows() {
            return String::new();
        }
        let others: Vec<_> = suffixes()
            .skip(1)
            .map(|suffix| format!(".{suffix}"))
            .collect();
        format!("  (or {})", others.join(" "))
    }

    pub(crate) fn media_type(&self) -> &str {
        &self.media_type
    }
}

/// A route, and of rows the format that the URL names.
pub(crate) struct Found<'a> {
    pub(crate) route: &'a Route,
    pub(crate) format: Option<Format>,
}

/// The suffixes of the formats of tables, each once.
pub(crate) fn suffixes() -> impl Iterator<Item = &'static str> {
    let formats = Format::ALL.into_iter();
    let first = formats.filter(|format| Format::from_suffix(format.suffix()) == Some(*format));
    first.map(Format::suffix)
}

impl RouteTable {
    /// Adds a route; two of one name are an error.
    pub(crate) fn add(&mut self, route: Route) -> Result<(), String> {
        let taken = route
            .file_names()
            .into_iter()
            .find(|name| self.find(name).is_some());
        if let Some(file_name) = taken {
            return Err(format!("two routes would be /{}", encode(&file_name)));
        }
        self.by_file_name.insert(route.file_name(), route);
        Ok(())
    }

    /// Adds a route, and removes those that have one of its names.
    pub(crate) fn put(&mut self, route: Route) {
        let names = route.file_names();
        self.by_file_name
            .retain(|_, other| !other.file_names().iter().any(|name| names.contains(name)));
        self.by_file_name.insert(route.file_name(), route);
    }

    /// Adds a route unless its name is taken.
    pub(crate) fn add_missing(&mut self, route: Route) {
        // The route that has the name already is the one that the user asked for.
        let _ = self.add(route);
    }

    /// Finds a route by the last part of its URL, percent-decoded.
    pub(crate) fn find(&self, file_name: &str) -> Option<Found<'_>> {
        if let Some(route) = self.by_file_name.get(file_name) {
            let format = route.source.usual_format();
            return Some(Found { route, format });
        }
        if let Some((name, suffix)) = file_name.rsplit_once('.')
            && let Some(format) = Format::from_suffix(suffix)
            && let Some(route) = self.rows(name)
        {
            let format = Some(format);
            return Some(Found { route, format });
        }
        let route = self.rows(file_name)?;
        Some(Found {
            route,
            format: None,
        })
    }

    /// Finds rows by their bare name.
    fn rows(&self, name: &str) -> Option<&Route> {
        // The routes that begin with the name are neighbours, and few.
        let from = self.by_file_name.range(name.to_owned()..);
        let of_name = from.take_while(|(file_name, _)| file_name.starts_with(name));
        let mut routes = of_name.map(|(_, route)| route);
        routes.find(|route| route.gives_rows() && route.name == name)
    }

    /// Returns whether there is a route with this usual file name.
    pub(crate) fn has_file(&self, file_name: &str) -> bool {
        self.by_file_name.contains_key(file_name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Route)> {
        self.by_file_name
            .iter()
            .map(|(name, route)| (name.as_str(), route))
    }

    /// Names the files, for the message to a client that asked for another one: the first ones.
    pub(crate) fn names(&self) -> String {
        let more = self.by_file_name.len().saturating_sub(NAMED_MAX);
        let mut names: Vec<_> = self
            .by_file_name
            .iter()
            .take(NAMED_MAX)
            .map(|(file_name, route)| match route.gives_rows() {
                true => format!("/{} (and .csv, .fits, ...)", encode(file_name)),
                false => format!("/{}", encode(file_name)),
            })
            .collect();
        if more > 0 {
            names.push(format!("and {more} more"));
        }
        names.join(", ")
    }
}
