//! A registered table, narrowed by the request's parameters.

use datastreamer_engine::{Engine, Narrowing, TableInfo};

use super::{Run, engine_refusal};
use crate::{export::Refusal, sources::Query};

/// A table of the engine's.
#[derive(Clone)]
pub(crate) struct Table {
    engine: Engine,
    name: String,
    info: TableInfo,
}

impl Table {
    pub(crate) fn new(engine: Engine, name: &str, info: TableInfo) -> Self {
        Self {
            engine,
            name: name.to_owned(),
            info,
        }
    }

    pub(crate) fn info(&self) -> &TableInfo {
        &self.info
    }

    pub(super) async fn plan(&self, query: &Query, rows_max: Option<u64>) -> Result<Run, Refusal> {
        let mut narrowing =
            Narrowing::parse(query.pairs(), self.info.schema()).map_err(engine_refusal)?;
        narrowing.limit = rows_max;
        let rows = self.engine.scan(&self.name, &narrowing).await;
        Ok(rows.map_err(engine_refusal)?.into())
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
