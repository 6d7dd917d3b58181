//! The footer of a Parquet file. It is checked before and after it is decoded: each list has the
//! elements that it states, each column lies inside the file, the file has the rows of its row
//! groups. What is wrong in a way that other readers cope with is put right, statistics that cannot
//! be compared are dropped, and the rest is refused.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
};

use arrow::datatypes::{ArrowPrimitiveType, Float16Type};
use datafusion::parquet::{
    basic::{ColumnOrder, ConvertedType, LogicalType, SortOrder, Type},
    data_type::{ByteArray, FixedLenByteArray, Int96},
    errors::ParquetError,
    file::{
        metadata::{
            ColumnChunkMetaData, FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataReader,
            RowGroupMetaData,
        },
        statistics::Statistics,
    },
};

use super::{
    arrow_types::{self, Choice},
    pages::{self, Chunk},
    thrift::{FieldHead, Thrift},
};

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// The length of the footer, and the magic behind it.
const TAIL_BYTES: u64 = 8;
const MAGIC: &[u8] = b"PAR1";
const MAGIC_ENCRYPTED: &[u8] = b"PARE";
/// The largest `ConvertedType` of the format. Some writers have their own behind it.
const CONVERTED_TYPE_MAX: i64 = 21;
/// The logical types that the decoder knows (`parquet.thrift`, `LogicalType`); 9 is reserved.
const LOGICAL_TYPES: [i64; 17] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18];
const LOGICAL_INTEGER: i64 = 10;
const INTEGER_BITS: [u8; 4] = [8, 16, 32, 64];
/// Some writers forget up to a page header when they state the size of a column; Arrow's C++ reader
/// allows 100 bytes (`kMaxDictHeaderSize`, PARQUET-816).
const MISSING_BYTES_MAX: u64 = 100;
/// A page header has no statistics to speak of, or some texts.
const PAGE_HEADER_BYTES_MAX: usize = 64 << 10;

/// Reads and checks a file's footer, and chooses types that hold the values. **Blocks.**
///
/// # Errors
/// The text of why the file cannot be read.
pub(crate) fn read(path: &Path, expansion_max: u64) -> Result<ParquetMetaData, String> {
    let encoded = Encoded::read(path)?;
    let mut metadata = encoded.decode(&BTreeSet::new())?;
    let mut choice = arrow_types::choose(&encoded.file, &metadata, expansion_max)?;
    if let Choice::Bytes(columns) = choice {
        metadata = encoded.decode(&columns)?;
        choice = arrow_types::choose(&encoded.file, &metadata, expansion_max)?;
    }
    Ok(match choice {
        Choice::Entries(entries) => entries
            .into_iter()
            .fold(metadata, |metadata, entry| with_entry(&metadata, entry)),
        _ => metadata,
    })
}

/// Reads and checks a file's footer, and no more than that. **Blocks.**
///
/// # Errors
/// The text of why the file cannot be read.
pub(super) fn read_as_stored(path: &Path) -> Result<ParquetMetaData, String> {
    Encoded::read(path)?.decode(&BTreeSet::new())
}

/// A footer as the file has it.
struct Encoded {
    file: File,
    bytes: Vec<u8>,
    /// The position of the first byte in the file.
    at: u64,
}

impl Encoded {
    fn read(path: &Path) -> Result<Self, String> {
        let text = |error: io::Error| error.to_string();
        let file = File::open(path).map_err(text)?;
        let file_bytes = file.metadata().map_err(text)?.len();
        let tail_at = file_bytes
            .checked_sub(TAIL_BYTES)
            .ok_or("is not Parquet: it is too short")?;
        let mut tail = [0; TAIL_BYTES as usize];
        read_at(&file, tail_at, &mut tail).map_err(text)?;
        let (length, magic) = tail.split_at(4);
        match magic {
            MAGIC => {}
            MAGIC_ENCRYPTED => return Err("is encrypted Parquet, which is not read".into()),
            _ => return Err("is not Parquet, or not complete: it has no footer (PAR1)".into()),
        }
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
        let footer_at = tail_at.checked_sub(length.into());
        let footer_at = footer_at.ok_or_else(|| {
            format!("is damaged Parquet: a file of {file_bytes} bytes states a footer of {length}")
        })?;
        let mut footer = vec![0; length as usize];
        read_at(&file, footer_at, &mut footer).map_err(text)?;
        Ok(Self {
            file,
            bytes: footer,
            at: footer_at,
        })
    }

