//! UUIDs: 16 bytes in Arrow and Parquet, text in all other formats.
//!
//! [`UuidTexts`] converts rows for a format that has no type of UUIDs. Source: RFC 9562, 4.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeListArray, GenericListArray,
        MapArray, OffsetSizeTrait, RecordBatchReader, StringArray, StructArray,
    },
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};

use crate::{meta, nested::map_leaves, text};

/// The name of Arrow's extension type, in the metadata of a column.
const EXTENSION: &str = "arrow.uuid";
/// The key of that name (Arrow Columnar Format, Extension Types).
const EXTENSION_KEY: &str = "ARROW:extension:name";
const BYTES: i32 = 16;
/// The length of a UUID's text: 32 digits in groups of 8, 4, 4, 4 and 12, with dashes.
pub const TEXT_BYTES: usize = 36;
/// The bytes before which a dash stands.
const GROUPS: [usize; 4] = [4, 6, 8, 10];

/// Returns whether a column holds UUIDs.
pub fn is_uuid(field: &Field) -> bool {
    *field.data_type() == DataType::FixedSizeBinary(BYTES)
        && field.extension_type_name() == Some(EXTENSION)
}

/// Marks a column of 16 bytes as one of UUIDs.
#[must_use]
pub fn with_extension(field: Field) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(EXTENSION_KEY.into(), EXTENSION.into());
    field.with_metadata(metadata)
}

/// Marks those of the leaves of nested columns, in their order, that are UUIDs.
#[must_use]
pub fn with_extensions(columns: &Fields, are_uuids: impl IntoIterator<Item = bool>) -> Fields {
    let mut are_uuids = are_uuids.into_iter();
    let mut marked = |leaf: &FieldRef| {
        let is_16_bytes = *leaf.data_type() == DataType::FixedSizeBinary(BYTES);
        match are_uuids.next() == Some(true) && is_16_bytes && !is_uuid(leaf) {
            true => Arc::new(with_extension(Field::clone(leaf))),
            false => Arc::clone(leaf),
        }
    };
    let columns = columns.iter();
    columns
        .map(|field| map_leaves(field, &mut marked))
        .collect()
}

/// Parses a UUID: in groups with dashes or without them, in letters of any case.
pub fn parse(text: &str) -> Option<Vec<u8>> {
    let groups: Vec<_> = text.split('-').collect();
    let is_uuid = match groups.as_slice() {
        [digits] => digits.len() == 2 * BYTES as usize,
        groups => groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]),
    };
    text::bytes_of_hex(&groups.concat()).filter(|_| is_uuid)
}

/// Returns the columns of [`UuidTexts`].
pub fn schema_of_texts(schema: &Schema) -> Schema {
    let fields = schema.fields().iter();
    let texts = fields.map(|field| text_field(field).unwrap_or_else(|| Arc::clone(field)));
    Schema::new_with_metadata(texts.collect::<Fields>(), schema.metadata().clone())
}

/// Rows with the UUIDs of their columns, and those within nested ones, as texts.
pub struct UuidTexts<R> {
    rows: R,
    schema: SchemaRef,
}

impl<R: RecordBatchReader> UuidTexts<R> {
    /// Converts the rows of a reader; `Err` gives it back if it has no UUIDs.
    pub fn new(rows: R) -> Result<Self, R> {
        let schema = rows.schema();
        let texts = schema_of_texts(&schema);
        if texts.fields() == schema.fields() {
            return Err(rows);
        }
        Ok(Self {
            rows,
            schema: Arc::new(texts),
        })
    }
}

impl<R: RecordBatchReader> RecordBatchReader for UuidTexts<R> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl<R: RecordBatchReader> Iterator for UuidTexts<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.rows.next()?;
        let schema = self.rows.schema();
        Some(batch.and_then(|batch| {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| texts(column, field));
            RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?)
        }))
    }
}

