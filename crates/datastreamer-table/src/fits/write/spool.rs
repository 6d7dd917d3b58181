//! A table kept in a temporary file until it is complete.

use std::{
    io::{self, BufReader, BufWriter, Seek, Write},
    ops::Range,
    path::Path,
    sync::Arc,
};

use arrow::{
    datatypes::{Field, Schema, SchemaRef},
    ipc::{reader::StreamReader, writer::StreamWriter},
    record_batch::RecordBatch,
};

use super::{FitsShape, FitsSurvey, encode, write_padding};
use crate::{
    TableError,
    column::{Column, cast_columns, cell_types, typed_columns},
    error::BadValue,
    temporary::{TemporaryFile, TemporaryRoom},
};

/// What a spool's file may take on disk by default: 16 GiB hold 200 million rows
/// of ten numbers.
pub const SPOOL_BYTES_MAX: u64 = 16 << 30;

/// Keeps a table until it is complete.
///
/// What FITS cannot hold is refused here, before anything of the file is written: text that is
/// not printable ASCII, times beyond the year 9999.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_table::fits::{FitsSpool, SPOOL_BYTES_MAX};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![7]))])?;
/// let mut spool = FitsSpool::new(schema, &std::env::temp_dir(), SPOOL_BYTES_MAX)?;
/// spool.write(&batch)?;
/// let table = spool.finish()?;
/// let (mut file, length) = (Vec::new(), table.bytes());
/// table.write_to(&mut file)?;
/// assert_eq!(file.len() as u64, length);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FitsSpool {
    /// Of the spool: the columns, cast.
    schema: SchemaRef,
    spool: StreamWriter<BufWriter<TemporaryFile>>,
    survey: FitsSurvey,
}

/// A complete table, ready to be written.
pub struct FitsTable {
    shape: FitsShape,
    spool: TemporaryFile,
}

impl FitsSpool {
    /// Makes an empty spool: an unnamed file in `directory` of at most `bytes_max` bytes, by
    /// default [`SPOOL_BYTES_MAX`].
    ///
    /// # Errors
    /// A column that FITS cannot hold, or more than 999 of them; a file that cannot be made.
    pub fn new(schema: SchemaRef, directory: &Path, bytes_max: u64) -> Result<Self, TableError> {
        Self::in_room(schema, directory, bytes_max, None)
    }

    /// As [`new`](Self::new), in room that is taken from an account.
    pub(crate) fn in_room(
        schema: SchemaRef,
        directory: &Path,
        bytes_max: u64,
        room: Option<Arc<dyn TemporaryRoom>>,
    ) -> Result<Self, TableError> {
        let cast = cast_schema(&schema);
        let survey = FitsSurvey::new(schema)?;
        let file = TemporaryFile::new(directory, bytes_max, room)?;
        let spool = StreamWriter::try_new_buffered(file, &cast).map_err(io::Error::other)?;
        Ok(Self {
            schema: cast,
            spool,
            survey,
        })
    }

    /// Keeps the rows of a batch.
    ///
    /// # Errors
    /// A value that FITS cannot hold, with its row and column; a spool that is full.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let columns = cast_columns(batch)?;
        self.survey.look_at_columns(&columns, batch.num_rows())?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| TableError::Schema(error.to_string()))?;
        Ok(self.spool.write(&batch).map_err(spool_error)?)
    }

    /// Ends the table.
    ///
    /// # Errors
    /// A column with nulls and no value left to stand for them; a spool that is full.
    pub fn finish(self) -> Result<FitsTable, TableError> {
        let spool = self.spool.into_inner().map_err(spool_error)?;
        let spool = spool.into_inner().map_err(|error| error.into_error())?;
        Ok(FitsTable {
            shape: self.survey.finish()?,
            spool,
        })
    }
}

impl FitsTable {
    /// What the header states of the rows: with it the same table can be streamed the next time, if
    /// it [can be](FitsShape::is_streamable).
    pub fn shape(&self) -> &FitsShape {
        &self.shape
    }

    /// The exact length of the file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.shape.bytes()
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.shape.rows()
    }

    /// Writes the complete file.
    ///
    /// # Errors
    /// An error of the output, or of the spool.
    pub fn write_to(mut self, out: &mut impl Write) -> Result<(), TableError> {
        out.write_all(&self.shape.header)?;
        let mut heap_bytes = 0;
        self.for_each_block(out, |block, shape, columns, rows| {
            encode::append_rows(block, &shape.layout, columns, rows, &mut heap_bytes)
        })?;
        if self.shape.layout.heap_bytes > 0 {
            self.for_each_block(out, |block, shape, columns, rows| {
                encode::append_heap(block, &shape.layout, columns, rows)
            })?;
        }
        write_padding(out, self.shape.data_bytes())?;
        Ok(out.flush()?)
    }

    /// Reads the spool from its beginning, and writes what a few rows at a time are encoded to.
    fn for_each_block(
        &mut self,
        out: &mut impl Write,
        mut append: impl FnMut(
            &mut Vec<u8>,
            &FitsShape,
            &[Column<'_>],
            Range<usize>,
        ) -> Result<(), BadValue>,
    ) -> Result<(), TableError> {
        self.spool.rewind()?;
        let block_rows = self.shape.block_rows();
        let mut block = Vec::new();
        let batches = StreamReader::try_new(BufReader::new(&mut self.spool), None);
        for batch in batches.map_err(spool_error)? {
            let batch = batch.map_err(spool_error)?;
            let columns = typed_columns(batch.columns(), &self.shape.types)?;
            for from in (0..batch.num_rows()).step_by(block_rows) {
                let rows = from..batch.num_rows().min(from + block_rows);
                block.clear();
                // All values were checked before they were kept.
                append(&mut block, &self.shape, &columns, rows)
                    .map_err(|bad| io::Error::other(bad.problem))?;
                out.write_all(&block)?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for FitsTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FitsTable")
            .field("schema", self.shape.schema())
            .field("rows", &self.rows())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// The columns after their casts: what the spool holds.
fn cast_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().zip(cell_types(schema));
    let fields = fields.map(|(field, data_type)| Field::new(field.name(), data_type, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn spool_error(error: arrow::error::ArrowError) -> io::Error {
    match error {
        arrow::error::ArrowError::IoError(_, error) => error,
        error => io::Error::other(error),
    }
}
