//! A registered table, narrowed by the request's parameters.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::Schema;
use datastreamer::StreamWriter;
use datastreamer_engine::{Engine, Narrowing, TableInfo};
use datastreamer_table::{
    Format,
    fits::{FitsShape, FitsSurvey},
};

use super::{Look, Run, StartRun, engine_refusal, wait_for};
use crate::{export::Refusal, sources::Query};

/// A table of the engine's.
#[derive(Clone)]
pub(crate) struct Table {
    engine: Engine,
    name: String,
    info: TableInfo,
    /// What the whole table is like in FITS, once it was written so.
    shape: Arc<Mutex<Option<Learnt>>>,
}

/// What holds of one state of the files.
struct Learnt {
    version: u64,
    shape: FitsShape,
}

impl Table {
    pub(crate) fn new(engine: Engine, name: &str, info: TableInfo) -> Self {
        Self {
            engine,
            name: name.to_owned(),
            info,
            shape: Arc::default(),
        }
    }

    pub(crate) fn info(&self) -> &TableInfo {
        &self.info
    }

    /// Checks the parameters against the columns of the table.
    pub(super) fn check(
        &self,
        query: &Query,
        format: Format,
        rows_max: Option<u64>,
    ) -> Result<StartRun, Refusal> {
        let narrowing = Narrowing::parse(query.pairs(), self.info.schema());
        let mut narrowing = narrowing.map_err(engine_refusal)?;
        narrowing.limit = rows_max;
        let table = self.clone();
        Ok(Box::new(move |place| table.plan(narrowing, format, place)))
    }

    fn plan(
        &self,
        narrowing: Narrowing,
        format: Format,
        place: &StreamWriter,
    ) -> Result<Run, Refusal> {
        let rows = wait_for(place, self.engine.scan(&self.name, &narrowing))?;
        let version = rows.version();
        let mut run = Run::from(rows);
        if format != Format::Fits {
            return Ok(run);
        }
        if let Some(version) = version.filter(|_| narrowing.is_whole()) {
            run.shape = self.shape_of(version);
            let table = self.clone();
            run.learn = Some(Box::new(move |shape| table.learn(version, shape)));
        }
        if run.shape.is_none()
            && self.info.is_binary()
            && narrowing.keeps_order()
            && let Some(survey) = needed_survey(&run)
        {
            let schema = run.reader.schema();
            run.look = self.look(&narrowing, version, &schema, survey, place)?;
        }
        Ok(run)
    }

    /// Plans a look at the columns of a table that a survey must see.
    fn look(
        &self,
        narrowing: &Narrowing,
        version: Option<u64>,
        schema: &Schema,
        survey: FitsSurvey,
        place: &StreamWriter,
    ) -> Result<Option<Box<Look>>, Refusal> {
        let narrowing = narrowing.some_columns(survey.places(), schema);
        let rows = wait_for(place, self.engine.scan(&self.name, &narrowing))?;
        // Of files that have just been replaced nothing is known.
        let same = rows.version() == version;
        let run = Run::from(rows);
        Ok(same.then(|| Box::new(Look { survey, run })))
    }

    fn shape_of(&self, version: u64) -> Option<FitsShape> {
        let learnt = self.shape.lock().unwrap_or_else(PoisonError::into_inner);
        let learnt = learnt.as_ref().filter(|learnt| learnt.version == version);
        learnt.map(|learnt| learnt.shape.clone())
    }

    fn learn(&self, version: u64, shape: FitsShape) {
        let mut learnt = self.shape.lock().unwrap_or_else(PoisonError::into_inner);
        *learnt = Some(Learnt { version, shape });
    }
}

/// A survey of the rows of a run, where FITS must know more of them than is known, and it helps.
fn needed_survey(run: &Run) -> Option<FitsSurvey> {
    // What FITS cannot hold is refused where every format's columns are checked.
    let survey = FitsSurvey::of_unsettled(run.reader.schema(), &run.known_values).ok()?;
    let is_settled = survey.places().is_empty() && run.rows_known.is_some();
    (!is_settled && survey.may_be_streamable()).then_some(survey)
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
