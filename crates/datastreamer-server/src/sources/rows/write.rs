//! Rows into a format, into the stream: the blocking half of every download of a table.
//!
//! Calls the row source's reader, `datastreamer_table` and the stream's writer.

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arrow::{error::ArrowError, record_batch::RecordBatch};
use datastreamer::StreamWriter;
use datastreamer_engine::{EngineError, EngineErrorKind, Rows};
use datastreamer_http::StatusError;
use datastreamer_table::{
    Format, TableEnd, TableError, TableWriter, WriterOptions,
    fits::{FitsShape, FitsSpool, FitsWriter},
};
use http::StatusCode;

use super::{Look, RowSettings, Run, StartRun, postgres};
use crate::{
    export::Refusal,
    sources::{Feed, Job, RowsJob, SourceError},
};

/// Makes the job of a file of rows. Its start plans the run, and refuses columns that the format
/// cannot hold.
pub(super) fn job(
    start: StartRun,
    format: Format,
    rows_max: Option<u64>,
    settings: &RowSettings,
) -> Job {
    let file = TableFile::new(format, rows_max, settings);
    let rows = RowsJob {
        format,
        rows_max,
        capped: Arc::clone(&file.capped),
    };
    let length_wait = settings.length_wait;
    Job::of_rows(
        rows,
        Box::new(move |place| file.feed(start(place)?, length_wait)),
    )
}

/// One table that is to be written.
struct TableFile {
    format: Format,
    rows_max: Option<u64>,
    options: WriterOptions,
    capped: Arc<AtomicBool>,
}

impl TableFile {
    fn new(format: Format, rows_max: Option<u64>, settings: &RowSettings) -> Self {
        Self {
            format,
            rows_max,
            options: settings.writer.clone(),
            capped: Arc::default(),
        }
    }

    /// Makes a run's file; the head of one of FITS waits for a length that is not known yet.
    fn feed(self, run: Run, length_wait: Duration) -> Result<Feed, Refusal> {
        let format = self.format;
        format.check(&run.reader.schema()).map_err(|error| {
            let text = format!("the format {format} cannot hold this table: {error}");
            Refusal::bad_parameter(text)
        })?;
        let shape = match format {
            Format::Fits => self.known_shape(&run)?,
            _ => None,
        };
        let length = shape.as_ref().map(FitsShape::bytes);
        let must_wait = format == Format::Fits && length.is_none();
        let write = move |out: &mut StreamWriter| self.write(run, shape, out).map_err(with_status);
        Ok(Feed {
            length,
            length_wait: must_wait.then_some(length_wait),
            write: Box::new(write),
        })
    }

    fn rows_expected(&self, run: &Run) -> Option<u64> {
        let known = run.rows_known?;
        Some(self.rows_max.map_or(known, |most| known.min(most)))
    }

    /// What a FITS file of these rows is like, where that is known before they are: its length is
    /// told, and it is streamed.
    fn known_shape(&self, run: &Run) -> Result<Option<FitsShape>, Refusal> {
        let Some(rows) = self.rows_expected(run) else {
            return Ok(None);
        };
        let learnt = run.shape.clone().filter(|shape| shape.rows() == rows);
        let shape = match learnt {
            Some(shape) => Some(shape),
            None => FitsShape::of_schema(run.reader.schema(), rows, &run.known_values)
                .map_err(|error| Refusal::bad_parameter(error.to_string()))?,
        };
        Ok(shape.filter(FitsShape::is_streamable))
    }

    fn write(
        &self,
        mut run: Run,
        shape: Option<FitsShape>,
        out: &StreamWriter,
    ) -> Result<(), SourceError> {
        if let Some(rows) = self.rows_expected(&run) {
            out.expect_rows(rows);
        }
        let schema = run.reader.schema();
        let shape = match (shape, run.look.take()) {
            (None, Some(look)) => self.look(*look, &mut run, out)?,
            (shape, _) => shape,
        };
        match (self.format, shape) {
            (Format::Fits, Some(shape)) => {
                let table = FitsWriter::new(out.clone(), schema, shape)?;
                self.write_through(run, Box::new(table), out)
            }
            (Format::Fits, None) => self.write_spooled(run, out),
            (format, _) => {
                let table = format.writer(out.clone(), schema, &self.options)?;
                self.write_through(run, table, out)
            }
        }
    }

    fn write_through(
        &self,
        mut run: Run,
        mut table: Box<dyn TableWriter + Send>,
        out: &StreamWriter,
    ) -> Result<(), SourceError> {
        let copied = self.copy(&mut run, out, |batch| {
            table.write(batch)?;
            Ok(!table.is_full())
        });
        match copied {
            Ok(end) => Ok(table.finish(end)?),
            Err(error) => {
                // The stream's own failure tells more than what the abort meets.
                let _ = table.abort(&error.to_string());
                Err(error)
            }
        }
    }

