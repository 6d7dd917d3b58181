//! A file on disk, as it is: with its length, its validators and its ranges.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use datastreamer_http::{BareRanges, DiskFile};
use http::StatusCode;

use super::{Feed, Job, SourceError, Start};
use crate::{refusal::Refusal, units::show_bytes};

/// The source of a file's bytes.
#[derive(Clone, Debug)]
pub(crate) struct File {
    path: PathBuf,
}

impl File {
    /// Checks that the file is there and can be read.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = DiskFile::open(path);
        file.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The suffix of its name and the media type that this means.
    pub(crate) fn form(&self) -> (String, String) {
        let suffix = self.path.extension().and_then(|suffix| suffix.to_str());
        let media_type = mime_guess::from_path(&self.path).first_or_octet_stream();
        (suffix.unwrap_or("bin").to_owned(), media_type.to_string())
    }

    pub(crate) fn job(&self) -> Job {
        Job::of_file(None, start(self.path.clone()))
    }

    pub(crate) fn size_hint(&self) -> String {
        let metadata = self.path.metadata();
        metadata.map_or_else(
            |_| "not there at the moment".into(),
            |file| show_bytes(file.len()),
        )
    }
}

/// When a path was last made to lead elsewhere, if it is a link itself.
fn link_changed(path: &Path) -> Option<SystemTime> {
    let metadata = path.symlink_metadata().ok()?;
    let seconds = u64::try_from(metadata.ctime()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Opens a file when its stream has a place.
pub(crate) fn start(path: PathBuf) -> Start {
    Box::new(move |_| {
        let file = DiskFile::open(&path).map_err(|error| {
            let text = "the file cannot be read; the server's log has the reason";
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
                .caused_by(format!("{}: {error}", path.display()))
        })?;
        Ok(Feed {
            planned: file.planned(),
            // As every server of files; those that have parts of another version are on record.
            unknown_ranges: BareRanges::All,
            // A link that is turned makes the path another file.
            changed: [file.changed(), link_changed(&path)]
                .into_iter()
                .flatten()
                .max(),
            write: Box::new(move |out, pieces| {
                let written: Result<(), SourceError> = file.write(pieces, out);
                written
            }),
        })
    })
}
