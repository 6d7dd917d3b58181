//! The metadata of a table and its columns beyond names and types, as a file or a configuration
//! states it, and how it is applied to a schema.
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

/// At most 10 names in an error message: a table of a thousand columns would fill the screen.
const NAMES_MAX: usize = 10;

/// Metadata for a table's schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnMetadata {
    /// The table's: `description`, `name`.
    pub table: BTreeMap<String, String>,
    /// The columns', by name.
    pub columns: BTreeMap<String, BTreeMap<String, String>>,
}

impl ColumnMetadata {
    /// Returns whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Extracts the metadata of a schema, limited to the keys of [`crate::meta`].
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

    /// Applies the metadata to a schema, replacing the schema's values where both have a key.
    ///
    /// # Errors
    /// Metadata for a column that the schema does not have, or an unknown key.
    pub fn apply(&self, schema: &SchemaRef) -> Result<SchemaRef, ColumnMetadataError> {
        for (name, metadata) in &self.columns {
            if schema.column_with_name(name).is_none() {
                let there = column_names(schema);
                let text = format!("no column {name:?}; there are {there}");
                return Err(ColumnMetadataError(text));
            }
            let keys = meta::KEYS.into_iter().filter(|key| *key != meta::NAME);
            let keys: Vec<_> = keys.collect();
            if let Some(key) = metadata.keys().find(|key| !keys.contains(&key.as_str())) {
                let there = keys.join(", ");
                let text = format!("column {name:?}: nothing is called {key:?}; there are {there}");
                return Err(ColumnMetadataError(text));
            }
        }
        Ok(self.overlay(schema))
    }

    /// Does the same without checks: metadata for columns that the schema lacks is ignored.
    pub fn overlay(&self, schema: &Schema) -> SchemaRef {
        let fields = schema.fields().iter().map(|field| {
            let Some(added) = self.columns.get(field.name()) else {
                return Arc::clone(field);
            };
            let mut metadata = field.metadata().clone();
            metadata.extend(added.clone());
            Arc::new(field.as_ref().clone().with_metadata(metadata))
        });
        let mut metadata = schema.metadata().clone();
        metadata.extend(self.table.clone());
        let fields: Vec<_> = fields.collect();
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }
}

/// Metadata for an unknown column, or with an unknown key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMetadataError(String);

impl fmt::Display for ColumnMetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ColumnMetadataError {}

/// A reader that adds metadata to the schema of another reader. Reading **blocks** as that does.
pub struct WithMetadata<R> {
    reader: R,
    schema: SchemaRef,
}

impl<R: RecordBatchReader> WithMetadata<R> {
    /// Applies metadata to the schema of a reader.
    ///
    /// # Errors
    /// Metadata for a column that the reader does not have, or an unknown key.
    pub fn new(reader: R, metadata: &ColumnMetadata) -> Result<Self, ColumnMetadataError> {
        let schema = metadata.apply(&reader.schema())?;
        Ok(Self { reader, schema })
    }
}

impl<R: RecordBatchReader> Iterator for WithMetadata<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.and_then(|batch| with_schema(&batch, &self.schema)))
    }
}

impl<R: RecordBatchReader> RecordBatchReader for WithMetadata<R> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Returns a batch with the same columns under another schema, which may differ in metadata.
///
/// # Errors
/// A schema with other columns.
pub fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().to_vec();
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// Lists the names of a schema's columns, for error messages: not all if there are many.
pub fn column_names(schema: &Schema) -> String {
    let fields = schema.fields().iter();
    let names: Vec<_> = fields.map(|field| field.name().as_str()).collect();
    few_names(&names)
}

/// Lists names for error messages: the first, and how many more there are.
pub fn few_names(names: &[&str]) -> String {
    match names.get(..NAMES_MAX) {
        Some(first) if names.len() > NAMES_MAX => {
            let more = names.len() - NAMES_MAX;
            format!("{} and {more} more", first.join(", "))
        }
        _ => names.join(", "),
    }
}
