//! What each column becomes in a VOTable: the FIELD's datatype, arraysize, xtype and null.

use arrow::datatypes::{DataType, Field, Schema};

use super::Serialization;
use crate::{
    TableError,
    column::{cannot_hold, cell_types},
    meta,
    times::xtype,
};

/// What a cell may not be, and why.
pub(super) const IS_NULL_VALUE: &str =
    "the value is the one that stands for null: give the column another in its metadata (null)";
pub(super) const NULL_ELEMENT: &str = "a list's element is null, and no value stands for it: give one in the column's metadata (null)";
pub(super) const NULL_ROW: &str =
    "the value is null, and none stands for it: give one in the column's metadata (null)";
pub(super) const TOO_WIDE: &str =
    "a text of the list is longer than the column's metadata says (width)";
const NO_WIDTH: &str = "VOTable holds lists of texts only of a known width: give the bytes of the \
                        longest text, 65536 at most, in the column's metadata (width)";
pub(super) const NO_LONG: &str = "the list's element is too large for long";
pub(super) const NOT_ASCII: &str = "the text is not ASCII, as the column's metadata says (charset)";

/// A column as VOTable has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VotableField {
    pub(super) primitive: Primitive,
    pub(super) size: Size,
    /// Of arrays of texts: the characters of each. `size` counts characters.
    pub(super) width: Option<usize>,
    /// What the type means, where the column's own metadata does not say.
    pub(super) xtype: Option<&'static str>,
    /// What stands for null among integers.
    pub(super) null: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Primitive {
    Boolean,
    UnsignedByte,
    Short,
    Int,
    Long,
    Float,
    Double,
    /// ASCII.
    Char,
    /// UTF-16.
    UnicodeChar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    One,
    Fixed(usize),
    Variable,
    /// Variable, and never more than this: only in a document without rows.
    UpTo(usize),
}

impl Primitive {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::UnsignedByte => "unsignedByte",
            Self::Short => "short",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Char => "char",
            Self::UnicodeChar => "unicodeChar",
        }
    }

    /// The value that stands for null unless the column names another: the smallest, or the
    /// largest where there are no negative ones.
    fn default_null(self) -> Option<i64> {
        match self {
            Self::UnsignedByte => Some(u8::MAX.into()),
            Self::Short => Some(i16::MIN.into()),
            Self::Int => Some(i32::MIN.into()),
            Self::Long => Some(i64::MIN),
            _ => None,
        }
    }

    fn holds(self, value: i64) -> bool {
        match self {
            Self::UnsignedByte => u8::try_from(value).is_ok(),
            Self::Short => i16::try_from(value).is_ok(),
            Self::Int => i32::try_from(value).is_ok(),
            Self::Long => true,
            _ => false,
        }
    }
}

/// The largest integers, within lists.
///
/// # Errors
/// One that is larger than VOTable's.
pub(super) fn long(value: u64) -> Result<i64, &'static str> {
    i64::try_from(value).map_err(|_| NO_LONG)
}

/// What all columns become.
///
/// # Errors
/// The first column that VOTable cannot hold.
pub(super) fn fields(
    schema: &Schema,
    serialization: Serialization,
) -> Result<Vec<VotableField>, TableError> {
    let types = cell_types(schema);
    let columns = schema.fields().iter().zip(&types);
    columns
        .map(|(field, data_type)| {
            of_column(field, data_type, serialization).map_err(|problem| TableError::Column {
                column: field.name().clone(),
                problem,
            })
        })
        .collect()
}

/// Says whether a column is an array of VOTable: of booleans or numbers, or of texts of a known
/// width. All other nested ones are none.
pub(super) fn is_array(field: &Field, data_type: &DataType) -> bool {
    match list(data_type) {
        Some((_, element)) if is_text(element) => meta::width(field).is_some(),
        Some((_, DataType::UInt64)) => true,
        Some((_, element)) => matches!(primitive(field, element), Some((_, Size::One))),
        None => false,
    }
}