/// Returns a column once its UUIDs are texts; `None`: it has none.
fn text_field(field: &Field) -> Option<FieldRef> {
    let data_type = match field.data_type() {
        _ if is_uuid(field) => DataType::Utf8,
        DataType::List(element) => DataType::List(text_field(element)?),
        DataType::LargeList(element) => DataType::LargeList(text_field(element)?),
        DataType::ListView(element) => DataType::List(text_field(element)?),
        DataType::LargeListView(element) => DataType::LargeList(text_field(element)?),
        DataType::FixedSizeList(element, length) => {
            DataType::FixedSizeList(text_field(element)?, *length)
        }
        DataType::Struct(fields) => DataType::Struct(text_fields(fields)?),
        DataType::Map(entries, sorted) => DataType::Map(text_field(entries)?, *sorted),
        _ => return None,
    };
    let mut metadata = field.metadata().clone();
    metadata.retain(|key, _| !key.starts_with("ARROW:extension:"));
    if data_type.is_list() {
        // Lists of texts need a width in VOTable.
        metadata.insert(meta::WIDTH.to_owned(), TEXT_BYTES.to_string());
    }
    let field = Field::new(field.name(), data_type, field.is_nullable());
    Some(Arc::new(field.with_metadata(metadata)))
}

/// Returns the fields of a struct once their UUIDs are texts; `None`: they have none.
fn text_fields(fields: &Fields) -> Option<Fields> {
    let texts: Vec<_> = fields.iter().map(|field| text_field(field)).collect();
    let any = texts.iter().any(Option::is_some);
    let fields = fields.iter().zip(texts);
    let fields = fields.map(|(field, texts)| texts.unwrap_or_else(|| Arc::clone(field)));
    any.then(|| fields.collect())
}

fn texts(column: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    let Some(converted) = text_field(field) else {
        return Ok(Arc::clone(column));
    };
    let as_lists = |lists: DataType| {
        let column = cast(column, &lists)?;
        texts(&column, &field.clone().with_data_type(lists))
    };
    Ok(match (field.data_type(), converted.data_type()) {
        (DataType::List(from), DataType::List(to)) => {
            Arc::new(list_texts::<i32>(column.as_list(), from, to)?)
        }
        (DataType::LargeList(from), DataType::LargeList(to)) => {
            Arc::new(list_texts::<i64>(column.as_list(), from, to)?)
        }
        (DataType::ListView(from), _) => as_lists(DataType::List(Arc::clone(from)))?,
        (DataType::LargeListView(from), _) => as_lists(DataType::LargeList(Arc::clone(from)))?,
        (DataType::FixedSizeList(from, length), DataType::FixedSizeList(to, _)) => {
            let lists = column.as_fixed_size_list();
            let values = texts(lists.values(), from)?;
            let nulls = lists.nulls().cloned();
            Arc::new(FixedSizeListArray::try_new(
                Arc::clone(to),
                *length,
                values,
                nulls,
            )?)
        }
        (DataType::Struct(from), DataType::Struct(to)) => {
            Arc::new(struct_texts(column.as_struct(), from, to)?)
        }
        (DataType::Map(from, sorted), DataType::Map(to, _)) => {
            let map = column.as_map();
            let (DataType::Struct(from), DataType::Struct(fields)) =
                (from.data_type(), to.data_type())
            else {
                return Ok(Arc::clone(column));
            };
            let entries = struct_texts(map.entries(), from, fields)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let map = MapArray::try_new(Arc::clone(to), offsets, entries, nulls, *sorted)?;
            Arc::new(map)
        }
        _ => Arc::new(uuid_texts(column.as_fixed_size_binary())),
    })
}

fn struct_texts(rows: &StructArray, from: &Fields, to: &Fields) -> Result<StructArray, ArrowError> {
    let columns = rows.columns().iter().zip(from);
    let columns = columns.map(|(column, field)| texts(column, field));
    let (columns, nulls) = (columns.collect::<Result<_, _>>()?, rows.nulls().cloned());
    StructArray::try_new_with_length(to.clone(), columns, nulls, rows.len())
}