    /// Decodes the footer. These columns have their stored bytes, whatever type they state.
    fn decode(&self, stored: &BTreeSet<usize>) -> Result<ParquetMetaData, String> {
        let checked = checked(self.bytes.clone(), stored);
        let checked = checked.map_err(|text| format!("is damaged Parquet: its footer: {text}"))?;
        if let Some(text) = checked.refused {
            return Err(text);
        }
        let metadata = ParquetMetaDataReader::decode_metadata(&checked.footer);
        let metadata = metadata.map_err(|error| of_decoder(&error))?;
        sound(metadata, self.at, &|range: Range<u64>| {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
            read_at(&self.file, range.start, &mut bytes).ok()?;
            Some(bytes)
        })
    }
}

/// Puts an entry into a footer, in the place of those with its key.
fn with_entry(metadata: &ParquetMetaData, entry: KeyValue) -> ParquetMetaData {
    let file = metadata.file_metadata();
    let mut entries = file.key_value_metadata().cloned().unwrap_or_default();
    entries.retain(|other| other.key != entry.key);
    entries.push(entry);
    let rows = file.num_rows();
    ParquetMetaData::new(
        with(file, rows, Some(entries)),
        metadata.row_groups().to_vec(),
    )
}

fn with(file: &FileMetaData, rows: i64, entries: Option<Vec<KeyValue>>) -> FileMetaData {
    FileMetaData::new(
        file.version(),
        rows,
        file.created_by().map(Into::into),
        entries,
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    )
}

pub(super) fn read_at(mut file: &File, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(bytes)
}

/// A footer that may be decoded.
struct Checked {
    footer: Vec<u8>,
    /// A type that is not read, with the name of its column.
    refused: Option<String>,
}

/// Walks an encoded footer, whose decoder would reserve memory for as many elements as a list states.
/// Removes the converted types of some columns, and the types that the decoder does not know: the
/// column then has its physical type, as for other readers.
fn checked(mut footer: Vec<u8>, columns: &BTreeSet<usize>) -> Result<Checked, String> {
    let mut removals = Vec::new();
    let mut refused = None;
    let mut leaf = 0;
    Thrift::new(&footer).fields(|walk, field| match field.id {
        2 => walk.structs(field, |walk| {
            let element = SchemaElement::walk(walk, columns.contains(&leaf))?;
            removals.extend(element.removals);
            if let Some(bits) = element.odd_bits {
                let name = element.name;
                refused.get_or_insert(format!(
                    "column {name:?} has integers of {bits} bits, which are not read"
                ));
            }
            leaf += usize::from(!element.is_group);
            Ok(())
        }),
        _ => walk.skip(field),
    })?;
    for Removal { field, next } in removals.into_iter().rev() {
        if let Some((at, head)) = next {
            footer[at] = head;
        }
        footer.drain(field);
    }
    Ok(Checked { footer, refused })
}

/// Fields to remove, and the new head of the field behind them, which counts from the one before.
struct Removal {
    field: Range<usize>,
    next: Option<(usize, u8)>,
}

/// A column, or a group of them, in the encoded schema.
#[derive(Default)]
struct SchemaElement {
    name: String,
    is_group: bool,
    removals: Vec<Removal>,
    /// The size of integers, if it is none that there are.
    odd_bits: Option<u8>,
}

