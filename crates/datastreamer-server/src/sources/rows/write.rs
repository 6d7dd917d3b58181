//! Rows into a format, into the stream: the blocking half of every download of a table.
//!
//! Calls the row source's reader, `datastreamer_table` and the stream's writer.

use std::{error::Error as StdError, io, sync::Arc};

use arrow::{error::ArrowError, record_batch::RecordBatch};
use datastreamer::StreamWriter;
use datastreamer_engine::{EngineError, EngineErrorKind, Rows, RowsFiles};
use datastreamer_http::StatusError;
use datastreamer_rows::postgres::PostgresError;
use datastreamer_table::{
    Format, SpoolPlan, StreamPlan, Survey, TableEnd, TableError, TableLayout, WritePlan,
    ascii::Counted, fits::NOT_PRINTABLE, shared_values,
};
use http::StatusCode;

use super::{Author, Page, RowSettings, Run, StartRun, Writing, other_columns, postgres};
use crate::{
    refusal::{Concealed, Fault, Refusal, SOURCE_FAILED, cut},
    sources::{Feed, Job, LimitBy, OnMore, RowFacts, RowLimit, RowsJob, SourceError},
};

/// Makes the job of a file of rows. Its start plans the run, and refuses columns that the format
/// cannot hold.
pub(super) fn job(
    start: StartRun,
    rows: RowsJob,
    writing: Writing,
    page: Option<Page>,
    settings: &RowSettings,
) -> Job {
    let format = rows.format;
    let file = TableFile {
        facts: Arc::clone(&rows.facts),
        shown_max: (format == Format::Html).then_some(settings.writer.html_rows_max),
    };
    let mut settings = settings.clone();
    settings.writer.limit = rows.facts.limit.map(RowLimit::for_people);
    Job::of_rows(
        rows,
        Box::new(move |place| {
            let mut run = start(place)?;
            if let Some(page) = page {
                let offered = run.offered.take();
                let result = run.reader.schema();
                let asks = run.asks.take();
                let frame = page.frame(&result, run.rows_known, offered, asks, place)?;
                settings.writer.html_frame = Some(frame);
            }
            let run = run.with_uuids_for(format);
            let run = run.with_nested_for(format, writing.nested)?;
            let run = run.with_ascii_for(format, writing, Counted::InTheLog);
            file.feed(run, format, writing, &settings, place)
        }),
    )
}

/// One table that is to be written.
struct TableFile {
    facts: Arc<RowFacts>,
    /// A page has no more rows than these, of those that are read to know whether there are more.
    shown_max: Option<u64>,
}

impl TableFile {
    fn rows_max(&self) -> Option<u64> {
        self.facts.limit.map(|limit| limit.rows)
    }

    /// Returns how many of the first rows the file has.
    fn shown_of(&self, rows: u64) -> u64 {
        self.shown_max.map_or(rows, |most| rows.min(most))
    }

