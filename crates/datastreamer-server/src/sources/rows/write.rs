//! Rows into a format, into the stream: the blocking half of every download of a table.
//!
//! Calls the row source's reader, `datastreamer_formats` and the stream's writer.

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::{error::ArrowError, record_batch::RecordBatch};
use datastreamer::StreamWriter;
use datastreamer_engine::{EngineError, EngineErrorKind, Rows};
use datastreamer_formats::table::{Format, TableEnd, TableError, WriterOptions, fits::FitsSpool};
use datastreamer_http::StatusError;
use http::StatusCode;

use super::{RowSettings, Run};
use crate::{
    export::Refusal,
    sources::{Prepared, PreparedRows, SourceError},
};

/// Prepares the file of a run; refuses what the format cannot hold.
pub(super) fn prepare(
    run: Run,
    format: Format,
    rows_max: Option<u64>,
    settings: &RowSettings,
) -> Result<Prepared, Refusal> {
    format.check(&run.reader.schema()).map_err(|error| {
        Refusal::bad_parameter(format!(
            "the format {format} cannot hold this table: {error}"
        ))
    })?;
    let capped = Arc::new(AtomicBool::new(false));
    let file = TableFile {
        run,
        format,
        rows_max,
        options: settings.writer.clone(),
        capped: Arc::clone(&capped),
    };
    Ok(Prepared {
        length: None,
        write: Box::new(move |out| file.write(out)),
        rows: Some(PreparedRows {
            format,
            rows_max,
            capped,
            length_wait: (format == Format::Fits).then_some(settings.length_wait),
        }),
    })
}

/// One table that is to be written.
struct TableFile {
    run: Run,
    format: Format,
    rows_max: Option<u64>,
    options: WriterOptions,
    capped: Arc<AtomicBool>,
}

impl TableFile {
    fn write(mut self, out: &StreamWriter) -> Result<(), SourceError> {
        if let Some(stop) = self.run.stop.take() {
            out.on_stop(move |_| stop());
        }
        let expected = [self.run.rows_known, self.rows_max]
            .into_iter()
            .flatten()
            .min();
        if let Some(rows) = expected {
            out.expect_rows(rows);
        }
        match self.format {
            Format::Fits => self.write_spooled(out),
            _ => self.write_through(out),
        }
    }

    fn write_through(mut self, out: &StreamWriter) -> Result<(), SourceError> {
        let schema = self.run.reader.schema();
        let mut table = self.format.writer(out.clone(), schema, &self.options)?;
        let copied = self.copy(out, |batch| {
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

    /// The header of a FITS table tells what comes, so the rows wait on the disk; and then the
    /// length is known.
    fn write_spooled(mut self, out: &StreamWriter) -> Result<(), SourceError> {
        let schema = self.run.reader.schema();
        let mut spool = FitsSpool::new(
            schema,
            &self.options.spool_directory,
            self.options.spool_bytes_max,
        )?;
        self.copy(out, |batch| {
            spool.write(batch)?;
            Ok(true)
        })?;
        let table = spool.finish()?;
        out.promise_length(table.bytes())?;
        Ok(table.write_to(&mut out.clone())?)
    }

    /// Hands each batch to `write`, until that wants no more or the limit is reached.
    fn copy(
        &mut self,
        out: &StreamWriter,
        mut write: impl FnMut(&RecordBatch) -> Result<bool, TableError>,
    ) -> Result<TableEnd, SourceError> {
        if self.rows_max == Some(0) {
            // Who asks for no row asks for what the columns are (DALI 1.1, 3.4.4).
            self.capped.store(true, Ordering::Relaxed);
            return Ok(TableEnd::Overflow);
        }
        let mut rows = 0;
        for batch in &mut self.run.reader {
            let mut batch = batch.map_err(|error| reader_failed(&error, rows))?;
            let left = self.rows_max.map_or(u64::MAX, |most| most - rows);
            let is_cut = batch.num_rows() as u64 > left;
            if is_cut {
                batch = batch.slice(0, left as usize);
            }
            let goes_on = batch.num_rows() == 0 || write(&batch)?;
            rows += batch.num_rows() as u64;
            out.add_rows(batch.num_rows() as u64);
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

impl From<Rows> for Run {
    fn from(rows: Rows) -> Self {
        let stopper = rows.stopper();
        Self {
            rows_known: rows.known_rows(),
            reader: Box::new(rows),
            stop: Some(Box::new(move || stopper.stop())),
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
    let status = cause
        .downcast_ref()
        .map_or(StatusCode::INTERNAL_SERVER_ERROR, status_of);
    let text = match rows {
        0 => cause.to_string(),
        rows => format!("after {rows} rows: {cause}"),
    };
    Box::new(StatusError::new(status, text))
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
        status: status_of(&error),
        text: error.to_string(),
        position: error.position().map(|place| (place.line, place.column)),
    }
}
