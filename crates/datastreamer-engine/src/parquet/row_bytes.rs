//! The usual bytes of a row in columns of texts and lists, by the footer of a file: a batch has fewer
//! rows where a row is long. It decides nothing about what is too much: `pages.rs` does, for batches
//! of as many rows.

use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt, path::Path, sync::Arc};

use arrow::datatypes::Schema;
use datafusion::parquet::{
    basic::{Encoding, Type},
    file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData},
};
use serde::{Deserialize, Serialize};

use super::{
    batch_bytes,
    pages::{Chunk, LIST_VALUE_BYTES, usual_bytes_in_dictionary, value_bytes_min},
};

/// The header of a dictionary has 20 bytes or so.
const DICTIONARY_HEADER_BYTES: usize = 64;
/// A row of less than 512 bytes may stand in a batch of the usual 8192 rows, 4 MiB, also where a query
/// with little memory sorts it.
const ROW_BYTES_FREE: u64 = 512;

/// The usual bytes of a row in each column of a file; nothing if they are few in all of them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "BTreeMap<String, u64>", into = "BTreeMap<String, u64>")]
pub(crate) struct RowBytes(Arc<BTreeMap<String, u64>>);

impl From<BTreeMap<String, u64>> for RowBytes {
    fn from(columns: BTreeMap<String, u64>) -> Self {
        Self(Arc::new(columns))
    }
}

impl From<RowBytes> for BTreeMap<String, u64> {
    fn from(row_bytes: RowBytes) -> Self {
        Arc::unwrap_or_clone(row_bytes.0)
    }
}

impl RowBytes {
    /// Estimates the bytes by a file's footer. **Blocks.**
    pub(crate) fn of(footer: &ParquetMetaData, path: &Path) -> Self {
        let schema = footer.file_metadata().schema_descr();
        let file = File::open(path).ok();
        let mut columns: BTreeMap<String, u64> = BTreeMap::new();
        for leaf in 0..schema.num_columns() {
            let groups = footer.row_groups().iter();
            let groups = groups.filter_map(|group| {
                let bytes = usual_bytes(group.column(leaf), file.as_ref());
                bytes.checked_div(group.num_rows().cast_unsigned())
            });
            let first = file.as_ref().zip(footer.row_groups().first());
            let first = first.and_then(|(file, group)| bytes_in_first_page(file, group, leaf));
            if let Some(bytes) = groups.chain(first).max().filter(|bytes| *bytes > 0) {
                let column = schema.get_column_root(leaf).name().to_owned();
                let of_column = columns.entry(column).or_default();
                *of_column = of_column.saturating_add(bytes);
            }
        }
        let all = columns.values().copied().fold(0, u64::saturating_add);
        if all < ROW_BYTES_FREE {
            columns.clear();
        }
        Self(Arc::new(columns))
    }

    /// Returns the usual bytes of a row in some of the columns.
    pub(crate) fn in_columns(&self, columns: &Schema) -> usize {
        if self.0.is_empty() {
            return 0;
        }
        let names = columns.fields().iter().map(|field| field.name());
        let bytes = names.filter_map(|name| self.0.get(name).copied());
        usize::try_from(bytes.fold(0, u64::saturating_add)).unwrap_or(usize::MAX)
    }
}

/// Returns the bytes of all values of a column in a row group, if it is of texts or lists.
fn usual_bytes(column: &ColumnChunkMetaData, file: Option<&File>) -> u64 {
    let is_list = column.column_descr().max_rep_level() > 0;
    let values = column.num_values().cast_unsigned();
    let of_values = match column.column_type() {
        Type::BYTE_ARRAY => text_bytes(column, values, file),
        _ if is_list => value_bytes_min(column).saturating_mul(values),
        _ => 0,
    };
    let of_lists = if is_list {
        LIST_VALUE_BYTES.saturating_mul(values)
    } else {
        0
    };
    of_values.saturating_add(of_lists)
}

/// Returns the usual bytes of a row in the first page of a row group, if its texts begin with those
/// before them: Arrow's C++ writer states the bytes of their ends alone.
fn bytes_in_first_page(file: &File, group: &RowGroupMetaData, leaf: usize) -> Option<u64> {
    let column = group.column(leaf);
    let mut encodings = column.encodings();
    let rows = group.num_rows();
    let is_shortened = encodings.any(|encoding| encoding == Encoding::DELTA_BYTE_ARRAY);
    is_shortened.then(|| batch_bytes::usual_bytes(file, &Chunk { column, rows }))?
}

/// Returns the bytes of all texts: as the writer states them, or else those of the pages, or of as
/// many usual texts of the dictionary.
fn text_bytes(column: &ColumnChunkMetaData, values: u64, file: Option<&File>) -> u64 {
    if let Some(bytes) = column.unencoded_byte_array_data_bytes() {
        return bytes.try_into().unwrap_or_default();
    }
    let dictionary = column.dictionary_page_offset().and_then(|at| {
        let mut header = [0; DICTIONARY_HEADER_BYTES];
        let read = file?.read_at(&mut header, at.try_into().ok()?).ok()?;
        usual_bytes_in_dictionary(&header[..read])
    });
    let of_dictionary = dictionary.unwrap_or_default().saturating_mul(values);
    let of_pages: u64 = column.uncompressed_size().try_into().unwrap_or_default();
    of_pages.max(of_dictionary)
}