impl SchemaElement {
    /// `is_stored`: the column has its stored bytes, whatever type it states.
    fn walk(walk: &mut Thrift<'_>, is_stored: bool) -> Result<Self, String> {
        let mut element = Self::default();
        let (mut id_before, mut is_removed_before) = (0, false);
        walk.fields(|walk, field| {
            let FieldHead { id, head, .. } = field.clone();
            let is_removed = match id {
                4 => {
                    element.name = walk.text(field)?;
                    false
                }
                5 => {
                    element.is_group = walk.integer(field)? > 0;
                    false
                }
                6 => {
                    let is_unknown = walk.integer(field)? > CONVERTED_TYPE_MAX;
                    is_unknown || is_stored && !element.is_group
                }
                10 => element.walk_logical_type(walk, field)?,
                _ => {
                    walk.skip(field)?;
                    false
                }
            };
            match element.removals.last_mut().filter(|_| is_removed_before) {
                Some(removal) if is_removed => removal.field.end = walk.at(),
                Some(removal) if head.len() == 1 => {
                    let kind = walk.byte_at(head.start) & 0x0f;
                    let more = u8::try_from(id - id_before).ok().filter(|more| *more < 16);
                    let more = more.ok_or("the fields of its schema are too far apart")?;
                    removal.next = Some((head.start, more << 4 | kind));
                }
                Some(_) => {}
                None if is_removed => element.removals.push(Removal {
                    field: head.start..walk.at(),
                    next: None,
                }),
                None => {}
            }
            if !is_removed {
                id_before = id;
            }
            is_removed_before = is_removed;
            Ok(())
        })?;
        Ok(element)
    }

    /// Returns whether the decoder does not know the logical type.
    fn walk_logical_type(
        &mut self,
        walk: &mut Thrift<'_>,
        field: &FieldHead,
    ) -> Result<bool, String> {
        let mut is_unknown = false;
        walk.fields_of(field, |walk, kind| {
            is_unknown = !LOGICAL_TYPES.contains(&kind.id);
            if kind.id != LOGICAL_INTEGER {
                return walk.skip(kind);
            }
            walk.fields_of(kind, |walk, field| match field.id {
                1 => {
                    let bits = walk.byte_of(field)?;
                    self.odd_bits = Some(bits).filter(|bits| !INTEGER_BITS.contains(bits));
                    Ok(())
                }
                _ => walk.skip(field),
            })
        })?;
        Ok(is_unknown)
    }
}

/// Names the column first, as far as the decoder's text has it, in words of Parquet's.
fn of_decoder(error: &ParquetError) -> String {
    let text = error.to_string();
    let named = text.split_once("field '").and_then(|(_, rest)| {
        let (name, _) = rest.split_once('\'')?;
        Some(name)
    });
    let Some(name) = named else {
        return text;
    };
    let text = text.trim_start_matches("Parquet error: ");
    let text = text.trim_end_matches(&format!(" for field '{name}'"));
    let word = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        text[..end.unwrap_or(text.len())].to_lowercase()
    };
    let annotated = || {
        let (what, stored) = text
            .strip_prefix("Cannot annotate ")?
            .rsplit_once(" from ")?;
        let what = word(what);
        Some(format!("is marked as {what}, which {stored} cannot be"))
    };
    let twofold = || {
        let both = text.strip_prefix("Logical type ")?;
        let (what, other) = both.rsplit_once(" is incompatible with converted type ")?;
        Some(format!("is marked as {} and as {other}", word(what)))
    };
    match annotated().or_else(twofold) {
        Some(text) => format!("column {name:?} {text}"),
        None => format!("column {name:?}: {text}"),
    }
}

