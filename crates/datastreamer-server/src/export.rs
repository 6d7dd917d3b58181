//! From a target (`noise.bin?n=1e6`) to a source that is ready to write: the blocking half.
//!
//! Called by `respond.rs` and `cat.rs`; nothing runs yet.

use crate::{
    config::Config,
    routes::Route,
    sources::{Prepared, Query},
};

/// A file that was asked for, checked.
pub(crate) struct Export<'a> {
    pub(crate) route: &'a Route,
    pub(crate) prepared: Prepared,
}

/// Why there is no such file.
pub(crate) enum Refusal {
    /// No route has this name.
    NotFound(String),
    /// A parameter is wrong.
    BadParameter(String),
}

impl Refusal {
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::NotFound(text) | Self::BadParameter(text) => text,
        }
    }
}

impl<'a> Export<'a> {
    /// Finds the route of `file_name` (decoded, without a slash) and checks the parameters.
    pub(crate) fn find(config: &'a Config, file_name: &str, query: &str) -> Result<Self, Refusal> {
        let route = config.routes.find(file_name).ok_or_else(|| {
            let names = config.routes.names();
            Refusal::NotFound(format!("there is no /{file_name}; there are {names}"))
        })?;
        let prepared = route
            .source
            .prepare(&Query::parse(query))
            .map_err(|text| Refusal::BadParameter(format!("/{file_name}: {text}")))?;
        Ok(Self { route, prepared })
    }
}
