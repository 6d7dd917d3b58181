//! Opens CSV, TSV and NDJSON files for a scan.

use std::{fs::File, iter, sync::Arc};

use datafusion::{
    common::Result,
    datasource::{
        listing::PartitionedFile,
        physical_plan::{FileOpenFuture, FileOpener},
    },
};
use datastreamer_text::{Compression, TextColumns, TextForm, TextFormat, TextOptions, TextReader};
use futures_util::{StreamExt, stream};

use crate::{error::EngineError, pinned::PinnedFile};

pub(crate) struct TextOpener {
    pub(crate) format: TextFormat,
    pub(crate) compression: Compression,
    pub(crate) options: Arc<TextOptions>,
    pub(crate) columns: TextColumns,
    pub(crate) expansion_max: u64,
    pub(crate) batch_rows: usize,
}

impl FileOpener for TextOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let file = file.extension::<PinnedFile>().cloned().ok_or_else(|| {
            EngineError::data("internal error: a plan reads a file that was not compared")
        })?;
        let (format, compression) = (self.format, self.compression);
        let columns = self.columns.clone();
        let (batch_rows, expansion_max) = (self.batch_rows, self.expansion_max);
        let options = Arc::clone(&self.options);
        Ok(Box::pin(async move {
            let form = TextForm {
                format,
                compression,
                expansion_max,
                options: &options,
                read: None,
            };
            let reader = File::open(&file.path)
                .and_then(|bytes| TextReader::new(bytes, form, columns, batch_rows));
            let mut reader = Some(reader.map_err(|error| file.error(&error))?);
            let batches = iter::from_fn(move || {
                let read = reader.as_mut()?.read();
                if read.is_err() {
                    reader = None;
                }
                let read = read.transpose()?;
                Some(read.map_err(|error| file.error(&error).into()))
            });
            Ok(stream::iter(batches).boxed())
        }))
    }
}