    /// Refuses rows that the limit would cut, if the operator wants that.
    fn refuse_cut(&self, known: Option<u64>) -> Option<Refusal> {
        let limit = self.facts.limit?;
        if limit.on_more == OnMore::Cap || known.is_some_and(|known| known <= limit.rows) {
            return None;
        }
        let there = match known {
            Some(rows) => format!("there are {rows}"),
            None => "there are more".into(),
        };
        let text = format!(
            "{there} rows, and this server sends at most {0}: narrow them, or ask for limit={0}",
            limit.rows
        );
        Some(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text))
    }

    /// Makes a run's file. Its head waits for a length that is known only once rows have been
    /// read.
    fn feed(
        self,
        mut run: Run,
        format: Format,
        writing: Writing,
        settings: &RowSettings,
        place: &StreamWriter,
    ) -> Result<Feed, Refusal> {
        let schema = run.reader.schema();
        if let Some(known) = run.rows_known {
            let _first = self.facts.rows_known.set(known);
            if let Some(refusal) = self.refuse_cut(Some(known)) {
                return Err(refusal);
            }
        }
        let others = |error: &TableError| match error {
            TableError::Column { column, .. } if writing.has_select => {
                other_columns(format, &schema, Some(column))
            }
            _ => String::new(),
        };
        format.check(&schema).map_err(|error| {
            let others = others(&error);
            let text = format!("the format {format} cannot hold this table: {error}{others}");
            Refusal::bad_parameter(text)
        })?;
        let plan = format
            .plan(&run.description(self.rows_max()), &settings.writer)
            .map_err(|error| Refusal::bad_parameter(format!("{error}{}", others(&error))))?;
        let surveyed = match (&plan, run.rereading.take()) {
            (WritePlan::Survey(survey), Some(rereading)) => {
                let (planned, columns) = run.planned(survey.columns());
                rereading.plan(&columns, &planned, place)?
            }
            _ => None,
        };
        let surveyed = surveyed.map(|run| {
            let run = run.with_uuids_for(format);
            run.with_ascii_for(format, writing, Counted::Not)
        });
        let (length, length_wait) = match &plan {
            WritePlan::Stream(stream) => (stream.length(), None),
            WritePlan::Survey(_) | WritePlan::Spool(_) => (None, Some(settings.length_wait)),
        };
        let write =
            move |out: &mut StreamWriter| self.write(run, plan, surveyed, out).map_err(with_status);
        Ok(Feed::of_stream(length, length_wait, Box::new(write)))
    }

    /// Writes the rows as the plan says. `surveyed` are the same rows, for a survey; without them
    /// it is skipped.
    fn write(
        &self,
        mut run: Run,
        plan: WritePlan,
        surveyed: Option<Run>,
        out: &StreamWriter,
    ) -> Result<(), SourceError> {
        if let Some(rows) = run.rows_expected(self.rows_max()) {
            out.expect_rows(self.shown_of(rows));
        }
        match (plan, surveyed) {
            (WritePlan::Stream(stream), _) => self.stream(run, stream, out),
            (WritePlan::Spool(spool), _) => self.spool(run, spool, out),
            (WritePlan::Survey(survey), None) => self.spool(run, survey.skip(), out),
            (WritePlan::Survey(survey), Some(surveyed)) => {
                let plan = self.survey(survey, surveyed, out)?;
                if let WritePlan::Stream(stream) = &plan {
                    announce(stream.length(), stream.layout().cloned(), &mut run, out)?;
                }
                self.write(run, plan, None, out)
            }
        }
    }

    /// Writes the rows as they come.
    fn stream(
        &self,
        mut run: Run,
        plan: StreamPlan,
        out: &StreamWriter,
    ) -> Result<(), SourceError> {
        let mut table = plan.writer(out.clone())?;
        let copied = self.copy(&mut run, out, |batch| {
            table.write(batch)?;
            Ok(!table.is_full())
        });
        match copied {
            Ok(end) => Ok(table.finish(end)?),
            Err(error) => {
                let error = with_status(error);
                // The stream's own failure says more than a failure of the abort.
                let _ = table.abort(&text_for_client(&error));
                Err(error)
            }
        }
    }

    /// Reads the columns that the format must know before it writes.
    fn survey(
        &self,
        mut survey: Survey,
        mut run: Run,
        out: &StreamWriter,
    ) -> Result<WritePlan, SourceError> {
        let places: Vec<_> = (0..survey.columns().len()).collect();
        self.for_each_batch(&mut run, out, |batch| {
            survey.add(&batch.project(&places)?)?;
            Ok(true)
        })?;
        Ok(survey.finish()?)
    }

    /// Keeps all rows in a temporary file, then writes them.
    fn spool(&self, mut run: Run, plan: SpoolPlan, out: &StreamWriter) -> Result<(), SourceError> {
        let mut spool = plan.start()?;
        self.copy(&mut run, out, |batch| {
            spool.write(batch)?;
            Ok(true)
        })?;
        let table = spool.finish()?;
        announce(Some(table.length()), Some(table.layout()), &mut run, out)?;
        Ok(table.write_to(&mut out.clone())?)
    }

    /// Hands each batch to `write`, until that wants no more, and counts the rows.
    fn copy(
        &self,
        run: &mut Run,
        out: &StreamWriter,
        mut write: impl FnMut(&RecordBatch) -> Result<bool, TableError>,
    ) -> Result<TableEnd, SourceError> {
        let mut rows = 0;
        self.for_each_batch(run, out, |batch| {
            let goes_on = batch.num_rows() == 0 || write(batch)?;
            let shown_before = self.shown_of(rows);
            rows += batch.num_rows() as u64;
            out.add_rows(self.shown_of(rows) - shown_before);
            Ok(goes_on)
        })
    }

    /// Hands on each batch, as far as the limit lets them through.
    fn for_each_batch(
        &self,
        run: &mut Run,
        out: &StreamWriter,
        mut take: impl FnMut(&RecordBatch) -> Result<bool, SourceError>,
    ) -> Result<TableEnd, SourceError> {
        let is_refused = self
            .facts
            .limit
            .is_some_and(|limit| limit.on_more != OnMore::Cap);
        if self.rows_max() == Some(0) && !is_refused {
            let by = self.facts.limit.map(|limit| limit.by);
            match (self.facts.is_cut(), by) {
                (Some(false), _) => return Ok(TableEnd::Complete),
                // A request for no rows asks for the columns (DALI 1.1, 3.4.4): nobody looks whether
                // there are rows.
                (Some(true), _) | (None, Some(LimitBy::Request)) => return Ok(TableEnd::Overflow),
                (None, _) => {}
            }
        }
        let stop = run.stop.take();
        let _stops = stop.map(|stop| out.on_stop(move |_| stop()));
        let mut rows = 0;
        for batch in &mut run.reader {
            let mut batch = batch.map_err(|error| reader_failed(&error, rows, run.author))?;
            let left = self.rows_max().map_or(u64::MAX, |most| most - rows);
            let is_cut = batch.num_rows() as u64 > left;
            if is_cut && let Some(refusal) = self.refuse_cut(None) {
                return Err(Box::new(StatusError::new(refusal.status, refusal.text)));
            }
            if is_cut {
                batch = batch.slice(0, left as usize);
            }
            let mut goes_on = true;
            for piece in shared_values::pieces(&batch, rows)? {
                goes_on = goes_on && take(&piece)?;
            }
            rows += batch.num_rows() as u64;
            if is_cut || !goes_on {
                // The reader checks them at its end, which nobody reads.
                let checked = run.files.as_ref().map_or(Ok(()), RowsFiles::check);
                checked.map_err(|error| {
                    let error = ArrowError::ExternalError(Box::new(error));
                    reader_failed(&error, rows, run.author)
                })?;
            }
            if is_cut {
                self.facts.note_cut(true);
                return Ok(TableEnd::Overflow);
            }
            if !goes_on {
                return Ok(TableEnd::Complete);
            }
        }
        self.facts.note_cut(false);
        Ok(TableEnd::Complete)
    }
}