/// Checks a footer that was decoded, and puts right what can be. The columns end before `end`.
fn sound(
    metadata: ParquetMetaData,
    end: u64,
    read: &impl Fn(Range<u64>) -> Option<Vec<u8>>,
) -> Result<ParquetMetaData, String> {
    let mut builder = metadata.into_builder();
    let mut groups = builder.take_row_groups();
    let metadata = builder.build();
    let file = metadata.file_metadata();
    let mut rows = 0_i64;
    let starts = starts(&groups, end);
    for (index, group) in groups.iter_mut().enumerate() {
        let wrong = |text: String| format!("is damaged Parquet: row group {index}: {text}");
        if group.num_rows() < 0 {
            return Err(wrong(format!("it states {} rows", group.num_rows())));
        }
        let sum = rows.checked_add(group.num_rows());
        rows = sum.ok_or_else(|| wrong("it states too many rows".into()))?;
        sound_group(group, file, &starts, end, read).map_err(wrong)?;
    }
    // The row groups have the rows, whatever the file states.
    let file = with(file, rows, file.key_value_metadata().cloned());
    Ok(ParquetMetaData::new(file, groups))
}

fn sound_group(
    group: &mut RowGroupMetaData,
    file: &FileMetaData,
    starts: &[u64],
    end: u64,
    read: &impl Fn(Range<u64>) -> Option<Vec<u8>>,
) -> Result<(), String> {
    let rows = group.num_rows();
    let columns = file.schema_descr().num_columns();
    if group.num_columns() != columns {
        let text = format!(
            "it has {} columns, and the table {columns}",
            group.num_columns()
        );
        return Err(text);
    }
    let is_flat = |column: &&ColumnChunkMetaData| column.column_descr().max_rep_level() == 0;
    let mut values = group
        .columns()
        .iter()
        .filter(is_flat)
        .map(|column| column.num_values());
    if values
        .next()
        .is_some_and(|first| first != rows && values.all(|values| values != rows))
    {
        return Err(format!(
            "it states {rows} rows, and its columns have others"
        ));
    }
    for (index, column) in group.columns_mut().iter_mut().enumerate() {
        let order = file.column_orders().and_then(|orders| orders.get(index));
        let changed = sound_column(column, order.copied(), rows, end, |start, stated_end| {
            let next = starts.partition_point(|other| *other <= start);
            let next = starts.get(next).copied().unwrap_or(end);
            true_end(column, rows, start..stated_end, next, read)
        });
        let path = || column.column_path().string();
        if let Some(changed) = changed.map_err(|text| format!("column {:?}: {text}", path()))? {
            *column = changed;
        }
    }
    Ok(())
}

/// Returns where columns, indexes and Bloom filters begin, and where all of them end.
fn starts(groups: &[RowGroupMetaData], end: u64) -> Vec<u64> {
    let columns = groups.iter().flat_map(RowGroupMetaData::columns);
    let starts = columns.flat_map(|column| {
        let of_pages = [column.column_index_offset(), column.offset_index_offset()];
        let others = of_pages.into_iter().chain([column.bloom_filter_offset()]);
        others.flatten().chain([start(column)])
    });
    let mut starts: Vec<_> = starts
        .filter_map(|start| u64::try_from(start).ok())
        .collect();
    starts.push(end);
    starts.sort_unstable();
    starts
}

/// Returns where the first page of a column is. A dictionary behind the values is none.
fn start(column: &ColumnChunkMetaData) -> i64 {
    let values = column.data_page_offset();
    let dictionary = column.dictionary_page_offset();
    let before = |dictionary: &i64| *dictionary > 0 && *dictionary < values;
    dictionary.filter(before).unwrap_or(values)
}

