//! The URL table: which file a path names.

use std::collections::BTreeMap;

use http::HeaderValue;

use crate::sources::{Noise, Source};

/// One file that is produced on the fly, under `/NAME.SUFFIX`.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    name: String,
    suffix: String,
    media_type: String,
    pub(crate) source: Source,
    pub(crate) description: Option<String>,
    /// Whether clients that accept a content coding get one.
    pub(crate) compress: bool,
}

/// All routes, by file name.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTable {
    by_file_name: BTreeMap<String, Route>,
}

impl Route {
    /// Names a source; suffix and media type are the source's usual ones.
    pub(crate) fn new(name: &str, source: Source) -> Result<Self, String> {
        if name.is_empty()
            || name.contains(['/', '?', '#', '%'])
            || name.chars().any(char::is_control)
        {
            return Err(format!("`{name}` cannot be a route's name in a URL"));
        }
        let (suffix, media_type) = source.usual_form();
        Ok(Self {
            name: name.into(),
            suffix: suffix.into(),
            media_type: media_type.into(),
            source,
            description: None,
            compress: false,
        })
    }

    /// The built-in demo.
    pub(crate) fn demo() -> Self {
        let source = Source::Noise(Noise);
        let (suffix, media_type) = source.usual_form();
        Self {
            name: "noise".into(),
            suffix: suffix.into(),
            media_type: media_type.into(),
            source,
            description: Some("test bytes, as many as you ask for".into()),
            compress: false,
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

    /// The last part of the URL, and the name of the saved file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.suffix)
    }

    pub(crate) fn media_type(&self) -> &str {
        &self.media_type
    }
}

impl RouteTable {
    /// Adds a route; two of one name are an error.
    pub(crate) fn add(&mut self, route: Route) -> Result<(), String> {
        let file_name = route.file_name();
        if self.by_file_name.contains_key(&file_name) {
            return Err(format!("two routes would be /{file_name}"));
        }
        self.by_file_name.insert(file_name, route);
        Ok(())
    }

    /// Adds a route unless its name is taken.
    pub(crate) fn add_missing(&mut self, route: Route) {
        self.by_file_name.entry(route.file_name()).or_insert(route);
    }

    /// Finds a route by the last part of its URL, percent-decoded.
    pub(crate) fn find(&self, file_name: &str) -> Option<&Route> {
        self.by_file_name.get(file_name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_file_name.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Route)> {
        self.by_file_name
            .iter()
            .map(|(name, route)| (name.as_str(), route))
    }

    /// Names them all, for the message to who asked for another.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self
            .by_file_name
            .keys()
            .map(|name| format!("/{name}"))
            .collect();
        names.join(", ")
    }
}
