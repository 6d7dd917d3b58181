//! Column metadata in the footer of a Parquet file: Arrow's own, and the VOTable of VOParquet 1.0.

use std::{path::Path, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use datastreamer_table::{column_metadata::ColumnMetadata, votable_head::VotableHead};

use super::footer;

/// The key of the VOTable without data in the footer (VOParquet 1.0, section 3).
const VOTABLE_KEY: &str = "IVOA.VOTable-Parquet.content";

/// Overlays the metadata in a file's footer on a table's schema. Metadata that are missing or cannot
/// be read change nothing, as the rows are still readable. Blocks.
pub(crate) fn overlay(schema: SchemaRef, path: &Path) -> SchemaRef {
    // Types do not matter here: only they would need more than the footer.
    let Ok(footer) = footer::read_as_stored(path) else {
        return schema;
    };
    let Ok(metadata) = ArrowReaderMetadata::try_new(Arc::new(footer), Default::default()) else {
        return schema;
    };
    let notes = ColumnMetadata::of_schema(metadata.schema());
    let mut described = notes.overlay(&schema);
    let footer = metadata.metadata().file_metadata().key_value_metadata();
    let entry = footer.and_then(|pairs| pairs.iter().find(|pair| pair.key == VOTABLE_KEY));
    if let Some(document) = entry.and_then(|pair| pair.value.as_deref()) {
        match VotableHead::parse(document) {
            Ok(head) => described = Schema::clone(&head.apply(&described)).into(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the footer's VOTable is skipped");
            }
        }
    }
    described
}
