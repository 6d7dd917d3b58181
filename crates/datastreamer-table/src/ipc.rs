//! Arrow IPC, as a stream or as a file.
//!
//! [`IpcWriter`] frames what the `arrow` crate encodes. Column metadata is kept as it is.
//!
//! Source: Arrow columnar format 1.5, "Serialization and Interprocess Communication".

use std::{
    io::{self, BufWriter, Write},
    sync::Arc,
};

use arrow::{
    array::ArrayRef,
    compute::cast,
    datatypes::{DataType, Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::{FileWriter, StreamWriter},
    record_batch::{RecordBatch, RecordBatchOptions},
};

use super::{
    TableEnd, TableError, TableWriter, invalid_values::check_values, nested::find_type, type_name,
};

/// Messages are many small pieces: gathered, in bytes, as the other formats gather rows.
const GATHER_BYTES: usize = 64 * 1024;

/// How the messages are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Read from the front. Dictionaries may change from batch to batch.
    Stream,
    /// With an index at its end, for readers that seek. A column of a dictionary becomes one of
    /// its values, as a file has one dictionary only (ibid., "IPC File Format").
    File,
}

/// Writes one table as Arrow IPC.
///
/// Memory is that of one batch encoded; a file's index adds 24 bytes a batch.
///
/// A file that is aborted has no index, and is refused. **A stream that is cut between two
/// messages is taken for complete by many readers**: its end marker may be missing. Only the transport
/// tells.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_table::{TableEnd, TableWriter, ipc::{Framing, IpcWriter}};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![7]))])?;
/// let mut file = Vec::new();
/// let mut table = Box::new(IpcWriter::new(&mut file, schema, Framing::Stream)?);
/// table.write(&batch)?;
/// table.finish(TableEnd::Complete)?;
/// let mut read = arrow::ipc::reader::StreamReader::try_new(file.as_slice(), None)?;
/// assert_eq!(read.next().transpose()?, Some(batch));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct IpcWriter<W: Write> {
    messages: Messages<W>,
    framing: Framing,
    schema: SchemaRef,
    rows: u64,
}

enum Messages<W: Write> {
    Stream(StreamWriter<BufWriter<W>>),
    File(FileWriter<BufWriter<W>>),
}

impl<W: Write> IpcWriter<W> {
    /// The key of a file's metadata that says `OVERFLOW` where a limit cut the table.
    pub const STATUS_KEY: &'static str = "QUERY_STATUS";

    /// Writes the schema.
    ///
    /// # Errors
    /// A column that Arrow IPC cannot hold, before anything is written; an error of the output.
    pub fn new(out: W, schema: SchemaRef, framing: Framing) -> Result<Self, TableError> {
        check(&schema, framing)?;
        let schema = match framing {
            Framing::Stream => schema,
            Framing::File => without_dictionaries(&schema),
        };
        let out = BufWriter::with_capacity(GATHER_BYTES, out);
        let messages = match framing {
            Framing::Stream => StreamWriter::try_new(out, &schema).map(Messages::Stream),
            Framing::File => FileWriter::try_new(out, &schema).map(Messages::File),
        };
        Ok(Self {
            messages: messages.map_err(output_error)?,
            framing,
            schema,
            rows: 0,
        })
    }
}

impl<W: Write> TableWriter for IpcWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        for (array, field) in batch.columns().iter().zip(self.schema.fields()) {
            check_values(array, field, self.rows)?;
        }
        self.rows += batch.num_rows() as u64;
        let columns = batch.columns().iter().map(|array| match array.data_type() {
            DataType::Dictionary(_, values) if self.framing == Framing::File => cast(array, values),
            _ => Ok(ArrayRef::clone(array)),
        });
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = columns
            .collect::<Result<_, _>>()
            .and_then(|columns| {
                let schema = Arc::clone(&self.schema);
                RecordBatch::try_new_with_options(schema, columns, &rows)
            })
            .map_err(|error| TableError::Schema(error.to_string()))?;
        match &mut self.messages {
            Messages::Stream(stream) => stream.write(&batch),
            Messages::File(file) => file.write(&batch),
        }
        .map_err(output_error)
    }

    /// A stream has no place to say that a limit cut the table.
    fn finish(self: Box<Self>, end: TableEnd) -> Result<(), TableError> {
        match self.messages {
            Messages::Stream(mut stream) => stream.finish().and_then(|()| stream.flush()),
            Messages::File(mut file) => {
                if end == TableEnd::Overflow {
                    file.write_metadata(Self::STATUS_KEY, "OVERFLOW");
                }
                file.finish().and_then(|()| file.flush())
            }
        }
        .map_err(output_error)
    }

    fn abort(self: Box<Self>, _reason: &str) -> Result<(), TableError> {
        match self.messages {
            Messages::Stream(mut stream) => stream.flush(),
            Messages::File(mut file) => file.flush(),
        }
        .map_err(output_error)
    }
}

/// # Errors
/// The first column that cannot be held. The `arrow` crate says so of a whole schema.
fn check(schema: &Schema, framing: Framing) -> Result<(), TableError> {
    for field in schema.fields() {
        let alone = Schema::new(vec![Arc::clone(field)]);
        let refused = |problem: String| TableError::Column {
            column: field.name().clone(),
            problem,
        };
        StreamWriter::try_new(io::sink(), &alone).map_err(|error| refused(error.to_string()))?;
        if framing == Framing::File && has_inner_dictionary(field.data_type()) {
            return Err(refused(format!(
                "an Arrow file cannot hold the type {} with a dictionary within, which may change",
                type_name(field.data_type())
            )));
        }
    }
    Ok(())
}

/// A column that is a dictionary becomes its values; those within others do not.
fn has_inner_dictionary(data_type: &DataType) -> bool {
    let outer = match data_type {
        DataType::Dictionary(_, values) => values,
        data_type => data_type,
    };
    find_type(outer, &|inner| matches!(inner, DataType::Dictionary(_, _))).is_some()
}

fn without_dictionaries(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Dictionary(_, values) => Arc::new(
            field
                .as_ref()
                .clone()
                .with_data_type(values.as_ref().clone()),
        ),
        _ => Arc::clone(field),
    });
    let fields: Vec<_> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn output_error(error: ArrowError) -> TableError {
    TableError::Output(match error {
        ArrowError::IoError(_, error) => error,
        error => io::Error::other(error),
    })
}