fn list_texts<O: OffsetSizeTrait>(
    lists: &GenericListArray<O>,
    from: &Field,
    to: &FieldRef,
) -> Result<GenericListArray<O>, ArrowError> {
    GenericListArray::try_new(
        Arc::clone(to),
        lists.offsets().clone(),
        texts(lists.values(), from)?,
        lists.nulls().cloned(),
    )
}

fn uuid_texts(uuids: &FixedSizeBinaryArray) -> StringArray {
    let mut out = Vec::with_capacity(TEXT_BYTES);
    let texts = uuids.iter().map(|bytes| {
        out.clear();
        for (place, byte) in bytes?.iter().enumerate() {
            if GROUPS.contains(&place) {
                out.push(b'-');
            }
            text::hex(&mut out, *byte);
        }
        String::from_utf8(out.clone()).ok()
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use arrow::{array::ListArray, buffer::OffsetBuffer, record_batch::RecordBatchIterator};

    use super::*;

    const TEXT: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

    #[test]
    fn a_text_is_parsed_with_and_without_dashes_in_any_case() {
        let bytes = parse(TEXT).unwrap();
        assert_eq!(bytes.len(), 16);
        assert_eq!(parse(&TEXT.to_uppercase()), Some(bytes.clone()));
        assert_eq!(parse(&TEXT.replace('-', "")), Some(bytes));
        for wrong in [
            "",
            "a0eebc99",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc999c0b-4ef8-bb6d-6bb9bd380a11",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse(&TEXT.replace('e', "g")), None);
    }

    #[test]
    fn uuids_become_texts_in_columns_and_in_lists() {
        let uuid =
            |name: &str| with_extension(Field::new(name, DataType::FixedSizeBinary(16), true));
        let bytes = parse(TEXT).unwrap();
        let values = [Some(bytes.as_slice()), None];
        let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 16);
        let uuids: ArrayRef = Arc::new(uuids.unwrap());
        let element = Arc::new(uuid("item"));
        let offsets = OffsetBuffer::new(vec![0, 2, 2].into());
        let lists = ListArray::new(Arc::clone(&element), offsets, Arc::clone(&uuids), None);
        let plain = Field::new("plain", DataType::FixedSizeBinary(16), true);
        let others = [
            DataType::List(Arc::clone(&element)),
            DataType::LargeList(Arc::clone(&element)),
            DataType::ListView(Arc::clone(&element)),
            DataType::LargeListView(element),
        ];
        let mut fields = vec![uuid("u"), plain];
        let mut columns: Vec<ArrayRef> = vec![Arc::clone(&uuids), uuids];
        for data_type in others {
            columns.push(cast(&lists, &data_type).unwrap());
            fields.push(Field::new("l", data_type, true));
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let rows = RecordBatchIterator::new([Ok(batch)], schema);
        let mut rows = UuidTexts::new(rows).ok().unwrap();
        let batch = rows.next().unwrap().unwrap();
        let texts = StringArray::from(vec![Some(TEXT), None]);
        assert_eq!(batch.column(0).as_string::<i32>(), &texts);
        assert_eq!(*batch.column(1).data_type(), DataType::FixedSizeBinary(16));
        let large = DataType::LargeList(Arc::new(Field::new("item", DataType::Utf8, true)));
        for (place, lists) in batch.columns().iter().enumerate().skip(2) {
            let lists = cast(lists, &large).unwrap();
            assert_eq!(lists.as_list::<i64>().value(0).as_string::<i32>(), &texts);
            assert!(lists.as_list::<i64>().value(1).is_empty());
            assert_eq!(meta::width(rows.schema().field(place)), Some(TEXT_BYTES));
        }
        assert!(UuidTexts::new(RecordBatchIterator::new([Ok(batch)], rows.schema())).is_err());
    }
}
