//! A registered table, narrowed by the request's parameters.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{datatypes::Schema, error::ArrowError};
use datastreamer::StreamWriter;
use datastreamer_engine::{Engine, EngineError, Narrowing, OpenTable, Rows, TableFiles, TableInfo};
use datastreamer_table::{Format, TableLayout};

use super::{
    Count, Hdus, Run, StartRun, block_on, engine_refusal, formats_of,
    opening::{Opened, Opening, Progress},
    wait_for,
};
use crate::{
    refusal::Refusal,
    sources::{DataState, Fingerprint, Query},
};

/// A table of the engine's.
#[derive(Clone)]
pub(crate) struct Table {
    engine: Engine,
    name: String,
    opening: Opening,
    files: TableFiles,
    /// The engine's table, of one that has no name there.
    opened: Option<OpenTable>,
    /// The other tables of its file.
    hdus: Arc<Hdus>,
    /// The layout of the complete table in the format that found it out last.
    layout: Arc<Mutex<Option<VersionedLayout>>>,
}

/// A layout, valid for one state of the files.
struct VersionedLayout {
    version: u64,
    layout: TableLayout,
}

impl Table {
    pub(crate) fn new(engine: Engine, name: &str, opening: Opening, files: TableFiles) -> Self {
        Self {
            files,
            engine,
            name: name.to_owned(),
            opened: None,
            hdus: Arc::new(Hdus::None),
            opening,
            layout: Arc::default(),
        }
    }

    /// Makes a table of one that has no name in the engine; `name` is that of the table that it belongs
    /// to.
    pub(crate) fn of_open(
        engine: Engine,
        name: &str,
        opened: OpenTable,
        files: TableFiles,
    ) -> Self {
        let opening = Opening::new(name, 0);
        opening.end(Ok(Opened {
            info: opened.info().clone(),
            own_file: None,
            formats: formats_of(opened.info().schema()),
        }));
        Self {
            opened: Some(opened),
            ..Self::new(engine, name, opening, files)
        }
    }

    /// Says which tables of its files a request may choose.
    pub(crate) fn with_hdus(self, hdus: Hdus) -> Self {
        Self {
            hdus: Arc::new(hdus),
            ..self
        }
    }

    pub(crate) fn hdus(&self) -> &Hdus {
        &self.hdus
    }

    async fn scan(&self, narrowing: &Narrowing) -> Result<Rows, EngineError> {
        match &self.opened {
            Some(opened) => self.engine.scan_open(opened, narrowing).await,
            None => self.engine.scan(&self.name, narrowing).await,
        }
    }

    /// Returns what is known of the table; `None` until it is open.
    pub(crate) fn info(&self) -> Option<&TableInfo> {
        self.opening.opened().map(|opened| &opened.info)
    }

    /// Returns whether a format of this suffix holds its columns; true until it is open.
    pub(crate) fn is_had_as(&self, suffix: &str) -> bool {
        let format = Format::from_suffix(suffix);
        let opened = self.opening.opened();
        format.is_none_or(|format| opened.is_none_or(|opened| opened.formats.contains(&format)))
    }

    pub(crate) fn progress(&self) -> Progress {
        self.opening.progress()
    }

    /// Looks at the files of the table.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let files = self.files.clone();
        Arc::new(move || {
            let state = files.state().map_err(engine_refusal)?;
            Ok(DataState {
                fingerprint: state.fingerprint,
                changed: state.changed,
            })
        })
    }

    /// The file that the complete table is in this format.
    pub(crate) fn own_file(&self, format: Format) -> Option<&Path> {
        let (path, of) = self.opening.opened()?.own_file.as_ref()?;
        (*of == format).then_some(path)
    }

    /// Reads every row of every column, and reports the number of rows of each batch. **Blocks**.
    ///
    /// # Errors
    /// What cannot be read, with its file.
    pub(crate) fn read_all(&self, mut report: impl FnMut(usize)) -> Result<(), String> {
        let rows = block_on(self.scan(&Narrowing::default()))?;
        for batch in rows.map_err(|error| error.to_string())? {
            report(batch.map_err(text_of)?.num_rows());
        }
        Ok(())
    }

    /// Checks the parameters against the columns of the table.
    pub(super) fn check(&self, query: &Query, rows_max: Option<u64>) -> Result<StartRun, Refusal> {
        let opened = self.opening.ready()?;
        let narrowing = Narrowing::parse(query.pairs(), opened.info.schema());
        let mut narrowing = narrowing.map_err(engine_refusal)?;
        narrowing.limit = rows_max;
        let table = self.clone();
        Ok(Box::new(move |place| table.plan(narrowing, place)))
    }

    /// Makes the function that counts all rows, by what the files say of themselves.
    pub(super) fn count(&self) -> Count {
        let table = self.clone();
        Box::new(move |place| {
            let rows = wait_for(place, table.scan(&Narrowing::default()))?;
            Ok(rows.known_rows())
        })
    }

    fn plan(&self, narrowing: Narrowing, place: &StreamWriter) -> Result<Run, Refusal> {
        let rows = wait_for(place, self.scan(&narrowing))?;
        let version = rows.version();
        let mut run = Run::from(rows);
        if let Some(version) = version.filter(|_| narrowing.is_complete_table()) {
            run.layout = self.layout(version);
            let table = self.clone();
            run.remember = Some(Box::new(move |layout| table.remember(version, layout)));
        }
        if self.info().is_some_and(TableInfo::is_binary) && narrowing.keeps_order() {
            run.rereading = Some(Box::new(Rereading {
                table: self.clone(),
                narrowing,
                version,
            }));
        }
        Ok(run)
    }

    fn layout(&self, version: u64) -> Option<TableLayout> {
        let kept = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.as_ref().filter(|kept| kept.version == version);
        kept.map(|kept| kept.layout.clone())
    }

    fn remember(&self, version: u64, layout: TableLayout) {
        let mut kept = self.layout.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(VersionedLayout { version, layout });
    }
}

/// The engine's text, which names the file.
fn text_of(error: ArrowError) -> String {
    match error {
        ArrowError::ExternalError(cause) => cause.to_string(),
        error => error.to_string(),
    }
}

/// The same rows of a table, to be read once more.
pub(crate) struct Rereading {
    table: Table,
    narrowing: Narrowing,
    version: Option<u64>,
}

impl Rereading {
    /// Plans the rows with the columns at these places of their schema, and perhaps others behind
    /// them. `None` if the files have been replaced in the meantime.
    pub(super) fn plan(
        self,
        columns: &[usize],
        schema: &Schema,
        place: &StreamWriter,
    ) -> Result<Option<Run>, Refusal> {
        let narrowing = self.narrowing.some_columns(columns, schema);
        let rows = wait_for(place, self.table.scan(&narrowing))?;
        Ok((rows.version() == self.version).then(|| Run::from(rows)))
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
