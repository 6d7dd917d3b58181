//! Opens Arrow files and streams for a scan, and casts their values to the columns of the table.

use std::{iter, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, ByteView},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, Int16Type, Int32Type, Int64Type, RunEndIndexType, SchemaRef},
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
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use crate::{arrow_file, error::EngineError, pinned::PinnedFile};

/// 128 MiB of values that are cast at a time, as in a batch of Parquet.
const PIECE_BYTES_MAX: usize = 128 << 20;
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
            let batches = opened.await?.map_ok(move |batch| {
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

/// Casts a batch in pieces: a long text in a dictionary is one, and becomes as many as rows have it.
fn cast_pieces(
    batch: RecordBatch,
    schema: SchemaRef,
) -> impl Iterator<Item = Result<RecordBatch, String>> {
    let columns = batch.columns().iter().zip(schema.fields());
    let cast_columns = columns.filter(|(values, field)| values.data_type() != field.data_type());
    let bytes = cast_columns.map(|(values, _)| longest(values.as_ref()));
    let bytes = bytes.fold(0, usize::saturating_add);
    let piece_rows = PIECE_BYTES_MAX.checked_div(bytes).unwrap_or(usize::MAX);
    let (rows, piece_rows) = (batch.num_rows(), piece_rows.max(1));
    let starts = (0..rows.max(1)).step_by(piece_rows);
    starts.map(move |start| {
        let piece = batch.slice(start, piece_rows.min(rows - start));
        cast(&piece, &schema)
    })
}

/// Returns the bytes of the longest value that rows may have in common; 0 where each has its own.
fn longest(values: &dyn Array) -> usize {
    match values.data_type() {
        DataType::Dictionary(..) => {
            let values = values.as_any_dictionary().values();
            longest_of_all(values.as_ref())
        }
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => longest_run::<Int16Type>(values),
            DataType::Int32 => longest_run::<Int32Type>(values),
            _ => longest_run::<Int64Type>(values),
        },
        DataType::Struct(_) => {
            let members = values.as_struct().columns().iter();
            let bytes = members.map(|member| longest(member.as_ref()));
            bytes.fold(0, usize::saturating_add)
        }
        DataType::List(_) => {
            let lists = values.as_list::<i32>();
            longest_list(lists.offsets().lengths(), lists.values())
        }
        DataType::LargeList(_) => {
            let lists = values.as_list::<i64>();
            longest_list(lists.offsets().lengths(), lists.values())
        }
        DataType::Map(..) => {
            let maps = values.as_map();
            longest_list(maps.offsets().lengths(), maps.entries())
        }
        DataType::FixedSizeList(_, length) => {
            let lengths = iter::once(usize::try_from(*length).unwrap_or_default());
            longest_list(lengths, values.as_fixed_size_list().values())
        }
        _ => 0,
    }
}

fn longest_list(lengths: impl Iterator<Item = usize>, elements: &dyn Array) -> usize {
    match longest(elements) {
        0 => 0,
        bytes => bytes.saturating_mul(lengths.max().unwrap_or_default()),
    }
}

fn longest_run<E: RunEndIndexType>(values: &dyn Array) -> usize {
    let runs = values.as_run_opt::<E>();
    runs.map_or(0, |runs| longest_of_all(runs.values().as_ref()))
}

/// Returns the bytes of the longest of some values.
fn longest_of_all(values: &dyn Array) -> usize {
    let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or_default();
    match values.data_type() {
        DataType::Utf8 => longest(&mut values.as_string::<i32>().offsets().lengths()),
        DataType::LargeUtf8 => longest(&mut values.as_string::<i64>().offsets().lengths()),
        DataType::Binary => longest(&mut values.as_binary::<i32>().offsets().lengths()),
        DataType::LargeBinary => longest(&mut values.as_binary::<i64>().offsets().lengths()),
        DataType::Utf8View => {
            let views = values.as_string_view().views().iter();
            longest(&mut views.map(|view| ByteView::from(*view).length as usize))
        }
        DataType::BinaryView => {
            let views = values.as_binary_view().views().iter();
            longest(&mut views.map(|view| ByteView::from(*view).length as usize))
        }
        other => other.primitive_width().unwrap_or_default(),
    }
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
