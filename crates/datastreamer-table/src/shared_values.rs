//! Values that rows share: those of dictionaries, runs and list views. Whatever writes or casts them
//! makes as many as there are rows, so a batch is cut by what its values take then.

use arrow::{
    array::{Array, ArrayRef, AsArray, ByteView, OffsetSizeTrait, RunArray, UInt64Array},
    compute::take_record_batch,
    datatypes::{DataType, Int16Type, Int32Type, Int64Type, RunEndIndexType},
    record_batch::RecordBatch,
};

use crate::{TableError, nested::find_type};

/// 128 MiB of values are written or cast at a time.
const PIECE_BYTES_MAX: usize = 128 << 20;
/// 1 GiB of values in a row: an array of texts or lists holds little more.
const ROW_BYTES_MAX: usize = 1 << 30;
/// A value in a list takes an offset too, also a null.
const LIST_VALUE_BYTES: usize = 8;

/// Cuts a batch so that the values of its rows take at most 128 MiB once each row has its own. A batch
/// whose rows share nothing stays as it is. `first_row` is the batch's place in its table, for errors.
///
/// # Errors
/// A row takes more than 1 GiB alone.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use arrow::{array::{Array, DictionaryArray, Int8Array, StringArray}, record_batch::RecordBatch};
/// use datastreamer_table::shared_values;
///
/// let long = StringArray::from(vec!["x".repeat(1 << 20)]);
/// let shared = DictionaryArray::new(Int8Array::from(vec![0; 200]), Arc::new(long));
/// let batch = RecordBatch::try_from_iter([("text", Arc::new(shared) as _)])?;
/// let pieces = shared_values::pieces(&batch, 0)?;
/// assert_eq!(pieces.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [128, 72]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pieces(batch: &RecordBatch, first_row: u64) -> Result<Vec<RecordBatch>, TableError> {
    let columns = batch.columns().iter();
    let shared: Vec<_> = columns
        .filter(|column| shares(column.data_type()))
        .collect();
    let bytes = |columns: &mut dyn Iterator<Item = ArrayRef>, most: usize| {
        let mut counted = Counted { bytes: 0, most };
        columns.for_each(|column| counted.add(column.as_ref()));
        counted.bytes
    };
    let mut all = shared.iter().map(|column| ArrayRef::clone(column));
    if bytes(&mut all, PIECE_BYTES_MAX) <= PIECE_BYTES_MAX {
        return Ok(vec![batch.clone()]);
    }
    let mut pieces = Vec::new();
    let (mut from, mut of_piece) = (0, 0_usize);
    for row in 0..batch.num_rows() {
        let of_row = bytes(
            &mut shared.iter().map(|column| column.slice(row, 1)),
            ROW_BYTES_MAX,
        );
        if of_row > ROW_BYTES_MAX {
            let row = first_row + row as u64 + 1;
            return Err(TableError::Schema(format!(
                "row {row} takes more than 1 GiB"
            )));
        }
        if of_piece.saturating_add(of_row) > PIECE_BYTES_MAX && from < row {
            pieces.push(piece(batch, from, row)?);
            (from, of_piece) = (row, 0);
        }
        of_piece = of_piece.saturating_add(of_row);
    }
    pieces.push(piece(batch, from, batch.num_rows())?);
    Ok(pieces)
}

/// Copies rows with the elements of their lists alone: those of a slice are all cast with it.
fn piece(batch: &RecordBatch, from: usize, to: usize) -> Result<RecordBatch, TableError> {
    let rows = UInt64Array::from_iter_values(from as u64..to as u64);
    take_record_batch(batch, &rows).map_err(|error| TableError::Schema(error.to_string()))
}

fn shares(data_type: &DataType) -> bool {
    use DataType as T;
    let is = |data_type: &T| {
        matches!(
            data_type,
            T::Dictionary(..) | T::RunEndEncoded(..) | T::ListView(_) | T::LargeListView(_)
        )
    };
    find_type(data_type, &is).is_some()
}

/// Counts the bytes of values, up to a little more than the most that matters: list views in each
/// other may stand for any number.
struct Counted {
    bytes: usize,
    most: usize,
}

impl Counted {
    fn is_full(&self) -> bool {
        self.bytes > self.most
    }

