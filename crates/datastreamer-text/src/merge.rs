//! The columns of several files: each has a type that holds the values of all.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};

use crate::{
    TextFormat,
    seen::{LARGE_INTEGER, Notes},
};

/// Merges the columns of two files, as [`infer`](crate::infer) returns them. Those of CSV and TSV are
/// matched by position, and must have the same names; those of NDJSON are matched by name.
///
/// # Errors
/// The text of the columns that differ.
pub fn merge(one: Schema, other: &Schema, format: TextFormat) -> Result<Schema, String> {
    if format != TextFormat::Ndjson {
        check_same_columns(&one, other)?;
    }
    Ok(Schema::new(merge_fields(one.fields(), other.fields())))
}

/// Checks that columns that are matched by position have the same names.
///
/// # Errors
/// The text of the difference.
pub fn check_same_columns(table: &Schema, file: &Schema) -> Result<(), String> {
    let names = |schema: &Schema| {
        let fields = schema.fields().iter();
        fields.map(|field| field.name().clone()).collect::<Vec<_>>()
    };
    let (table, file) = (names(table), names(file));
    match table == file {
        true => Ok(()),
        false => Err(format!(
            "has the columns {}, and the table {}",
            file.join(", "),
            table.join(", ")
        )),
    }
}

/// Removes what [`merge`] alone needs from the columns of a table.
pub fn without_notes(columns: &Schema) -> Schema {
    let fields = columns.fields().iter();
    Schema::new(fields.map(|field| unnoted(field)).collect::<Vec<_>>())
}

fn unnoted(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(Arc::new(unnoted(element))),
        DataType::Struct(members) => {
            DataType::Struct(members.iter().map(|member| unnoted(member)).collect())
        }
        data_type => data_type.clone(),
    };
    Field::new(field.name(), data_type, true)
}

fn merge_fields(ones: &Fields, others: &Fields) -> Fields {
    let names = ones.iter().enumerate();
    let places: HashMap<_, _> = names.map(|(place, field)| (field.name(), place)).collect();
    let mut fields: Vec<Arc<Field>> = ones.iter().map(Arc::clone).collect();
    for other in others {
        match places.get(other.name()) {
            Some(place) => fields[*place] = Arc::new(common_field(&ones[*place], other)),
            None => fields.push(Arc::clone(other)),
        }
    }
    fields.into()
}

/// Returns the column that can hold the values of both.
fn common_field(one: &Field, other: &Field) -> Field {
    use DataType as T;
    let (notes_of_one, notes_of_other) = (Notes::of(one), Notes::of(other));
    if *other.data_type() == T::Null {
        return one.clone();
    }
    if *one.data_type() == T::Null {
        return other.clone();
    }
    let notes = notes_of_one.and(notes_of_other);
    let is_nanos =
        |data_type: &DataType| matches!(data_type, T::Timestamp(TimeUnit::Nanosecond, _));
    let data_type = match common_type(one.data_type(), other.data_type()) {
        _ if notes_of_one.is_nothing => other.data_type().clone(),
        _ if notes_of_other.is_nothing => one.data_type().clone(),
        T::Float64 if notes.is_above_float => T::Utf8,
        common if is_nanos(&common) && notes.is_outside_nanos => T::Utf8,
        common => common,
    };
    notes.on(Field::new(one.name(), data_type, true))
}

/// Returns the type that can hold the values of both: text holds all, what is nested as its JSON.
fn common_type(one: &DataType, other: &DataType) -> DataType {
    use DataType as T;
    let is_integer = |data_type: &DataType| {
        matches!(data_type, T::Int64 | T::UInt64) || *data_type == LARGE_INTEGER
    };
    match (one, other) {
        (one, other) if one == other => one.clone(),
        (T::Null, any) | (any, T::Null) => any.clone(),
        (T::Int64, T::Float64) | (T::Float64, T::Int64) => T::Float64,
        (one, other) if is_integer(one) && is_integer(other) => LARGE_INTEGER,
        (T::Date32, T::Timestamp(unit, None)) | (T::Timestamp(unit, None), T::Date32) => {
            T::Timestamp(*unit, None)
        }
        (T::Timestamp(one, zone), T::Timestamp(other, same)) if zone == same => {
            T::Timestamp(*one.max(other), zone.clone())
        }
        (T::List(one), T::List(other)) => T::List(Arc::new(common_field(one, other))),
        (T::Struct(ones), T::Struct(others)) => T::Struct(merge_fields(ones, others)),
        _ => T::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        let fields = columns.iter();
        let fields = fields.map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Schema::new(fields.collect::<Vec<_>>())
    }

    #[test]
    fn two_types_become_one_that_holds_both() {
        use DataType as T;
        let seconds = T::Timestamp(TimeUnit::Second, None);
        let millis = T::Timestamp(TimeUnit::Millisecond, None);
        for (one, other, both) in [
            (T::Null, T::Boolean, T::Boolean),
            (T::Int64, T::Float64, T::Float64),
            (T::Int64, T::Utf8, T::Utf8),
            (T::Int64, T::UInt64, LARGE_INTEGER),
            (T::UInt64, LARGE_INTEGER, LARGE_INTEGER),
            (T::UInt64, T::Float64, T::Utf8),
            (T::Date32, seconds.clone(), seconds.clone()),
            (seconds, millis.clone(), millis),
            (T::new_list(T::Int64, true), T::Int64, T::Utf8),
        ] {
            assert_eq!(common_type(&one, &other), both, "{one} {other}");
            assert_eq!(common_type(&other, &one), both, "{other} {one}");
        }
    }

    #[test]
    fn what_a_type_does_not_say_decides_the_type_of_several_files() {
        use DataType as T;
        let notes = |is_above_float, is_outside_nanos, is_nothing| Notes {
            is_above_float,
            is_outside_nanos,
            is_nothing,
        };
        let nanos = T::Timestamp(TimeUnit::Nanosecond, None);
        for (one, noted, other, both) in [
            (T::Int64, notes(true, false, false), T::Float64, T::Utf8),
            (T::Int64, notes(true, false, false), T::Int64, T::Int64),
            (T::Date32, notes(false, true, false), nanos.clone(), T::Utf8),
            (T::Date32, notes(false, false, false), nanos.clone(), nanos),
            (T::Utf8, notes(false, false, true), T::Int64, T::Int64),
            (T::Utf8, notes(false, false, true), T::Null, T::Utf8),
        ] {
            let one = noted.on(Field::new("a", one, true));
            let other = Field::new("a", other, true);
            for (one, other) in [(&one, &other), (&other, &one)] {
                let common = common_field(one, other);
                assert_eq!(common.data_type(), &both, "{one} {other}");
            }
        }
    }

    #[test]
    fn columns_of_csv_are_matched_by_position() {
        let table = schema(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
        let swapped = schema(&[("b", DataType::Utf8), ("a", DataType::Int64)]);
        let refused = merge(table.clone(), &swapped, TextFormat::Csv);
        assert_eq!(
            refused,
            Err("has the columns b, a, and the table a, b".to_owned())
        );
        let by_name = merge(table.clone(), &swapped, TextFormat::Ndjson);
        assert_eq!(by_name, Ok(table));
    }
}
