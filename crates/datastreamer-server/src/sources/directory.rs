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
    directory::{DirectoryTar, Event, Hidden, OnChange, SkipReason, Survey},
    tar::TarWriter,
};
use http::StatusCode;

use super::{DataState, Feed, Fingerprint, Job, SourceError};
use crate::refusal::{Concealed, Refusal};

const UNREADABLE: &str = "the directory cannot be read";

/// Which directory is archived, and how.
#[derive(Clone, Debug)]
pub(crate) struct DirectoryOptions {
    pub(crate) path: PathBuf,
    pub(crate) on_change: OnChange,
    pub(crate) hidden: Hidden,
    /// Whether its archive is named and measured before it is written, and fails if the tree changes.
    pub(crate) is_stable: bool,
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
        if !self.options.is_stable {
            let write =
                Box::new(move |out: &mut StreamWriter| directory.write(None, &counted, out));
            return Job {
                frozen,
                ..Job::unplanned(None, write)
            };
        }
        let start = Box::new(move |_: &StreamWriter| {
            let survey = directory.survey()?;
            let write = Box::new(move |out: &mut StreamWriter| {
                directory.write(Some(survey), &counted, out)
            });
            Ok(Feed::of_stream(Some(survey.archive_bytes), None, write))
        });
        Job {
            frozen,
            fingerprint: Some(self.fingerprint()),
            is_repeatable: true,
            ..Job::planned(start)
        }
    }

    /// Looks at the names, sizes and times of all members.
    fn fingerprint(&self) -> Fingerprint {
        let directory = self.clone();
        Arc::new(move || {
            let survey = directory.survey()?;
            Ok(DataState {
                fingerprint: survey.fingerprint,
                changed: survey.changed,
            })
        })
    }

    fn survey(&self) -> Result<Survey, Refusal> {
        let survey = self.tree().and_then(|tree| tree.survey());
        survey.map_err(|error| {
            let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, UNREADABLE);
            refusal.caused_by(error)
        })
    }

    fn tree(&self) -> io::Result<DirectoryTar> {
        let tree = DirectoryTar::open(&self.options.path, &self.prefix)?;
        Ok(tree
            .with_on_change(self.options.on_change)
            .with_hidden(self.options.hidden))
    }

    fn write(
        &self,
        survey: Option<Survey>,
        frozen: &AtomicU64,
        out: &mut StreamWriter,
    ) -> Result<(), SourceError> {
        let mut tree = self
            .tree()
            .map_err(|error| Concealed::telling(UNREADABLE, error.to_string()))?;
        if let Some(survey) = survey {
            tree = tree.unchanged_since(&survey);
        }
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