/// Returns a column of a row group as it should be; `None` if it is.
fn sound_column(
    column: &ColumnChunkMetaData,
    order: Option<ColumnOrder>,
    rows: i64,
    end: u64,
    true_end: impl Fn(u64, u64) -> Option<u64>,
) -> Result<Option<ColumnChunkMetaData>, String> {
    if column.file_path().is_some_and(|path| !path.is_empty()) {
        return Err("its values are in another file".into());
    }
    let mut changed = column.clone().into_builder();
    let mut is_changed = false;
    let start = start(column);
    if column
        .dictionary_page_offset()
        .is_some_and(|dictionary| dictionary != start)
    {
        changed = changed.set_dictionary_page_offset(None);
        is_changed = true;
    }
    let range = u64::try_from(start)
        .ok()
        .zip(u64::try_from(column.compressed_size()).ok());
    let stated = range.and_then(|(start, bytes)| Some((start, start.checked_add(bytes)?)));
    match stated.filter(|(_, stated_end)| *stated_end <= end) {
        Some((start, stated_end)) => {
            if let Some(true_end) = true_end(start, stated_end) {
                changed = changed.set_total_compressed_size((true_end - start) as i64);
                is_changed = true;
            }
        }
        None if rows == 0 => {
            changed = changed.set_data_page_offset(0).set_total_compressed_size(0);
            changed = changed.set_dictionary_page_offset(None);
            is_changed = true;
        }
        None => {
            let bytes = column.compressed_size();
            let text = format!("{bytes} bytes from byte {start} on are not inside the file");
            return Err(text);
        }
    }
    if let Some(statistics) = column.statistics()
        && !are_comparable(statistics, column, order)
    {
        let null_count = statistics.null_count_opt();
        changed = changed.set_statistics(nulls_alone(column.column_type(), null_count));
        is_changed = true;
    }
    if has_bloom_filter_outside(column, end) {
        changed = changed
            .set_bloom_filter_offset(None)
            .set_bloom_filter_length(None);
        is_changed = true;
    }
    match is_changed {
        true => changed.build().map(Some).map_err(|error| error.to_string()),
        false => Ok(None),
    }
}

/// Returns where the pages of a column end, if that is not where it states: there is a gap behind
/// it, and its last page reaches into it.
fn true_end(
    column: &ColumnChunkMetaData,
    rows: i64,
    stated: Range<u64>,
    next: u64,
    read: &impl Fn(Range<u64>) -> Option<Vec<u8>>,
) -> Option<u64> {
    let gap = next.checked_sub(stated.end)?;
    if gap == 0 || gap > MISSING_BYTES_MAX {
        return None;
    }
    let header = |offset: u64| {
        let from = stated
            .start
            .checked_add(offset)
            .filter(|from| *from < next)?;
        read(from..next.min(from + PAGE_HEADER_BYTES_MAX as u64))
    };
    let bytes = pages::true_bytes(&Chunk { column, rows }, header)?;
    let true_end = stated.start + bytes;
    (true_end > stated.end && true_end <= next).then_some(true_end)
}

/// Returns whether the least and the greatest value can be compared as the values are
/// (`parquet.thrift`, `ColumnOrder` and `Statistics`).
fn are_comparable(
    statistics: &Statistics,
    column: &ColumnChunkMetaData,
    order: Option<ColumnOrder>,
) -> bool {
    let of = column.column_descr();
    let physical = of.physical_type();
    let is_bytes = matches!(physical, Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY);
    let is_signed = of.sort_order() == SortOrder::SIGNED && !is_bytes;
    let is_defined = matches!(order, Some(ColumnOrder::TYPE_DEFINED_ORDER(_)))
        && !statistics.is_min_max_deprecated();
    let is_interval = of.converted_type() == ConvertedType::INTERVAL;
    let is_decimal = of.converted_type() == ConvertedType::DECIMAL
        || matches!(of.logical_type_ref(), Some(LogicalType::Decimal { .. }));
    let has_value = |bytes: Option<&[u8]>| {
        // A decimal of 38 digits has 16 bytes, and a longer one 32: the decoder counts on it.
        let bytes_max = if of.type_precision() > 38 { 32 } else { 16 };
        bytes.is_none_or(|bytes| !is_decimal || !is_bytes || (1..=bytes_max).contains(&bytes.len()))
    };
    physical != Type::INT96
        && !is_interval
        && (is_signed || is_defined)
        && has_value(statistics.min_bytes_opt())
        && has_value(statistics.max_bytes_opt())
        && are_ordered(statistics, column)
}

