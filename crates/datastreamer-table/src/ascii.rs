//! Texts in printable ASCII, for a format that has no place for others and whoever asks for the table
//! all the same.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, GenericStringArray,
        OffsetSizeTrait, RecordBatchReader,
    },
    buffer::OffsetBuffer,
    compute::cast,
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};

use crate::meta;

/// What stands in the place of a character.
const REPLACEMENT: u8 = b'?';
/// What the file says of it.
const NOTE: &str = "Characters of texts that are not printable ASCII are replaced by ?.";

/// Whether the log has the number of characters that were replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Once the rows have been read, or are no longer wanted.
    InTheLog,
    /// They are read once more.
    Not,
}

/// Rows whose texts, and those in lists, have `?` in the place of each character that is not printable
/// ASCII. Their metadata say so ([`meta::LEFT_OUT`]). Names of columns stay as they are.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, AsArray, StringArray};
/// use arrow::record_batch::{RecordBatch, RecordBatchIterator};
/// use datastreamer_table::ascii::{AsciiTexts, Counted};
///
/// let texts: ArrayRef = Arc::new(StringArray::from(vec!["Véga", "Deneb"]));
/// let batch = RecordBatch::try_from_iter([("name", texts)])?;
/// let rows = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
/// let mut rows = AsciiTexts::new(rows, Counted::Not);
/// let replaced = rows.next().ok_or("a batch")??;
/// let texts: Vec<_> = replaced.column(0).as_string::<i32>().iter().flatten().collect();
/// assert_eq!(texts, ["V?ga", "Deneb"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsciiTexts<R> {
    rows: R,
    schema: SchemaRef,
    counted: Counted,
    replaced: u64,
}

impl<R: RecordBatchReader> AsciiTexts<R> {
    /// Replaces characters in the rows of a reader.
    pub fn new(rows: R, counted: Counted) -> Self {
        let schema = rows.schema();
        let fields = schema.fields().iter();
        let fields: Vec<_> = fields
            .map(|field| text_field(field).unwrap_or_else(|| Arc::clone(field)))
            .collect();
        let mut metadata = schema.metadata().clone();
        let lines = metadata.remove(meta::LEFT_OUT);
        let lines = lines.into_iter().chain([NOTE.to_owned()]);
        let lines = lines.collect::<Vec<_>>().join("\n");
        metadata.insert(meta::LEFT_OUT.to_owned(), lines);
        Self {
            rows,
            schema: Arc::new(Schema::new_with_metadata(fields, metadata)),
            counted,
            replaced: 0,
        }
    }
}

impl<R: RecordBatchReader> RecordBatchReader for AsciiTexts<R> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl<R: RecordBatchReader> Iterator for AsciiTexts<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.rows.next()?;
        let (schema, replaced) = (&self.schema, &mut self.replaced);
        Some(batch.and_then(|batch| {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| ascii(column, field, replaced));
            RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)
        }))
    }
}

impl<R> Drop for AsciiTexts<R> {
    fn drop(&mut self) {
        if self.replaced > 0 && self.counted == Counted::InTheLog {
            tracing::warn!(
                characters = self.replaced,
                "texts have ? in the place of characters that are not printable ASCII"
            );
        }
    }
}

/// Returns a column as its texts are converted, without dictionaries; `None`: it has none.
fn text_field(field: &Field) -> Option<FieldRef> {
    let data_type = text_type(field.data_type())?;
    Some(Arc::new(field.clone().with_data_type(data_type)))
}

fn text_type(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Utf8 => DataType::Utf8,
        // Views may have more bytes than 32 bits count.
        DataType::LargeUtf8 | DataType::Utf8View => DataType::LargeUtf8,
        DataType::Dictionary(_, values) => text_type(values)?,
        DataType::RunEndEncoded(_, values) => text_type(values.data_type())?,
        DataType::List(element) => DataType::List(text_field(element)?),
        DataType::LargeList(element) => DataType::LargeList(text_field(element)?),
        DataType::FixedSizeList(element, length) => {
            DataType::FixedSizeList(text_field(element)?, *length)
        }
        _ => return None,
    })
}

/// Converts a column to the type of `field`, as [`text_field`] has made it.
fn ascii(column: &ArrayRef, field: &Field, replaced: &mut u64) -> Result<ArrayRef, ArrowError> {
    if text_type(field.data_type()).is_none() {
        return Ok(Arc::clone(column));
    }
    let column = match column.data_type() == field.data_type() {
        true => Arc::clone(column),
        false => cast(column, field.data_type())?,
    };
    Ok(match field.data_type() {
        DataType::Utf8 => texts::<i32>(&column, replaced),
        DataType::LargeUtf8 => texts::<i64>(&column, replaced),
        DataType::List(element) => lists::<i32>(&column, element, replaced)?,
        DataType::LargeList(element) => lists::<i64>(&column, element, replaced)?,
        DataType::FixedSizeList(element, length) => {
            let lists = column.as_fixed_size_list();
            let values = ascii(lists.values(), element, replaced)?;
            let nulls = lists.nulls().cloned();
            let element = Arc::clone(element);
            Arc::new(FixedSizeListArray::try_new(
                element, *length, values, nulls,
            )?)
        }
        _ => column,
    })
}

/// Converts lists, and of their elements those that are in one: each is counted once.
fn lists<O: OffsetSizeTrait>(
    column: &ArrayRef,
    element: &FieldRef,
    replaced: &mut u64,
) -> Result<ArrayRef, ArrowError> {
    let lists = column.as_list::<O>();
    let offsets = lists.value_offsets();
    let begin = offsets.first().map_or(0, |offset| offset.as_usize());
    let end = offsets.last().map_or(0, |offset| offset.as_usize());
    let values = lists.values().slice(begin, end - begin);
    let values = ascii(&values, element, replaced)?;
    let lengths = offsets
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_usize());
    Ok(Arc::new(GenericListArray::<O>::try_new(
        Arc::clone(element),
        OffsetBuffer::from_lengths(lengths),
        values,
        lists.nulls().cloned(),
    )?))
}

fn texts<O: OffsetSizeTrait>(column: &ArrayRef, replaced: &mut u64) -> ArrayRef {
    let texts = column.as_string::<O>();
    if texts.iter().flatten().all(is_printable) {
        return Arc::clone(column);
    }
    let mut out = String::new();
    let printable = texts.iter().map(|text| {
        out.clear();
        for character in text?.chars() {
            match matches!(character, ' '..='~') {
                true => out.push(character),
                false => {
                    out.push(char::from(REPLACEMENT));
                    *replaced += 1;
                }
            }
        }
        Some(out.clone())
    });
    Arc::new(printable.collect::<GenericStringArray<O>>())
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}
