//! How rows become bytes: each format's answer to a description of the rows.
//!
//! Most formats write rows as they come. A format whose header states what only the rows show (how
//! many there are, how wide the texts are) must know that before its first byte. So
//! [`Format::plan`] takes what is known ([`RowsDescription`]) and answers with a [`WritePlan`]:
//! stream the rows now, survey some columns first, or spool all rows. Callers follow the answer and
//! need not know which format gives which.
//!
//! Today FITS alone answers *survey* or *spool*; its half of the work is in `fits/write/`.

use std::io::Write;

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};

use super::{Format, WriterOptions};
use crate::{
    ColumnStatistics, TableError, TableWriter,
    fits::{FitsShape, FitsSpool, FitsSurvey, FitsTable, FitsWriter},
};

/// What is known of rows before they are read.
///
/// ```
/// use std::sync::Arc;
/// use arrow::datatypes::{DataType, Field, Schema};
/// use datastreamer_table::{Format, RowsDescription, WritePlan, WriterOptions};
///
/// let schema = Schema::new(vec![Field::new("n", DataType::Int32, false)]);
/// let rows = RowsDescription {
///     rows: Some(1_000),
///     ..RowsDescription::new(Arc::new(schema))
/// };
/// let WritePlan::Stream(fits) = Format::Fits.plan(&rows, &WriterOptions::default())? else {
///     return Err("schema and number of rows say all".into());
/// };
/// assert_eq!(fits.length(), Some(4 * 2880));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RowsDescription {
    /// The columns, with their metadata.
    pub schema: SchemaRef,
    /// The exact number of rows.
    pub rows: Option<u64>,
    /// Statistics of the columns, in their order; columns beyond the last are unknown.
    pub columns: Vec<ColumnStatistics>,
    /// The layout that an earlier run of the same rows left. It is ignored if it is another
    /// format's, or if its number of rows is not [`rows`](Self::rows).
    pub layout: Option<TableLayout>,
}

impl RowsDescription {
    /// Describes rows of which only the columns are known.
    pub fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            rows: None,
            columns: Vec::new(),
            layout: None,
        }
    }
}

/// What a format found out about rows when it wrote them, for the next run of the same rows.
///
/// Opaque, and valid only for exactly the same rows: keep it beside the version of the files that
/// they come from, and give it back as [`RowsDescription::layout`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableLayout(FitsShape);

/// How a format writes the rows that were described.
#[derive(Debug)]
pub enum WritePlan {
    /// The rows are written as they come.
    Stream(StreamPlan),
    /// Some columns must be read before: then the rows can probably be streamed. A caller that
    /// cannot read the rows twice [skips](Survey::skip) this.
    Survey(Survey),
    /// All rows must be kept until the last one is there.
    Spool(SpoolPlan),
}

impl Format {
    /// Decides how the rows that are described are written. Writes nothing, and does not block.
    ///
    /// [`check`](Self::check) the schema first: not all plans do.
    ///
    /// # Errors
    /// A column that the format cannot hold.
    pub fn plan(
        self,
        rows: &RowsDescription,
        options: &WriterOptions,
    ) -> Result<WritePlan, TableError> {
        let output = Output {
            format: self,
            schema: rows.schema.clone(),
            options: options.clone(),
        };
        match self {
            Self::Fits => plan_fits(rows, output),
            _ => Ok(WritePlan::Stream(StreamPlan {
                output,
                layout: None,
            })),
        }
    }
}

fn plan_fits(rows: &RowsDescription, output: Output) -> Result<WritePlan, TableError> {
    let schema = || rows.schema.clone();
    if let Some(count) = rows.rows {
        let remembered = rows.layout.as_ref().map(|TableLayout(shape)| shape);
        let shape = match remembered.filter(|shape| shape.rows() == count) {
            Some(shape) => Some(shape.clone()),
            None => FitsShape::of_schema(schema(), count, &rows.columns)?,
        };
        if let Some(shape) = shape.filter(FitsShape::is_streamable) {
            return Ok(WritePlan::Stream(StreamPlan {
                output,
                layout: Some(TableLayout(shape)),
            }));
        }
    }
    let spool = SpoolPlan { output };
    if rows.layout.is_none() {
        let survey = FitsSurvey::of_unsettled(schema(), &rows.columns)?;
        if survey.may_be_streamable() {
            return Ok(WritePlan::Survey(Survey { survey, spool }));
        }
    }
    Ok(WritePlan::Spool(spool))
}