/// Returns whether the least value is not greater than the greatest, and neither is NaN, which some
/// writers put there (`parquet.thrift`, `Statistics`: such a pair is to be ignored).
fn are_ordered(statistics: &Statistics, column: &ColumnChunkMetaData) -> bool {
    let is_unsigned = column.column_descr().sort_order() == SortOrder::UNSIGNED;
    let is_ordered = match statistics {
        Statistics::Boolean(of) => of.min_opt().zip(of.max_opt()).map(|(min, max)| min <= max),
        Statistics::Int32(of) if is_unsigned => of
            .min_opt()
            .zip(of.max_opt())
            .map(|(min, max)| min.cast_unsigned() <= max.cast_unsigned()),
        Statistics::Int32(of) => of.min_opt().zip(of.max_opt()).map(|(min, max)| min <= max),
        Statistics::Int64(of) if is_unsigned => of
            .min_opt()
            .zip(of.max_opt())
            .map(|(min, max)| min.cast_unsigned() <= max.cast_unsigned()),
        Statistics::Int64(of) => of.min_opt().zip(of.max_opt()).map(|(min, max)| min <= max),
        Statistics::Float(of) => of.min_opt().zip(of.max_opt()).map(|(min, max)| min <= max),
        Statistics::Double(of) => of.min_opt().zip(of.max_opt()).map(|(min, max)| min <= max),
        Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_) | Statistics::Int96(_) => {
            statistics
                .min_bytes_opt()
                .zip(statistics.max_bytes_opt())
                .map(|(min, max)| are_ordered_bytes(min, max, column))
        }
    };
    // Of one without the other.
    let is_nan = match statistics {
        Statistics::Float(of) => of
            .min_opt()
            .or(of.max_opt())
            .is_some_and(|one| one.is_nan()),
        Statistics::Double(of) => of
            .min_opt()
            .or(of.max_opt())
            .is_some_and(|one| one.is_nan()),
        _ => false,
    };
    is_ordered.unwrap_or(true) && !is_nan
}

fn are_ordered_bytes(min: &[u8], max: &[u8], column: &ColumnChunkMetaData) -> bool {
    let of = column.column_descr();
    if matches!(of.logical_type_ref(), Some(LogicalType::Float16)) {
        let half = |bytes: &[u8]| Some(F16::from_le_bytes(bytes.try_into().ok()?));
        return half(min)
            .zip(half(max))
            .is_some_and(|(min, max)| min <= max);
    }
    match of.sort_order() {
        // Decimals: two's complement, the highest byte first, each as long as its writer likes.
        SortOrder::SIGNED => {
            let sign = |bytes: &[u8]| bytes.first().is_some_and(|byte| *byte >= 0x80);
            let extended = |bytes: &[u8]| {
                let sign_byte = if sign(bytes) { 0xff } else { 0 };
                let length = min.len().max(max.len());
                let mut extended = vec![sign_byte; length - bytes.len()];
                extended.extend_from_slice(bytes);
                extended
            };
            match (sign(min), sign(max)) {
                (true, false) => true,
                (false, true) => false,
                _ => extended(min) <= extended(max),
            }
        }
        _ => min <= max,
    }
}

fn nulls_alone(physical: Type, nulls: Option<u64>) -> Statistics {
    match physical {
        Type::BOOLEAN => Statistics::new::<bool>(None, None, None, nulls, false),
        Type::INT32 => Statistics::new::<i32>(None, None, None, nulls, false),
        Type::INT64 => Statistics::new::<i64>(None, None, None, nulls, false),
        Type::INT96 => Statistics::new::<Int96>(None, None, None, nulls, false),
        Type::FLOAT => Statistics::new::<f32>(None, None, None, nulls, false),
        Type::DOUBLE => Statistics::new::<f64>(None, None, None, nulls, false),
        Type::BYTE_ARRAY => Statistics::new::<ByteArray>(None, None, None, nulls, false),
        Type::FIXED_LEN_BYTE_ARRAY => {
            Statistics::new::<FixedLenByteArray>(None, None, None, nulls, false)
        }
    }
}

