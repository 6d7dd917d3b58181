//! What the headers of FITS files say, kept and as a message. It reads no file: `fits.rs` does.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datastreamer_table::meta;
use serde::{Deserialize, Serialize};

use crate::{error::EngineError, files::TableFiles, packed, pinned::PinnedFile};

pub(crate) type FileAndHead = (PinnedFile, Arc<FitsHead>);

/// What the header of a file says. The file is closed: a table may have more files than a process
/// may open.
#[derive(Debug)]
pub(crate) struct FitsHead {
    pub(crate) schema: SchemaRef,
    pub(crate) rows: u64,
    /// By column.
    pub(crate) text_bytes_max: Vec<Option<usize>>,
    /// The values of the partitions.
    pub(crate) partitions: Vec<ScalarValue>,
}

impl FitsHead {
    /// The table's EXTNAME.
    pub(crate) fn name(&self) -> Option<&String> {
        self.schema.metadata().get(meta::NAME)
    }
}

/// The heads of a table's files as a message. Most files have the same columns, which it has once.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct FitsHeads {
    schemas: Vec<PackedSchema>,
    heads: Vec<PackedHead>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct PackedSchema(#[serde(with = "packed::schema")] SchemaRef);

#[derive(Clone, Debug, Deserialize, Serialize)]
struct PackedHead {
    file: PinnedFile,
    /// The place of its schema.
    schema: usize,
    rows: u64,
    text_bytes_max: Vec<Option<usize>>,
}

impl FitsHeads {
    pub(crate) fn of(files: &[FileAndHead]) -> Self {
        let mut schemas: Vec<PackedSchema> = Vec::new();
        let heads = files.iter().map(|(file, head)| {
            if schemas.last().is_none_or(|last| last.0 != head.schema) {
                schemas.push(PackedSchema(Arc::clone(&head.schema)));
            }
            PackedHead {
                file: file.clone(),
                schema: schemas.len() - 1,
                rows: head.rows,
                text_bytes_max: head.text_bytes_max.clone(),
            }
        });
        let heads = heads.collect();
        Self { schemas, heads }
    }

    pub(crate) fn pinned(&self) -> impl Iterator<Item = &PinnedFile> {
        self.heads.iter().map(|head| &head.file)
    }

    pub(crate) fn with_partitions(
        self,
        files: &TableFiles,
    ) -> Result<Vec<FileAndHead>, EngineError> {
        let schemas = self.schemas;
        let heads = self.heads.into_iter().map(|head| {
            let schema = schemas.get(head.schema);
            let schema = schema.ok_or_else(|| head.file.error(&"has no columns"))?;
            let partitions = files.partition_values(&head.file.path)?;
            let read = FitsHead {
                schema: Arc::clone(&schema.0),
                rows: head.rows,
                text_bytes_max: head.text_bytes_max,
                partitions,
            };
            Ok((head.file, Arc::new(read)))
        });
        heads.collect()
    }
}