/// The size of a list, and the type of its elements.
fn list(data_type: &DataType) -> Option<(Size, &DataType)> {
    match data_type {
        DataType::FixedSizeList(element, length) => {
            let length = usize::try_from(*length).unwrap_or_default();
            Some((Size::Fixed(length), element.data_type()))
        }
        DataType::List(element) | DataType::LargeList(element) => {
            Some((Size::Variable, element.data_type()))
        }
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(data_type, T::Utf8 | T::LargeUtf8 | T::Utf8View)
}

fn of_column(
    field: &Field,
    data_type: &DataType,
    serialization: Serialization,
) -> Result<VotableField, String> {
    let list = list(data_type);
    let is_list = list.is_some();
    let (size, element) = match list {
        Some((size, element)) => (Some(size), element),
        None => (None, data_type),
    };
    let refused = || cannot_hold("VOTable", data_type);
    if let Some(size) = size.filter(|_| is_text(element)) {
        return array_of_texts(field, element, size).ok_or_else(refused)?;
    }
    let (primitive, own_size) = match element {
        DataType::UInt64 if is_list => (Primitive::Long, Size::One),
        element => primitive(field, element).ok_or_else(refused)?,
    };
    if is_list && own_size != Size::One {
        return Err(refused());
    }
    Ok(VotableField {
        primitive,
        size: size.unwrap_or(own_size),
        width: None,
        xtype: xtype(element),
        null: null_value(
            field,
            primitive,
            is_list || own_size != Size::One,
            serialization,
        )?,
    })
}

/// Each text has a place of the same width, which stands before the rows.
fn array_of_texts(
    field: &Field,
    element: &DataType,
    size: Size,
) -> Option<Result<VotableField, String>> {
    let (primitive, _) = primitive(field, element)?;
    let Some(width) = meta::width(field) else {
        return Some(Err(NO_WIDTH.to_owned()));
    };
    let size = match size {
        Size::Fixed(length) => Size::Fixed(length.checked_mul(width)?),
        size => size,
    };
    Some(Ok(VotableField {
        primitive,
        size,
        width: Some(width),
        xtype: None,
        null: None,
    }))
}

fn primitive(field: &Field, data_type: &DataType) -> Option<(Primitive, Size)> {
    let one = |primitive| Some((primitive, Size::One));
    match data_type {
        DataType::Boolean => one(Primitive::Boolean),
        DataType::UInt8 => one(Primitive::UnsignedByte),
        DataType::Int8 | DataType::Int16 => one(Primitive::Short),
        DataType::UInt16 | DataType::Int32 => one(Primitive::Int),
        DataType::UInt32 | DataType::Int64 => one(Primitive::Long),
        DataType::Float32 => one(Primitive::Float),
        DataType::Float64 => one(Primitive::Double),
        DataType::UInt64
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _)
        | DataType::Timestamp(_, _)
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Duration(_)
        | DataType::Interval(_) => Some((Primitive::Char, Size::Variable)),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let ascii = meta::of_column(field, meta::CHARSET) == Some("ascii");
            let primitive = if ascii {
                Primitive::Char
            } else {
                Primitive::UnicodeChar
            };
            Some((primitive, Size::Variable))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Some((Primitive::UnsignedByte, Size::Variable))
        }
        DataType::FixedSizeBinary(length) => {
            let length = usize::try_from(*length).ok()?;
            Some((Primitive::UnsignedByte, Size::Fixed(length)))
        }
        _ => None,
    }
}

/// BINARY has no other way to say null of a single value; elsewhere, and of arrays, only elements
/// have not.
fn null_value(
    field: &Field,
    primitive: Primitive,
    is_array: bool,
    serialization: Serialization,
) -> Result<Option<i64>, String> {
    let Some(default) = primitive.default_null() else {
        return Ok(None);
    };
    if let Some(text) = meta::of_column(field, meta::NULL) {
        let value = text.parse().ok().filter(|value| primitive.holds(*value));
        return match value {
            Some(value) => Ok(Some(value)),
            None => Err(format!(
                "{text:?} cannot stand for null in {}",
                primitive.name()
            )),
        };
    }
    let needed = field.is_nullable() && !is_array && serialization == Serialization::Binary;
    Ok(needed.then_some(default))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashMap, sync::Arc};

    fn field(field: Field, serialization: Serialization) -> Result<VotableField, String> {
        fields(&Schema::new(vec![field]), serialization)
            .map(|mut fields| fields.remove(0))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_votable_has_no_type_for_is_refused_by_name() {
        let strings = Arc::new(Field::new("item", DataType::Utf8, true));
        let of_lists = Arc::new(Field::new(
            "item",
            DataType::List(Arc::clone(&strings)),
            true,
        ));
        for data_type in [
            DataType::List(of_lists),
            DataType::Struct(vec![Field::new("a", DataType::Int8, true)].into()),
        ] {
            let error = field(Field::new("odd", data_type, true), Serialization::Binary2);
            assert!(
                error
                    .unwrap_err()
                    .starts_with("column \"odd\": VOTable cannot hold")
            );
        }
    }

    #[test]
    fn integers_get_a_null_where_nothing_else_says_it() {
        let int = |nullable| Field::new("n", DataType::Int32, nullable);
        let null = |field_, serialization| field(field_, serialization).unwrap().null;
        assert_eq!(
            null(int(true), Serialization::Binary),
            Some(i32::MIN.into())
        );
        assert_eq!(null(int(false), Serialization::Binary), None);
        assert_eq!(null(int(true), Serialization::Binary2), None);
        let named = |text: &str| {
            let metadata = HashMap::from([(meta::NULL.to_owned(), text.to_owned())]);
            int(true).with_metadata(metadata)
        };
        assert_eq!(null(named("-1"), Serialization::Binary2), Some(-1));
        let error = field(named("3000000000"), Serialization::Binary).unwrap_err();
        assert!(error.contains("cannot stand for null in int"), "{error}");
    }
}