    /// Adds all values of an array.
    fn add(&mut self, values: &dyn Array) {
        use DataType as T;
        match values.data_type() {
            T::Utf8 => self.add_bytes(between(values.as_string::<i32>().value_offsets())),
            T::LargeUtf8 => self.add_bytes(between(values.as_string::<i64>().value_offsets())),
            T::Binary => self.add_bytes(between(values.as_binary::<i32>().value_offsets())),
            T::LargeBinary => self.add_bytes(between(values.as_binary::<i64>().value_offsets())),
            T::Struct(_) => {
                let members = values.as_struct().columns().iter();
                members.for_each(|member| self.add(member.as_ref()));
            }
            T::List(_) => {
                let list = values.as_list::<i32>();
                self.add_elements(list.values(), list.value_offsets());
            }
            T::LargeList(_) => {
                let list = values.as_list::<i64>();
                self.add_elements(list.values(), list.value_offsets());
            }
            T::Map(..) => {
                let map = values.as_map();
                self.add_elements(map.entries(), map.value_offsets());
            }
            T::FixedSizeList(_, length) => {
                let (list, length) = (values.as_fixed_size_list(), usize_of(*length));
                let from = usize_of(list.value_offset(0));
                self.add_slice(list.values().as_ref(), from, length * list.len());
            }
            T::ListView(_) => {
                let list = values.as_list_view::<i32>();
                self.add_views(list.values(), list.value_offsets(), list.value_sizes());
            }
            T::LargeListView(_) => {
                let list = values.as_list_view::<i64>();
                self.add_views(list.values(), list.value_offsets(), list.value_sizes());
            }
            T::Utf8View => self.add_texts(values.as_string_view().views()),
            T::BinaryView => self.add_texts(values.as_binary_view().views()),
            T::Dictionary(..) => {
                let dictionary = values.as_any_dictionary();
                if !dictionary.values().is_empty() {
                    self.add_places(dictionary.values(), dictionary.normalized_keys());
                }
            }
            T::RunEndEncoded(ends, _) => match ends.data_type() {
                T::Int16 => self.add_runs(values.as_run::<Int16Type>()),
                T::Int32 => self.add_runs(values.as_run::<Int32Type>()),
                _ => self.add_runs(values.as_run::<Int64Type>()),
            },
            T::FixedSizeBinary(bytes) => self.add_bytes(usize_of(*bytes) * values.len()),
            other => self.add_bytes(other.primitive_width().unwrap_or(1) * values.len()),
        }
    }

    fn add_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn add_texts(&mut self, views: &[u128]) {
        let lengths = views
            .iter()
            .map(|view| ByteView::from(*view).length as usize);
        self.add_bytes(lengths.sum());
    }

    fn add_elements<O: OffsetSizeTrait>(&mut self, elements: &dyn Array, offsets: &[O]) {
        let from = offsets.first().map_or(0, |offset| offset.as_usize());
        self.add_slice(elements, from, between(offsets));
    }

    fn add_views<O: OffsetSizeTrait>(&mut self, elements: &dyn Array, from: &[O], sizes: &[O]) {
        for (from, size) in from.iter().zip(sizes) {
            if self.is_full() {
                return;
            }
            self.add_slice(elements, from.as_usize(), size.as_usize());
        }
    }

    fn add_slice(&mut self, elements: &dyn Array, from: usize, length: usize) {
        self.add_bytes(length.saturating_mul(LIST_VALUE_BYTES));
        if length > 0 && !self.is_full() {
            self.add(elements.slice(from, length).as_ref());
        }
    }

    fn add_runs<E: RunEndIndexType>(&mut self, runs: &RunArray<E>) {
        let places = (0..runs.len()).map(|row| runs.get_physical_index(row));
        self.add_places(runs.values(), places.collect());
    }

    /// Adds the values at some places, of which most are the same.
    fn add_places(&mut self, values: &dyn Array, places: Vec<usize>) {
        use DataType as T;
        let lengths = |length: &dyn Fn(usize) -> usize| places.iter().map(|at| length(*at)).sum();
        let bytes = match values.data_type() {
            T::Utf8 => lengths(&|at| values.as_string::<i32>().value_length(at) as usize),
            T::LargeUtf8 => lengths(&|at| values.as_string::<i64>().value_length(at) as usize),
            T::Binary => lengths(&|at| values.as_binary::<i32>().value_length(at) as usize),
            T::LargeBinary => lengths(&|at| values.as_binary::<i64>().value_length(at) as usize),
            other => match other.primitive_width() {
                Some(width) => width * places.len(),
                None => return self.add_each(values, &places),
            },
        };
        self.add_bytes(bytes);
    }

