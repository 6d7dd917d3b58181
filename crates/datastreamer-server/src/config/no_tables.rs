//! Tables in a program that was built without them: whatever asks for one is refused.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    origin::Origin,
    raw::{Raw, RawRoute},
    resolve::DEFAULT_LENGTH_WAIT,
};
use crate::{error::Fatal, temporary_room::TakeRoom};

const NO_TABLES: &str = "this program was built without tables (the Cargo feature `tables`)";

/// Nothing.
#[derive(Clone, Debug)]
pub(crate) struct TablesConfig;

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum RowsConfig {}

/// There are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextOptions;

impl TextOptions {
    pub(crate) fn set(&self) -> [&'static str; 0] {
        []
    }
}

/// The key of a column's type.
pub(super) const TYPE: &str = "type";

pub(super) fn check_type(_: &str) -> Result<(), String> {
    Ok(())
}

impl TablesConfig {
    pub(super) fn has_sql(&self) -> bool {
        false
    }

    /// None is read, so none is missing.
    pub(super) fn has_database(&self, _: &str) -> bool {
        true
    }

    pub(crate) fn length_wait(&self) -> Duration {
        DEFAULT_LENGTH_WAIT
    }

    pub(crate) fn lift_time_limit(&mut self) {}

    pub(crate) fn count_temporary_files(&self, _: TakeRoom) {}

    pub(crate) fn serve_while_opening(&mut self) {}
}

impl RowsConfig {
    pub(super) fn of_table(path: &Path, _: &TextOptions) -> Result<Self, Fatal> {
        Err(Fatal::config(format!("{}: {NO_TABLES}", path.display())))
    }

    pub(super) fn is_table(_: &Path) -> bool {
        false
    }

    pub(super) fn is_there(path: &Path) -> Result<bool, Fatal> {
        Ok(path.exists())
    }

    pub(super) fn demo() -> Option<Self> {
        None
    }

    pub(super) fn choose_hdu(&mut self, _: String) {
        match *self {}
    }

    pub(super) fn is_query(&self) -> bool {
        match *self {}
    }
}

pub(super) fn resolve(raw: &Raw, origin: &Origin<'_>) -> Result<TablesConfig, Fatal> {
    if raw.sql.enabled {
        return Err(origin.refuse("sql", "enabled", NO_TABLES));
    }
    Ok(TablesConfig)
}

pub(super) fn rows(_: &RawRoute, _: PathBuf) -> Result<RowsConfig, String> {
    Err(NO_TABLES.into())
}
