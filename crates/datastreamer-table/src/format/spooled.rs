//! FITS behind the same interface as the other formats: kept in its spool until the table is finished,
//! then written at once.

use std::io::Write;

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};

use super::WriterOptions;
use crate::{TableEnd, TableError, TableWriter, fits::FitsSpool};

pub(super) struct FitsWriter<W> {
    out: W,
    spool: FitsSpool,
}

impl<W: Write> FitsWriter<W> {
    /// # Errors
    /// A column that FITS cannot hold; a temporary file that cannot be made.
    pub(super) fn new(
        out: W,
        schema: SchemaRef,
        options: &WriterOptions,
    ) -> Result<Self, TableError> {
        let room = options.temporary_room.clone();
        let (directory, bytes_max) = (&options.spool_directory, options.spool_bytes_max);
        let spool = FitsSpool::in_room(schema, directory, bytes_max, room)?;
        Ok(Self { out, spool })
    }
}

impl<W: Write> TableWriter for FitsWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        self.spool.write(batch)
    }

    /// FITS has no place to say that a limit cut the table.
    fn finish(mut self: Box<Self>, _end: TableEnd) -> Result<(), TableError> {
        let table = self.spool.finish()?;
        table.write_to(&mut self.out)
    }

    /// Nothing was written, and nothing is.
    fn abort(self: Box<Self>, _reason: &str) -> Result<(), TableError> {
        Ok(())
    }
}
