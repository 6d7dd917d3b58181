//! A tar of a real tree, streamed.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use datastreamer::StreamWriter;
use datastreamer_archive::{
    directory::{DirectoryTar, Event, Hidden, OnChange, SkipReason},
    tar::TarWriter,
};

use super::{Job, SourceError};
use crate::refusal::Concealed;

/// Which directory is archived, and how.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryOptions {
    pub(crate) path: PathBuf,
    pub(crate) on_change: OnChange,
    pub(crate) hidden: Hidden,
}

/// The source of a directory's tar.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    options: DirectoryOptions,
    /// The first component of every member's name.
    prefix: String,
}

impl Directory {
    /// Checks that the directory is there and can be read.
    pub(crate) fn open(options: DirectoryOptions, prefix: &str) -> Result<Self, String> {
        let directory = Self {
            options,
            prefix: prefix.to_owned(),
        };
        directory.tree().map_err(|error| error.to_string())?;
        Ok(directory)
    }

    pub(crate) fn job(&self) -> Job {
        let directory = self.clone();
        let frozen = Arc::default();
        let counted = Arc::clone(&frozen);
        let write = Box::new(move |out: &mut StreamWriter| directory.write(&counted, out));
        Job {
            frozen,
            ..Job::unplanned(None, write)
        }
    }

    fn tree(&self) -> io::Result<DirectoryTar> {
        let tree = DirectoryTar::open(&self.options.path, &self.prefix)?;
        Ok(tree
            .with_on_change(self.options.on_change)
            .with_hidden(self.options.hidden))
    }

    fn write(&self, frozen: &AtomicU64, out: &mut StreamWriter) -> Result<(), SourceError> {
        let tree = self.tree().map_err(|error| {
            Concealed::telling("the directory cannot be read", error.to_string())
        })?;
        let rows = out.clone();
        let mut tar = TarWriter::new(out);
        tree.write_to(&mut tar, |event| match event {
            Event::Archived { .. } => rows.add_rows(1),
            // As the configuration has it.
            Event::Skipped {
                reason: SkipReason::Hidden,
                ..
            } => {}
            Event::Skipped { member, reason } => {
                let member = String::from_utf8_lossy(member);
                tracing::warn!(%member, %reason, "left out of the archive");
            }
            Event::Frozen {
                member,
                archived_bytes,
                left_out_bytes,
            } => {
                frozen.fetch_add(1, Ordering::Relaxed);
                let member = String::from_utf8_lossy(member);
                tracing::info!(
                    %member,
                    archived_bytes,
                    left_out_bytes,
                    "a file has grown: the rest is left out of the archive"
                );
            }
            _ => {}
        })?;
        tar.finish()?;
        Ok(())
    }
}
