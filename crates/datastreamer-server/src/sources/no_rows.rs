//! Rows and their formats in a program that was built without tables: there are none.

use super::{Job, Query, ShownColumn, ShownTable, Wanted};
use crate::refusal::Refusal;

/// The parameter of a posted query.
pub(crate) const QUERY_PARAMETER: &str = "query";

/// There is none: what is said of one is never asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {}

impl Format {
    pub(crate) const ALL: [Self; 0] = [];

    pub(crate) fn from_suffix(_: &str) -> Option<Self> {
        None
    }

    pub(crate) fn suffix(self) -> &'static str {
        match self {}
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {}
    }

    pub(crate) fn is_for_people(self) -> bool {
        match self {}
    }

    pub(crate) fn style(self) -> Option<&'static str> {
        match self {}
    }

    pub(crate) fn is_compressible(self) -> bool {
        match self {}
    }
}

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum RowRoute {}

/// How far a table is.
#[expect(dead_code, reason = "there is none")]
pub(crate) enum Progress {
    Open,
    Reading(u64, u64),
    Failed(std::time::SystemTime),
}

impl RowRoute {
    pub(crate) fn progress(&self) -> Option<Progress> {
        match *self {}
    }

    pub(crate) fn check(&self, _: &Query, _: Wanted<'_>) -> Result<Job, Refusal> {
        match *self {}
    }

    pub(crate) fn usual_format(&self) -> Format {
        match *self {}
    }

    pub(crate) fn has_name(&self, _: &str) -> bool {
        match *self {}
    }

    pub(crate) fn takes_posts(&self) -> bool {
        match *self {}
    }

    pub(crate) fn columns(&self, _most: usize) -> Vec<ShownColumn> {
        match *self {}
    }

    pub(crate) fn tables(&self) -> Vec<ShownTable> {
        match *self {}
    }

    pub(crate) fn is_had_as(&self, _suffix: &str) -> bool {
        match *self {}
    }

    pub(crate) fn column_count(&self) -> usize {
        match *self {}
    }

    pub(crate) fn size_hint(&self) -> String {
        match *self {}
    }

    pub(crate) fn example_narrowing(&self) -> Option<String> {
        match *self {}
    }

    pub(crate) fn example_query(&self) -> String {
        match *self {}
    }
}
