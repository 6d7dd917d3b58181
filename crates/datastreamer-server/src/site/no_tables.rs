//! No tables: what `config/no_tables.rs` has refused does not come here.

use crate::{
    config::{RowsConfig, TablesConfig},
    error::Fatal,
    site::{Report, routes::Route},
    sources::rows::RowRoute,
};

/// There are no databases.
pub(super) struct Kept;

impl Kept {
    pub(super) fn connect(&self) -> impl Iterator<Item = (&str, Result<(), String>)> {
        std::iter::empty()
    }
}

pub(super) struct Tables<'a>(&'a TablesConfig);

impl<'a> Tables<'a> {
    pub(super) fn new(config: &'a TablesConfig, _: &Report<'_>) -> Result<Self, Fatal> {
        Ok(Self(config))
    }

    pub(super) fn keep(self) -> Kept {
        Kept
    }

    pub(super) fn open(&mut self, _: &str, config: &RowsConfig) -> Result<RowRoute, String> {
        match *config {}
    }

    pub(super) fn sql(&mut self) -> Option<(&'a str, Result<Route, String>)> {
        None
    }
}
