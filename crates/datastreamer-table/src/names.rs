//! Names of columns that have none, for formats in which a column needs one: a rule for what is read
//! and what is written, so that a table keeps its names on its way.

use std::{borrow::Cow, collections::HashSet};

use arrow::datatypes::{Field, Fields, Schema};

/// Gives names to the columns that have none: `column` and the place, counted from 1, with `_` behind
/// it until no other column has the name, in letters of any case.
#[must_use]
pub fn named(mut names: Vec<String>) -> Vec<String> {
    if names.iter().all(|name| !name.is_empty()) {
        return names;
    }
    let lower = names.iter().map(|name| name.to_ascii_lowercase());
    let mut taken: HashSet<String> = lower.collect();
    for (place, name) in names.iter_mut().enumerate() {
        if name.is_empty() {
            *name = format!("column{}", place + 1);
            while !taken.insert(name.clone()) {
                name.push('_');
            }
        }
    }
    names
}

/// Returns the schema with a name for each column. Blanks are none.
pub(super) fn with_names(schema: &Schema) -> Cow<'_, Schema> {
    let fields = schema.fields().iter();
    let names: Vec<_> = fields.map(|field| field.name().trim()).collect();
    if !names.contains(&"") {
        return Cow::Borrowed(schema);
    }
    let fields = schema.fields().iter();
    let names = fields.map(|field| match field.name().trim() {
        "" => String::new(),
        _ => field.name().clone(),
    });
    let names = named(names.collect()).into_iter();
    let fields = schema.fields().iter().zip(names);
    let fields = fields.map(|(field, name)| Field::clone(field).with_name(name));
    let fields: Fields = fields.collect();
    Cow::Owned(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn a_column_without_a_name_gets_one_that_no_other_has() {
        let names = ["", "Column1", " ", "a", "column3_"];
        let fields = names.map(|name| Field::new(name, DataType::Int64, true));
        let schema = Schema::new(fields.to_vec());
        let named = with_names(&schema);
        let names: Vec<_> = named.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["column1_", "Column1", "column3", "a", "column3_"]);
    }
}
