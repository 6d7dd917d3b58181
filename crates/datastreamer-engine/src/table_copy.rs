//! A table as another process needs it: its columns, and its files as they were compared with it
//! last. That process lists no folder, infers no type, and finds no partition itself.
//!
//! `engine.rs` makes copies and registers them; `provider.rs` and `fits.rs` say what is in them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datastreamer_text::TextOptions;
use serde::{Deserialize, Serialize};

use crate::{
    columns::FileRows,
    error::EngineError,
    file_kind::FileKind,
    files::{Place, TableFiles},
    fits_heads::FitsHeads,
    packed,
    partitions::Partition,
    pinned::PinnedFile,
};

/// A table, as a message.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct TableCopy {
    pub(crate) name: String,
    place: Place,
    partitions: Vec<Partition>,
    hdu: Option<String>,
    text: TextOptions,
    /// Columns in the files, and those of partitions behind them.
    #[serde(with = "packed::schema")]
    pub(crate) schema: SchemaRef,
    pub(crate) contents: Contents,
}

/// The files of a table, and what is known about each.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Contents {
    Files(Vec<(PinnedFile, FileRows)>),
    Fits(FitsHeads),
}

impl TableCopy {
    pub(crate) fn new(
        name: &str,
        files: &TableFiles,
        schema: SchemaRef,
        contents: Contents,
    ) -> Self {
        let (place, partitions) = files.parts();
        Self {
            name: name.to_owned(),
            place: place.clone(),
            partitions: partitions.to_vec(),
            hdu: files.hdu().map(str::to_owned),
            text: files.text().clone(),
            schema,
            contents,
        }
    }

    /// Returns the files of the table, each as it was compared.
    pub(crate) fn pinned(&self) -> Box<dyn Iterator<Item = &PinnedFile> + '_> {
        match &self.contents {
            Contents::Files(files) => Box::new(files.iter().map(|(file, _)| file)),
            Contents::Fits(heads) => Box::new(heads.pinned()),
        }
    }

    /// Returns the table's place and partitions, as those of the table are.
    ///
    /// # Errors
    /// There are no files.
    pub(crate) fn files(&self) -> Result<Arc<TableFiles>, EngineError> {
        let first = self.pinned().next();
        let kind = first.and_then(|file| FileKind::of(&file.path));
        let kind = kind.ok_or_else(|| EngineError::data("the table has no files"))?;
        let (place, partitions) = (self.place.clone(), self.partitions.clone());
        let (hdu, text) = (self.hdu.clone(), self.text.clone());
        Ok(Arc::new(TableFiles::of_parts(
            place, kind, partitions, hdu, text,
        )))
    }
}
