//! What nested columns are made of: the leaves of lists, maps and structs, and the types within all.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};

/// Changes the leaves of a column, in their order. It changes nothing else of lists, maps and
/// structs.
pub fn map_leaves(field: &FieldRef, change: &mut dyn FnMut(&FieldRef) -> FieldRef) -> FieldRef {
    use DataType as T;
    let mut inner = |field: &FieldRef| map_leaves(field, change);
    let data_type = match field.data_type() {
        T::List(element) => T::List(inner(element)),
        T::LargeList(element) => T::LargeList(inner(element)),
        T::FixedSizeList(element, length) => T::FixedSizeList(inner(element), *length),
        T::ListView(element) => T::ListView(inner(element)),
        T::LargeListView(element) => T::LargeListView(inner(element)),
        T::Map(entries, sorted) => T::Map(inner(entries), *sorted),
        T::Struct(parts) => T::Struct(parts.iter().map(inner).collect()),
        _ => return change(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// Calls `on` with each leaf of several columns, in their order.
pub fn for_leaves(columns: &Fields, on: &mut dyn FnMut(&Field)) {
    for field in columns {
        map_leaves(field, &mut |leaf| {
            on(leaf);
            Arc::clone(leaf)
        });
    }
}

/// Finds a type of some kind: a type itself, or the first one within it.
pub fn find_type<'a>(
    data_type: &'a DataType,
    is: &impl Fn(&DataType) -> bool,
) -> Option<&'a DataType> {
    if is(data_type) {
        return Some(data_type);
    }
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => find_type(field.data_type(), is),
        DataType::Struct(fields) => fields
            .iter()
            .find_map(|field| find_type(field.data_type(), is)),
        DataType::Union(fields, _) => fields
            .iter()
            .find_map(|(_, field)| find_type(field.data_type(), is)),
        DataType::Dictionary(_, values) => find_type(values, is),
        _ => None,
    }
}