    /// Looks at what the header of a FITS table must tell; and then the length is known. `None`
    /// if the rows cannot be streamed all the same.
    fn look(
        &self,
        look: Look,
        run: &mut Run,
        out: &StreamWriter,
    ) -> Result<Option<FitsShape>, SourceError> {
        let Look {
            mut survey,
            run: mut looked,
        } = look;
        let places: Vec<_> = (0..survey.places().len()).collect();
        self.for_each_batch(&mut looked, out, |batch| {
            survey.look_at(&batch.project(&places)?)?;
            Ok(true)
        })?;
        let shape = survey.finish()?;
        if !shape.is_streamable() {
            return Ok(None);
        }
        tell(&shape, run, out)?;
        Ok(Some(shape))
    }

    /// The header of a FITS table tells what comes, so the rows wait on the disk; and then the
    /// length is known.
    fn write_spooled(&self, mut run: Run, out: &StreamWriter) -> Result<(), SourceError> {
        let options = &self.options;
        let directory = &options.spool_directory;
        let schema = run.reader.schema();
        let mut spool = FitsSpool::new(schema, directory, options.spool_bytes_max)?;
        self.copy(&mut run, out, |batch| {
            spool.write(batch)?;
            Ok(true)
        })?;
        let table = spool.finish()?;
        tell(table.shape(), &mut run, out)?;
        Ok(table.write_to(&mut out.clone())?)
    }

    /// Hands each batch to `write`, until that wants no more, and counts the rows.
    fn copy(
        &self,
        run: &mut Run,
        out: &StreamWriter,
        mut write: impl FnMut(&RecordBatch) -> Result<bool, TableError>,
    ) -> Result<TableEnd, SourceError> {
        self.for_each_batch(run, out, |batch| {
            let goes_on = batch.num_rows() == 0 || write(batch)?;
            out.add_rows(batch.num_rows() as u64);
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
        if self.rows_max == Some(0) {
            // Who asks for no row asks for what the columns are (DALI 1.1, 3.4.4).
            self.capped.store(true, Ordering::Relaxed);
            return Ok(TableEnd::Overflow);
        }
        if let Some(stop) = run.stop.take() {
            out.on_stop(move |_| stop());
        }
        let mut rows = 0;
        for batch in &mut run.reader {
            let mut batch = batch.map_err(|error| reader_failed(&error, rows))?;
            let left = self.rows_max.map_or(u64::MAX, |most| most - rows);
            let is_cut = batch.num_rows() as u64 > left;
            if is_cut {
                batch = batch.slice(0, left as usize);
            }
            let goes_on = take(&batch)?;
            rows += batch.num_rows() as u64;
            if is_cut {
                self.capped.store(true, Ordering::Relaxed);
                return Ok(TableEnd::Overflow);
            }
            if !goes_on {
                break;
            }
        }
        Ok(TableEnd::Complete)
    }
}

/// Tells what a FITS table is like: its length to the client, all of it to who asks for it again.
fn tell(shape: &FitsShape, run: &mut Run, out: &StreamWriter) -> Result<(), SourceError> {
    if let Some(learn) = run.learn.take() {
        learn(shape.clone());
    }
    Ok(out.promise_length(shape.bytes())?)
}

impl From<Rows> for Run {
    fn from(rows: Rows) -> Self {
        let stopper = rows.stopper();
        Self {
            rows_known: rows.known_rows(),
            known_values: rows.known_values().to_vec(),
            stop: Some(Box::new(move || stopper.stop())),
            ..Self::new(rows)
        }
    }
}

/// What the client is told of a reader that failed: a status, should the head not be gone yet,
/// and after how many rows.
fn reader_failed(error: &ArrowError, rows: u64) -> SourceError {
    let cause: &(dyn StdError + 'static) = match error {
        ArrowError::ExternalError(cause) => cause.as_ref(),
        error => error,
    };
    let engine = cause.downcast_ref().map(status_of);
    let status = engine
        .or_else(|| cause.downcast_ref().map(postgres::status_of))
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // What the client is told has no more than the error itself.
    if let Some(source) = cause.source() {
        tracing::info!(error = %cause, cause = source, rows, "rows failed");
    }
    let text = match rows {
        0 => cause.to_string(),
        rows => format!("after {rows} rows: {cause}"),
    };
    Box::new(StatusError::new(status, text))
}

/// What the client is told of a value that the format cannot hold, should the head not be gone
/// yet: another format would do.
fn with_status(error: SourceError) -> SourceError {
    match error.downcast_ref() {
        Some(TableError::Column { .. } | TableError::Value { .. }) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Box::new(StatusError::new(status, error.to_string()))
        }
        _ => error,
    }
}

/// Says who has to act.
fn status_of(error: &EngineError) -> StatusCode {
    match error.kind() {
        EngineErrorKind::BadQuery => StatusCode::BAD_REQUEST,
        EngineErrorKind::Computation => StatusCode::UNPROCESSABLE_ENTITY,
        EngineErrorKind::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
        EngineErrorKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What the engine refuses, as a response.
pub(crate) fn engine_refusal(error: EngineError) -> Refusal {
    Refusal {
        position: error.position().map(|place| (place.line, place.column)),
        ..Refusal::new(status_of(&error), error.to_string())
    }
}