/// One table that is to be written.
#[derive(Clone, Debug)]
struct Output {
    format: Format,
    schema: SchemaRef,
    options: WriterOptions,
}

/// Rows that can be written as they come.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    output: Output,
    layout: Option<TableLayout>,
}

impl StreamPlan {
    /// The exact length of the file, in bytes, if it is known.
    pub fn length(&self) -> Option<u64> {
        self.layout.as_ref().map(|TableLayout(shape)| shape.bytes())
    }

    /// What is to be remembered of these rows, if anything: see [`TableLayout`].
    pub fn layout(&self) -> Option<&TableLayout> {
        self.layout.as_ref()
    }

    /// Makes the writer, which begins with what stands before the first row. Blocks as `out` does.
    ///
    /// Where the [length](Self::length) is known, a value or a row that does not fit into it fails
    /// the write.
    ///
    /// # Errors
    /// What [`Format::writer`] refuses; an error of the output.
    pub fn writer<'a, W: Write + Send + 'a>(
        self,
        out: W,
    ) -> Result<Box<dyn TableWriter + Send + 'a>, TableError> {
        self.boxed_writer(Box::new(out))
    }

    fn boxed_writer<'a>(
        self,
        out: Box<dyn Write + Send + 'a>,
    ) -> Result<Box<dyn TableWriter + Send + 'a>, TableError> {
        let Output {
            format,
            schema,
            options,
        } = self.output;
        Ok(match self.layout {
            Some(TableLayout(shape)) => Box::new(FitsWriter::new(out, schema, shape)?),
            None => format.writer(out, schema, &options)?,
        })
    }
}

/// Reads some columns of all rows, before the rows are read again to be written.
///
/// Exactly the same rows must come both times: a row or a value that was not surveyed fails the
/// write.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::{Int32Array, StringArray}, record_batch::RecordBatch};
/// use datastreamer_table::{Format, RowsDescription, TableEnd, WritePlan, WriterOptions};
///
/// let numbers = Arc::new(Int32Array::from(vec![1, 2]));
/// let names = Arc::new(StringArray::from(vec!["Sirius", "Vega"]));
/// let batch = RecordBatch::try_from_iter([("n", numbers as _), ("name", names as _)])?;
/// let rows = RowsDescription { rows: Some(2), ..RowsDescription::new(batch.schema()) };
/// let plan = Format::Fits.plan(&rows, &WriterOptions::default())?;
///
/// let WritePlan::Survey(mut survey) = plan else { return Err("texts have no known width".into()) };
/// assert_eq!(survey.columns(), [1]);
/// survey.add(&batch.project(survey.columns())?)?;
/// let WritePlan::Stream(stream) = survey.finish()? else { return Err("short texts".into()) };
/// let mut file = Vec::new();
/// let length = stream.length();
/// let mut table = stream.writer(&mut file)?;
/// table.write(&batch)?;
/// table.finish(TableEnd::Complete)?;
/// assert_eq!(length, Some(file.len() as u64));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Survey {
    survey: FitsSurvey,
    spool: SpoolPlan,
}

impl Survey {
    /// The places, in the table, of the columns that are wanted, in this order. None, if only the
    /// number of rows is.
    pub fn columns(&self) -> &[usize] {
        self.survey.places()
    }

