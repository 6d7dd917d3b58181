//! What is known of a table and its columns beyond names and types, by whom it was told: the file
//! or who runs the server.
//!
//! The keys are those of [`datastreamer_formats::table::meta`].

use std::{collections::BTreeMap, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};

use crate::error::EngineError;

/// Metadata to lay over a table's schema.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Of the table: `description`, `name`.
    pub table: BTreeMap<String, String>,
    /// Of columns, by their name.
    pub columns: BTreeMap<String, BTreeMap<String, String>>,
}

impl Notes {
    /// Lays the notes over a schema: what they say replaces what it said.
    ///
    /// # Errors
    /// A column that the schema does not have.
    pub(crate) fn dress(&self, schema: &SchemaRef) -> Result<SchemaRef, EngineError> {
        for name in self.columns.keys() {
            if schema.column_with_name(name).is_none() {
                let there = column_names(schema);
                return Err(EngineError::data(format!(
                    "no column {name:?}; there are {there}"
                )));
            }
        }
        let fields = schema.fields().iter().map(|field| {
            let Some(notes) = self.columns.get(field.name()) else {
                return Arc::clone(field);
            };
            let mut metadata = field.metadata().clone();
            metadata.extend(notes.clone());
            Arc::new(field.as_ref().clone().with_metadata(metadata))
        });
        let mut metadata = schema.metadata().clone();
        metadata.extend(self.table.clone());
        Ok(Arc::new(Schema::new_with_metadata(
            fields.collect::<Vec<_>>(),
            metadata,
        )))
    }
}

/// Lists a schema's columns for who asked for another one.
pub(crate) fn column_names(schema: &Schema) -> String {
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    names.join(", ")
}
