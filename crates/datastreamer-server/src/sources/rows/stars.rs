//! The demo's catalogue, generated on the fly.

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatchReader,
};
use datastreamer_rows::stars::Stars as Catalogue;

use super::{Run, StartRun};
use crate::{refusal::Refusal, sources::Query, units::parse_bytes};

/// The default of `rows`: a file of some megabytes.
const DEFAULT_ROWS: u64 = 100_000;

/// A catalogue of as many stars as are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Stars {
    columns: SchemaRef,
}

impl Stars {
    pub(crate) fn new() -> Self {
        Self {
            columns: Catalogue::new(0).schema(),
        }
    }

    pub(super) fn columns(&self) -> &Schema {
        &self.columns
    }

    pub(super) fn check(&self, query: &Query) -> Result<StartRun, Refusal> {
        query.allow(&["rows"]).map_err(|error| {
            Refusal::bad_parameter(format!(
                "{error}, limit, format and nested: this catalogue is invented, and has no rows to find"
            ))
        })?;
        // Counts are written like sizes: 1e6.
        let rows = query
            .get("rows", parse_bytes)
            .map_err(Refusal::bad_parameter)?;
        let rows = rows.unwrap_or(DEFAULT_ROWS);
        Ok(Box::new(move |_| {
            Ok(Run {
                rows_known: Some(rows),
                ..Run::new(Catalogue::new(rows))
            })
        }))
    }
}