/// Returns whether a Bloom filter is not inside the file. It is only a shortcut. The indexes of pages
/// are not read.
fn has_bloom_filter_outside(column: &ColumnChunkMetaData, end: u64) -> bool {
    column.bloom_filter_offset().is_some_and(|offset| {
        let length = column.bloom_filter_length().unwrap_or_default();
        let range = u64::try_from(offset).ok().zip(u64::try_from(length).ok());
        let filter_end = range.and_then(|(offset, length)| offset.checked_add(length));
        filter_end.is_none_or(|filter_end| filter_end > end)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::parquet::schema::{parser::parse_message_type, types::SchemaDescriptor};

    use super::*;

    /// Whether the statistics of a column of this type are used.
    fn are_used(column: &str, statistics: Statistics) -> bool {
        let message = parse_message_type(&format!("message t {{ optional {column}; }}")).unwrap();
        let schema = SchemaDescriptor::new(Arc::new(message));
        let column = ColumnChunkMetaData::builder(schema.column(0));
        let column = column.build().unwrap();
        let order = ColumnOrder::TYPE_DEFINED_ORDER(column.column_descr().sort_order());
        are_comparable(&statistics, &column, Some(order))
    }

    #[test]
    fn statistics_with_nan_or_in_the_wrong_order_are_not_used() {
        let single = |min, max| Statistics::float(min, max, None, Some(0), false);
        assert!(are_used("FLOAT c", single(Some(1.0), Some(1.0))));
        assert!(!are_used("FLOAT c", single(Some(f32::NAN), Some(f32::NAN))));
        assert!(!are_used("FLOAT c", single(None, Some(f32::NAN))));
        assert!(!are_used("FLOAT c", single(Some(-f32::NAN), Some(9.5))));
        let double = |min, max| Statistics::double(Some(min), Some(max), None, Some(0), false);
        assert!(are_used("DOUBLE c", double(-0.0, 0.0)));
        assert!(!are_used("DOUBLE c", double(1.0, f64::NAN)));
        assert!(!are_used("DOUBLE c", double(2.0, 1.0)));
        let integer = |min, max| Statistics::int32(Some(min), Some(max), None, Some(0), false);
        assert!(are_used("INT32 c", integer(-1, 1)));
        assert!(!are_used("INT32 c", integer(1, -1)));
        assert!(are_used("INT32 c (INTEGER(32,false))", integer(1, -1)));
        assert!(!are_used("INT32 c (INTEGER(32,false))", integer(-1, 1)));
        let long = |min, max| Statistics::int64(Some(min), Some(max), None, Some(0), false);
        assert!(!are_used("INT64 c", long(20, 1)));
        let text = |min: &str, max: &str| {
            let (min, max) = (ByteArray::from(min), ByteArray::from(max));
            Statistics::byte_array(Some(min), Some(max), None, Some(0), false)
        };
        assert!(are_used("BINARY c (STRING)", text("a", "\u{e9}")));
        assert!(!are_used("BINARY c (STRING)", text("b", "a")));
        let bytes = |min: &[u8], max: &[u8]| {
            let value = |bytes: &[u8]| Some(ByteArray::from(bytes.to_vec()).into());
            Statistics::fixed_len_byte_array(value(min), value(max), None, Some(0), false)
        };
        let decimal = "FIXED_LEN_BYTE_ARRAY(2) c (DECIMAL(4,1))";
        assert!(are_used(decimal, bytes(&[0xff, 0xfe], &[0, 1])));
        assert!(!are_used(decimal, bytes(&[0, 1], &[0xff, 0xfe])));
        let half = "FIXED_LEN_BYTE_ARRAY(2) c (FLOAT16)";
        let bits = |number: f32| F16::from_f32(number).to_le_bytes();
        assert!(are_used(half, bytes(&bits(-2.0), &bits(1.0))));
        assert!(!are_used(half, bytes(&bits(1.0), &bits(-2.0))));
        assert!(!are_used(half, bytes(&bits(1.0), &bits(f32::NAN))));
    }
}
