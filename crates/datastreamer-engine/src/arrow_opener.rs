//! Opens Arrow files and streams for a scan, and casts their values to the columns of the table.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef},
    compute::{CastOptions, cast_with_options},
    datatypes::{Field, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use datafusion::{
    common::{DataFusionError, Result},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{ArrowOpener as Opener, FileOpenFuture, FileOpener},
    },
    object_store::ObjectStore,
};
use datastreamer_table::shared_values;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use crate::{arrow_file, error::EngineError, guard::UNREAD, pinned::PinnedFile};

/// A value that a type does not hold is an error, not a null.
const EXACT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: arrow::util::display::FormatOptions::new(),
};

pub(crate) struct ArrowOpener {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The columns to read, and their places in the file.
    pub(crate) schema: SchemaRef,
    pub(crate) places: Vec<usize>,
}

impl FileOpener for ArrowOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let pinned = file.extension::<PinnedFile>().cloned().ok_or_else(|| {
            EngineError::data("internal error: a plan reads a file that was not compared")
        })?;
        let (store, places) = (Arc::clone(&self.store), Some(self.places.clone()));
        let opener = match arrow_file::has_footer(&pinned.path) {
            true => Opener::new_file_opener(store, places),
            false => Opener::new_stream_file_opener(store, places),
        };
        let (opened, schema) = (opener.open(file)?, Arc::clone(&self.schema));
        let open = async move {
            let opened = opened.await.map_err(|error| unread(&pinned, error))?;
            let file = pinned.clone();
            let batches = opened.map_err(move |error| unread(&file, error));
            let batches = batches.map_ok(move |batch| {
                let pinned = pinned.clone();
                let pieces = cast_pieces(batch, Arc::clone(&schema));
                stream::iter(
                    pieces.map(move |piece| Ok(piece.map_err(|text| pinned.error(&text))?)),
                )
            });
            let batches = batches.try_flatten();
            Ok(batches.boxed())
        };
        Ok(open.boxed())
    }
}

/// Says of a file that the decoder gave up: its text is for the log. That the system cannot read the
/// file is said as it is.
fn unread(file: &PinnedFile, error: DataFusionError) -> DataFusionError {
    let text = match error.find_root() {
        DataFusionError::IoError(error) => error.to_string(),
        DataFusionError::ObjectStore(_) => return error,
        _ => {
            tracing::warn!(path = %file.path.display(), %error, "an Arrow file cannot be decoded");
            UNREAD.to_owned()
        }
    };
    file.error(&text).into()
}

/// Casts a batch in pieces, each when it is asked for: a long text in a dictionary is one, and becomes
/// as many as rows have it.
fn cast_pieces(
    batch: RecordBatch,
    schema: SchemaRef,
) -> impl Iterator<Item = Result<RecordBatch, String>> {
    let mut columns = batch.columns().iter().zip(schema.fields());
    let pieces = match columns.all(|(values, field)| values.data_type() == field.data_type()) {
        true => Ok(vec![batch]),
        false => shared_values::pieces(&batch, 0),
    };
    let (pieces, refused) = match pieces {
        Ok(pieces) => (pieces, None),
        Err(error) => (Vec::new(), Some(Err(error.to_string()))),
    };
    let pieces = pieces.into_iter();
    pieces
        .map(move |piece| cast(&piece, &schema))
        .chain(refused)
}

/// Casts the columns of a batch to those of the table, which hold their values.
fn cast(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(values, field)| cast_column(values, field));
    let columns = columns.collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| error.to_string())
}

fn cast_column(values: &ArrayRef, field: &Field) -> Result<ArrayRef, String> {
    if values.data_type() == field.data_type() {
        return Ok(Arc::clone(values));
    }
    let cast = cast_with_options(values, field.data_type(), &EXACT);
    cast.map_err(|error| {
        let error = EngineError::from(DataFusionError::from(error));
        format!("column {:?}: {error}", field.name())
    })
}
