//! No tables: what `config/no_tables.rs` has refused does not come here.

use crate::{
    config::{Config, Place, RowsConfig, TablesConfig},
    error::ConfigError,
    site::{Report, RouteError, routes::Route},
    sources::rows::RowRoute,
};

/// There are no databases.
pub(super) struct Kept;

impl Kept {
    pub(super) fn connect(&self) -> Vec<(&str, Result<(), String>)> {
        Vec::new()
    }
}

pub(super) struct Tables<'a>(&'a TablesConfig);

impl<'a> Tables<'a> {
    pub(super) fn new(config: &'a Config, _: &Report<'_>) -> (Self, Vec<ConfigError>) {
        (Self(&config.tables), Vec::new())
    }

    pub(super) fn keep(self) -> Kept {
        Kept
    }

    pub(super) fn open(
        &mut self,
        _: &str,
        config: &RowsConfig,
    ) -> Result<Option<RowRoute>, RouteError> {
        match *config {}
    }

    pub(super) fn sql(&mut self) -> Option<(&'a Place, Result<Route, String>)> {
        None
    }
}
