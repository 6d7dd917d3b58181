//! What nested columns are made of: the leaves of lists, maps and structs, and the types within all;
//! and which of them JSON can hold.

use std::{collections::HashSet, sync::Arc};

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

/// So many levels a nested column has at most: with the record and the array around it they are fewer
/// than the 128 that serde_json reads, and few enough for the stack.
const LEVELS_MAX: usize = 100;

/// Refuses a nested type that JSON cannot hold.
///
/// # Errors
/// Why it cannot.
pub(super) fn check(data_type: &DataType) -> Result<(), String> {
    if is_deeper(data_type, LEVELS_MAX) {
        return Err(format!("it is nested more than {LEVELS_MAX} levels deep"));
    }
    let has_twins = |data_type: &DataType| name_given_twice(data_type).is_some();
    let twins = find_type(data_type, &has_twins).and_then(name_given_twice);
    match twins {
        Some(name) => Err(format!(
            "JSON cannot hold a struct with two fields of the same name, {name:?}"
        )),
        None => Ok(()),
    }
}

/// Says whether a type has more levels than this. A type without others in it has none.
fn is_deeper(data_type: &DataType, levels: usize) -> bool {
    let is_deeper = |field: &Field| match levels.checked_sub(1) {
        Some(rest) => is_deeper(field.data_type(), rest),
        None => true,
    };
    // One without fields is a level, too.
    let is_struct = matches!(data_type, DataType::Struct(_));
    levels == 0 && is_struct || fields_within(data_type).into_iter().any(is_deeper)
}

/// Returns the fields of the types of which a type is made; not the values of a dictionary.
fn fields_within(data_type: &DataType) -> Vec<&Field> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => vec![field],
        DataType::Struct(fields) => fields.iter().map(AsRef::as_ref).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.as_ref()).collect(),
        _ => Vec::new(),
    }
}

/// The name that two fields of a struct have; of a map's entries too.
fn name_given_twice(data_type: &DataType) -> Option<&str> {
    let DataType::Struct(fields) = data_type else {
        return None;
    };
    let mut seen = HashSet::new();
    let twice = fields.iter().find(|field| !seen.insert(field.name()));
    twice.map(|field| field.name().as_str())
}

/// Finds a type of some kind: a type itself, or the first one within it.
pub fn find_type<'a>(
    data_type: &'a DataType,
    is: &impl Fn(&DataType) -> bool,
) -> Option<&'a DataType> {
    if is(data_type) {
        return Some(data_type);
    }
    if let DataType::Dictionary(_, values) = data_type {
        return find_type(values, is);
    }
    let mut fields = fields_within(data_type).into_iter();
    fields.find_map(|field| find_type(field.data_type(), is))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(levels: usize) -> DataType {
        (0..levels).fold(DataType::Int8, |element, _| {
            DataType::new_list(element, true)
        })
    }

    #[test]
    fn a_hundred_levels_are_held_and_no_more() {
        assert_eq!(check(&lists(LEVELS_MAX)), Ok(()));
        let error = check(&lists(LEVELS_MAX + 1)).unwrap_err();
        assert_eq!(error, "it is nested more than 100 levels deep");
    }

    #[test]
    fn two_fields_of_one_name_are_refused_by_it() {
        let field = |name: &str| Field::new(name, DataType::Int8, true);
        let fields = |names: [&str; 2]| DataType::Struct(names.map(field).into_iter().collect());
        assert_eq!(check(&fields(["a", "b"])), Ok(()));
        let error = check(&DataType::new_list(fields(["a", "a"]), true)).unwrap_err();
        assert!(
            error.contains("two fields of the same name, \"a\""),
            "{error}"
        );
    }
}