    fn add_each(&mut self, values: &dyn Array, places: &[usize]) {
        for at in places {
            if self.is_full() {
                return;
            }
            self.add(values.slice(*at, 1).as_ref());
        }
    }
}

fn between<O: OffsetSizeTrait>(offsets: &[O]) -> usize {
    let (first, last) = (offsets.first(), offsets.last());
    first
        .zip(last)
        .map_or(0, |(first, last)| last.as_usize() - first.as_usize())
}

fn usize_of(length: i32) -> usize {
    usize::try_from(length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            DictionaryArray, Int8Array, Int32Array, ListArray, ListViewArray, NullArray,
            StringArray,
        },
        buffer::OffsetBuffer,
        datatypes::Field,
    };

    use super::*;

    /// Two texts of 100,000 bytes in a list.
    fn list() -> ArrayRef {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a".repeat(100_000); 2]));
        let field = Arc::new(Field::new_list_field(DataType::Utf8, true));
        let offsets = OffsetBuffer::new(vec![0, 2].into());
        Arc::new(ListArray::new(field, offsets, texts, None))
    }

    fn rows_of_pieces(column: ArrayRef) -> Vec<usize> {
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let pieces = pieces(&batch, 0).unwrap();
        pieces.iter().map(RecordBatch::num_rows).collect()
    }

    #[test]
    fn rows_that_share_long_values_come_in_pieces() {
        // 200,016 bytes a row: 671 rows in 128 MiB.
        let keys = Int8Array::from(vec![0; 1000]);
        let dictionary = DictionaryArray::new(keys, list());
        assert_eq!(rows_of_pieces(Arc::new(dictionary)), [671, 329]);
        let ends = Int32Array::from(vec![1000]);
        let runs = RunArray::try_new(&ends, &list()).unwrap();
        assert_eq!(rows_of_pieces(Arc::new(runs.clone())), [671, 329]);
        assert_eq!(rows_of_pieces(Arc::new(runs.slice(900, 100))), [100]);
        let (offsets, sizes) = (vec![0; 3000], vec![1_000_000; 3000]);
        let field = Arc::new(Field::new_list_field(DataType::Null, true));
        let nulls = Arc::new(NullArray::new(1_000_000));
        let views = ListViewArray::new(field, offsets.into(), sizes.into(), nulls, None);
        // 9 MB a row.
        assert_eq!(rows_of_pieces(Arc::new(views))[..2], [14, 14]);
    }

    #[test]
    fn a_piece_has_the_elements_of_its_own_lists_alone() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a".repeat(100_000)]));
        let keys = Int8Array::from(vec![0; 6000]);
        let elements: ArrayRef = Arc::new(DictionaryArray::new(keys, texts));
        let field = Arc::new(Field::new_list_field(elements.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths(vec![2; 3000]);
        let lists = ListArray::new(field, offsets, elements, None);
        let batch = RecordBatch::try_from_iter([("x", Arc::new(lists) as ArrayRef)]).unwrap();
        let pieces = pieces(&batch, 0).unwrap();
        let elements = pieces
            .iter()
            .map(|piece| piece.column(0).as_list::<i32>().values().len());
        assert_eq!(elements.collect::<Vec<_>>(), [1342, 1342, 1342, 1342, 632]);
    }

    #[test]
    fn rows_that_share_nothing_stay_together() {
        let texts = StringArray::from(vec!["a".repeat(1 << 20); 200]);
        assert_eq!(rows_of_pieces(Arc::new(texts)), [200]);
        let keys = Int8Array::from(vec![None, None]);
        let empty = DictionaryArray::new(keys, Arc::new(StringArray::from(vec![""; 0])));
        assert_eq!(rows_of_pieces(Arc::new(empty)), [2]);
    }

    #[test]
    fn list_views_in_each_other_are_counted_to_the_limit() {
        let mut values: ArrayRef = Arc::new(NullArray::new(1000));
        for _ in 0..8 {
            let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            let (offsets, sizes) = (vec![0; 1000], vec![1000; 1000]);
            let views = ListViewArray::new(field, offsets.into(), sizes.into(), values, None);
            values = Arc::new(views);
        }
        let batch = RecordBatch::try_from_iter([("x", values)]).unwrap();
        let error = pieces(&batch, 7).unwrap_err();
        assert!(
            error.to_string().contains("row 8 takes more than 1 GiB"),
            "{error}"
        );
    }
}
