//! What is known of a table and its columns beyond names and types, by whom it was told: the file
//! or who runs the server.
//!
//! The keys are those of [`datastreamer_formats::table::meta`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arrow::datatypes::{Schema, SchemaRef};
use datastreamer_formats::table::meta;

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
    /// What a schema says of a table and its columns.
    pub(crate) fn of_schema(schema: &Schema) -> Self {
        let ours = |metadata: &HashMap<String, String>| {
            let pairs = metadata
                .iter()
                .filter(|(key, _)| meta::KEYS.contains(&key.as_str()));
            pairs
                .map(|(key, text)| (key.clone(), text.clone()))
                .collect()
        };
        let columns = schema.fields().iter();
        Self {
            table: ours(schema.metadata()),
            columns: columns
                .map(|field| (field.name().clone(), ours(field.metadata())))
                .collect(),
        }
    }

    /// Lays the notes over a schema: what they say replaces what it said.
    ///
    /// # Errors
    /// A column that the schema does not have; a key that there is not.
    pub(crate) fn dress(&self, schema: &SchemaRef) -> Result<SchemaRef, EngineError> {
        for (name, notes) in &self.columns {
            if schema.column_with_name(name).is_none() {
                let there = column_names(schema);
                let text = format!("no column {name:?}; there are {there}");
                return Err(EngineError::data(text));
            }
            if let Some(key) = notes.keys().find(|key| !meta::KEYS.contains(&key.as_str())) {
                let there = meta::KEYS.join(", ");
                let text = format!("column {name:?}: nothing is called {key:?}; there are {there}");
                return Err(EngineError::data(text));
            }
        }
        Ok(self.lay_over(schema))
    }

    /// The same, and what is of no column here is left out.
    pub(crate) fn lay_over(&self, schema: &Schema) -> SchemaRef {
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
        let fields: Vec<_> = fields.collect();
        Arc::new(Schema::new_with_metadata(fields, metadata))
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
