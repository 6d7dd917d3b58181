//! What is known of a table and its columns beyond names and types, by whom it was told: the file
//! or who runs the server.
//!
//! The keys are those of [`crate::meta`].

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    fmt,
    sync::Arc,
};

use crate::meta;
use arrow::{
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions, RecordBatchReader},
};

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
    pub fn of_schema(schema: &Schema) -> Self {
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
    pub fn dress(&self, schema: &SchemaRef) -> Result<SchemaRef, NotesError> {
        for (name, notes) in &self.columns {
            if schema.column_with_name(name).is_none() {
                let there = column_names(schema);
                let text = format!("no column {name:?}; there are {there}");
                return Err(NotesError(text));
            }
            if let Some(key) = notes.keys().find(|key| !meta::KEYS.contains(&key.as_str())) {
                let there = meta::KEYS.join(", ");
                let text = format!("column {name:?}: nothing is called {key:?}; there are {there}");
                return Err(NotesError(text));
            }
        }
        Ok(self.lay_over(schema))
    }

    /// The same, and what is of no column here is left out.
    pub fn lay_over(&self, schema: &Schema) -> SchemaRef {
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

/// A note on what there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotesError(String);

impl fmt::Display for NotesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for NotesError {}

/// A reader whose batches have a schema with other metadata; reading **blocks** as it does.
pub struct Dressed<R> {
    reader: R,
    schema: SchemaRef,
}

impl<R: RecordBatchReader> Dressed<R> {
    /// Lays notes over the columns of a reader.
    ///
    /// # Errors
    /// A column that the reader does not have; a key that there is not.
    pub fn new(reader: R, notes: &Notes) -> Result<Self, NotesError> {
        let schema = notes.dress(&reader.schema())?;
        Ok(Self { reader, schema })
    }
}

impl<R: RecordBatchReader> Iterator for Dressed<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.and_then(|batch| dress(&batch, &self.schema)))
    }
}

impl<R: RecordBatchReader> RecordBatchReader for Dressed<R> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Gives a batch a schema with other metadata.
///
/// # Errors
/// A schema with other columns.
pub fn dress(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// Lists a schema's columns for who asked for another one.
pub fn column_names(schema: &Schema) -> String {
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    names.join(", ")
}
