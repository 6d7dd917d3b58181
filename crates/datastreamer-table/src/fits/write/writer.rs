//! Rows streamed into a table whose shape is known.

use std::io::Write;

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};

use super::{FitsShape, encode, write_padding};
use crate::{
    TableEnd, TableError, TableWriter,
    column::{cast_columns, typed_columns},
};

/// Streams a table whose [`FitsShape`] is known: header, rows, padding.
///
/// A value that has no place in the shape fails the write with its row and column: a longer text,
/// a null where there were none, a value that stands for null. So do rows beyond those that the
/// header announced; when there are fewer, the end fails.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_table::{TableEnd, TableWriter, fits::{FitsShape, FitsWriter}};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![7]))])?;
/// let shape = FitsShape::of_schema(Arc::clone(&schema), 1, &[])?.ok_or("the values must be seen")?;
/// let mut file = Vec::new();
/// let mut table = Box::new(FitsWriter::new(&mut file, schema, shape)?);
/// let length = table.bytes();
/// table.write(&batch)?;
/// table.finish(TableEnd::Complete)?;
/// assert_eq!(file.len() as u64, length);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FitsWriter<W> {
    out: W,
    shape: FitsShape,
    /// Rows written.
    rows: u64,
    block: Vec<u8>,
}

impl<W: Write> FitsWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// A shape of another schema, or of a table that cannot be streamed, before anything is
    /// written; an error of the output.
    pub fn new(mut out: W, schema: SchemaRef, shape: FitsShape) -> Result<Self, TableError> {
        let (given, known) = (schema.fields(), shape.schema().fields());
        let same = given.len() == known.len()
            && given.iter().zip(known).all(|(given, known)| {
                given.name() == known.name() && given.data_type().equals_datatype(known.data_type())
            });
        if !same {
            let problem = "the shape is that of a table of another schema";
            return Err(TableError::Schema(problem.into()));
        }
        if let Some(place) = shape.column_in_heap() {
            return Err(TableError::Column {
                column: schema.field(place).name().clone(),
                problem: "FITS has its values behind the rows, and so cannot be streamed".into(),
            });
        }
        out.write_all(&shape.header)?;
        Ok(Self {
            out,
            shape,
            rows: 0,
            block: Vec::new(),
        })
    }

    /// The exact length of the file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.shape.bytes()
    }
}

impl<W: Write> TableWriter for FitsWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let arrays = cast_columns(batch)?;
        let columns = typed_columns(&arrays, &self.shape.types)?;
        let left = self.shape.rows() - self.rows;
        let rows =
            usize::try_from(left).map_or(batch.num_rows(), |left| left.min(batch.num_rows()));
        let block_rows = self.shape.block_rows();
        for from in (0..rows).step_by(block_rows) {
            let block = from..rows.min(from + block_rows);
            let length = block.len();
            self.block.clear();
            let encoded =
                encode::append_rows(&mut self.block, &self.shape.layout, &columns, block, &mut 0);
            self.out.write_all(&self.block)?;
            encoded.map_err(|bad| bad.error(self.shape.schema(), self.rows))?;
            self.rows += length as u64;
        }
        if rows < batch.num_rows() {
            return Err(TableError::Rows {
                announced: self.shape.rows(),
                written: self.rows,
            });
        }
        Ok(())
    }

    /// The format has no place to say that a limit cut the table.
    fn finish(mut self: Box<Self>, _end: TableEnd) -> Result<(), TableError> {
        if self.rows < self.shape.rows() {
            return Err(TableError::Rows {
                announced: self.shape.rows(),
                written: self.rows,
            });
        }
        write_padding(&mut self.out, self.shape.data_bytes())?;
        Ok(self.out.flush()?)
    }

    fn abort(mut self: Box<Self>, _reason: &str) -> Result<(), TableError> {
        Ok(self.out.flush()?)
    }
}