/// Promises the length to the client and keeps the layout for later runs, once both are known.
fn announce(
    length: Option<u64>,
    layout: Option<TableLayout>,
    run: &mut Run,
    out: &StreamWriter,
) -> Result<(), SourceError> {
    if let (Some(layout), Some(remember)) = (layout, run.remember.take()) {
        remember(layout);
    }
    match length {
        Some(length) => Ok(out.promise_length(length)?),
        None => Ok(()),
    }
}

impl From<Rows> for Run {
    fn from(rows: Rows) -> Self {
        let stopper = rows.stopper();
        Self {
            rows_known: rows.known_rows(),
            columns: rows.column_statistics().to_vec(),
            files: Some(rows.files()),
            stop: Some(Box::new(move || stopper.stop())),
            ..Self::new(rows)
        }
    }
}

/// The error for the client when a reader fails: after how many rows, and a status in case the head
/// has not been sent.
fn reader_failed(error: &ArrowError, rows: u64, author: Author) -> SourceError {
    let cause: &(dyn StdError + 'static) = match error {
        ArrowError::ExternalError(cause) => cause.as_ref(),
        error => error,
    };
    let engine: Option<&EngineError> = cause.downcast_ref();
    let status = engine
        .map(status_of)
        .or_else(|| cause.downcast_ref().map(postgres::status_of))
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let postgres: Option<&PostgresError> = cause.downcast_ref();
    let text = match (engine, postgres) {
        (Some(error), _) => match author.conceals(status) {
            Some(concealing) => concealing.into(),
            None => text_for_clients(error),
        },
        (None, Some(error)) => error.text_for_clients(),
        (None, None) => SOURCE_FAILED.into(),
    };
    // The cause is for the operator only.
    if cause.source().is_some() || text != cause.to_string() {
        tracing::info!(error = %cause, cause = cause.source(), rows, "rows failed");
    }
    let cause = text;
    let text = match rows {
        0 => cause,
        rows => format!("after {rows} rows: {cause}"),
    };
    match author.fault(status) {
        Fault::OfOperator => Concealed::of_operator(status, cut(text)),
        Fault::OfStatus => Box::new(StatusError::new(status, cut(text))),
    }
}

/// Gives a status to the error of a value that the format cannot hold, in case the head has not been
/// sent: another format would do.
fn with_status(error: SourceError) -> SourceError {
    match error.downcast_ref() {
        Some(TableError::Value { problem, .. }) if problem == NOT_PRINTABLE => {
            let text = format!("{error}; ascii=replace puts ? in the place of other characters");
            Box::new(StatusError::new(StatusCode::UNPROCESSABLE_ENTITY, text))
        }
        Some(TableError::Output(failed)) if failed.kind() == io::ErrorKind::StorageFull => {
            tracing::error!(error = %failed, "a temporary file has no room");
            let text = "the server has no room to make this file: try again later, or ask for fewer \
                        rows or another format";
            Box::new(StatusError::new(StatusCode::INSUFFICIENT_STORAGE, text))
        }
        Some(TableError::Column { .. } | TableError::Value { .. }) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Box::new(StatusError::new(status, error.to_string()))
        }
        _ => error,
    }
}

/// Returns what a file may say of the error that ends it.
fn text_for_client(error: &SourceError) -> String {
    let told = StatusError::find_in(error.as_ref());
    told.map_or_else(
        || SOURCE_FAILED.into(),
        |told| told.problem().detail.clone(),
    )
}

/// Returns the status by whose task it is.
fn status_of(error: &EngineError) -> StatusCode {
    match error.kind() {
        EngineErrorKind::BadQuery => StatusCode::BAD_REQUEST,
        EngineErrorKind::Computation => StatusCode::UNPROCESSABLE_ENTITY,
        EngineErrorKind::Exhausted | EngineErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        EngineErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A refusal by the engine, as a response.
pub(crate) fn engine_refusal(error: EngineError) -> Refusal {
    Refusal {
        position: error.position().map(|place| (place.line, place.column)),
        ..Refusal::new(status_of(&error), text_for_clients(&error))
    }
}

/// The folders of files are for the operator only.
fn text_for_clients(error: &EngineError) -> String {
    let text = error.text_for_clients();
    if text != error.to_string() {
        tracing::info!(%error, "a file cannot be read");
    }
    text
}
