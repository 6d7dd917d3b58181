//! Arrays of one element, which VOTable has as single values: `arraysize="1"` is not allowed
//! (VOTable 1.3, erratum 3).

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, UInt8Array},
    buffer::ScalarBuffer,
    compute::{is_null, kernels::nullif::nullif},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};

use crate::{
    TableError,
    column::{cast_columns, cell_types},
};

/// The columns of a table, cast, with single values for arrays of one element.
pub(super) fn schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().zip(cell_types(schema));
    let fields = fields.map(|(field, data_type)| {
        let (data_type, nullable) = single_type(data_type, field.is_nullable());
        let field = Field::clone(field);
        field.with_data_type(data_type).with_nullable(nullable)
    });
    let fields: Vec<Field> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The same for a batch.
///
/// # Errors
/// A column that cannot be cast.
pub(super) fn batch(batch: &RecordBatch) -> Result<Cow<'_, RecordBatch>, TableError> {
    let schema = batch.schema_ref();
    if !cell_types(schema).iter().any(is_array_of_one) {
        return Ok(Cow::Borrowed(batch));
    }
    let columns = cast_columns(batch)?.into_iter().map(single);
    let columns = columns.collect::<Result<Vec<_>, _>>();
    columns
        .and_then(|columns| {
            let fields = schema.fields().iter().zip(&columns);
            let fields = fields
                .map(|(field, array)| Field::new(field.name(), array.data_type().clone(), true));
            let schema = Schema::new(fields.collect::<Vec<_>>());
            RecordBatch::try_new(Arc::new(schema), columns)
        })
        .map(Cow::Owned)
        .map_err(|error| TableError::Schema(error.to_string()))
}

fn is_array_of_one(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::FixedSizeBinary(1) | DataType::FixedSizeList(_, 1)
    )
}

fn single_type(data_type: DataType, nullable: bool) -> (DataType, bool) {
    match data_type {
        DataType::FixedSizeBinary(1) => (DataType::UInt8, nullable),
        DataType::FixedSizeList(element, 1) => single_type(
            element.data_type().clone(),
            nullable || element.is_nullable(),
        ),
        data_type => (data_type, nullable),
    }
}

/// A value is null where the array is, or its element.
fn single(array: ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::FixedSizeBinary(1) => {
            let bytes = array.as_fixed_size_binary();
            let values = ScalarBuffer::new(bytes.values().clone(), 0, bytes.len());
            Ok(Arc::new(UInt8Array::new(values, bytes.nulls().cloned())))
        }
        DataType::FixedSizeList(_, 1) => {
            let list = array.as_fixed_size_list();
            single(nullif(list.values(), &is_null(list)?)?)
        }
        _ => Ok(array),
    }
}
