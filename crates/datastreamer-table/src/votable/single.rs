//! Arrays of one element, which VOTable has as single values: `arraysize="1"` is not allowed
//! (VOTable 1.3, erratum 3).

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, UInt8Array},
    buffer::ScalarBuffer,
    compute::{is_null, kernels::nullif::nullif},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};

use crate::column::cell_types;

/// The columns of a table, cast, with single values for arrays of one element.
pub(super) fn schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().zip(cell_types(schema));
    let fields = fields.map(|(column, data_type)| field(column, data_type));
    let fields: Vec<Field> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// A column, whose type is given once it is cast.
pub(super) fn field(column: &Field, data_type: DataType) -> Field {
    let (data_type, nullable) = single_type(data_type, column.is_nullable());
    let column = column.clone();
    column.with_data_type(data_type).with_nullable(nullable)
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

/// The same for the values of a column. One is null where the array is, or its element.
pub(super) fn single(array: ArrayRef) -> Result<ArrayRef, ArrowError> {
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