    /// Takes the rows of a batch, with exactly the wanted [columns](Self::columns). Computes, and
    /// does not block.
    ///
    /// # Errors
    /// A value that the format cannot hold, with its row and column; a batch of other columns.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        self.survey.look_at(batch)
    }

    /// Ends the survey (these were all rows) and says how they are written: streamed with a known
    /// length, or spooled.
    ///
    /// # Errors
    /// A column that the format cannot hold with these values.
    pub fn finish(self) -> Result<WritePlan, TableError> {
        let shape = self.survey.finish()?;
        Ok(match shape.is_streamable() {
            true => WritePlan::Stream(StreamPlan {
                output: self.spool.output,
                layout: Some(TableLayout(shape)),
            }),
            false => WritePlan::Spool(self.spool),
        })
    }

    /// Gives up the survey, for rows that can be read only once.
    pub fn skip(self) -> SpoolPlan {
        self.spool
    }
}

impl std::fmt::Debug for Survey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Survey")
            .field("columns", &self.columns())
            .finish_non_exhaustive()
    }
}

/// Rows that must all be kept before the first byte is written.
#[derive(Clone, Debug)]
pub struct SpoolPlan {
    output: Output,
}

impl SpoolPlan {
    /// Makes an empty spool: an unnamed temporary file, in the directory and of the size that the
    /// [options](WriterOptions::spool_directory) say. Dropping it deletes the file.
    ///
    /// # Errors
    /// A file that cannot be made; a column that the format cannot hold.
    pub fn start(self) -> Result<Spool, TableError> {
        let WriterOptions {
            spool_directory,
            spool_bytes_max,
            temporary_room,
            ..
        } = &self.output.options;
        let room = temporary_room.clone();
        let schema = self.output.schema;
        let spool = FitsSpool::in_room(schema, spool_directory, *spool_bytes_max, room)?;
        Ok(Spool(spool))
    }
}

/// Keeps rows in a temporary file until all of them are there.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::StringArray, record_batch::RecordBatch};
/// use datastreamer_table::{Format, RowsDescription, WritePlan, WriterOptions};
///
/// let names = Arc::new(StringArray::from(vec!["Sirius", "Vega"]));
/// let batch = RecordBatch::try_from_iter([("name", names as _)])?;
/// let rows = RowsDescription::new(batch.schema());
/// let plan = match Format::Fits.plan(&rows, &WriterOptions::default())? {
///     WritePlan::Spool(plan) => plan,
///     WritePlan::Survey(survey) => survey.skip(),
///     WritePlan::Stream(_) => return Err("the number of rows is unknown".into()),
/// };
/// let mut spool = plan.start()?;
/// spool.write(&batch)?;
/// let table = spool.finish()?;
/// let (mut file, length) = (Vec::new(), table.length());
/// table.write_to(&mut file)?;
/// assert_eq!(file.len() as u64, length);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Spool(FitsSpool);

impl Spool {
    /// Keeps the rows of a batch of the table's schema. **Blocks** as writing to a file does.
    ///
    /// # Errors
    /// A value that the format cannot hold, with its row and column; a spool that is full.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        self.0.write(batch)
    }

    /// Ends the table: these were all rows.
    ///
    /// # Errors
    /// A column that the format cannot hold with these values; a spool that is full.
    pub fn finish(self) -> Result<SpooledTable, TableError> {
        self.0.finish().map(SpooledTable)
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").finish_non_exhaustive()
    }
}

/// A complete table in a temporary file, ready to be written.
#[derive(Debug)]
pub struct SpooledTable(FitsTable);

impl SpooledTable {
    /// The exact length of the file, in bytes.
    pub fn length(&self) -> u64 {
        self.0.bytes()
    }

    /// What is to be remembered of these rows: see [`TableLayout`].
    pub fn layout(&self) -> TableLayout {
        TableLayout(self.0.shape().clone())
    }

    /// Writes the complete file. **Blocks** as reading a file and `out` do.
    ///
    /// # Errors
    /// An error of the output, or of the spool.
    pub fn write_to(self, out: &mut impl Write) -> Result<(), TableError> {
        self.0.write_to(out)
    }
}
