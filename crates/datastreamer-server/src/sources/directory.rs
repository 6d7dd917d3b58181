//! A tar of a real tree, streamed.

use std::path::{Path, PathBuf};

use datastreamer::StreamWriter;
use datastreamer_archive::{
    directory::{DirectoryTar, Event},
    tar::TarWriter,
};

use super::{Job, SourceError};
use crate::refusal::Concealed;

/// The source of a directory's tar.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The first component of every member's name.
    prefix: String,
}

impl Directory {
    /// Checks that the directory is there and can be read.
    pub(crate) fn open(path: &Path, prefix: &str) -> Result<Self, String> {
        DirectoryTar::open(path, prefix).map_err(|error| error.to_string())?;
        Ok(Self {
            path: path.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    pub(crate) fn job(&self) -> Job {
        let directory = self.clone();
        let write = Box::new(move |out: &mut StreamWriter| directory.write(out));
        Job::unplanned(None, write)
    }

    fn write(&self, out: &mut StreamWriter) -> Result<(), SourceError> {
        let tree = DirectoryTar::open(&self.path, &self.prefix).map_err(|error| {
            Concealed::telling("the directory cannot be read", error.to_string())
        })?;
        let rows = out.clone();
        let mut tar = TarWriter::new(out);
        tree.write_to(&mut tar, |event| match event {
            Event::Archived { .. } => rows.add_rows(1),
            Event::Skipped { member, reason } => {
                let member = String::from_utf8_lossy(member);
                tracing::warn!(%member, %reason, "left out of the archive");
            }
            _ => {}
        })?;
        tar.finish()?;
        Ok(())
    }
}
