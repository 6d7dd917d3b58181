//! The error of an upload: why there is no object, and whether parts of it may remain.
//!
//! Made by `upload.rs`.

use std::{error::Error as StdError, fmt};

/// Why an upload failed (the source, the store, or a stop), and whether its parts were removed.
#[derive(Debug)]
pub struct UploadError {
    why: datastreamer::Error,
    left_behind: Option<object_store::Error>,
}

impl UploadError {
    pub(crate) fn new(why: datastreamer::Error, left_behind: Option<object_store::Error>) -> Self {
        Self { why, left_behind }
    }

    /// Returns why the upload failed; the stream's record has the same error.
    ///
    /// If the store failed, the kind is [`datastreamer::ErrorKind::ConsumerFailed`] and the source
    /// is an [`object_store::Error`].
    pub fn why(&self) -> &datastreamer::Error {
        &self.why
    }

    /// Returns the error of removing the parts, if that failed. They may remain in the store, and
    /// are paid for until a lifecycle rule removes them.
    pub fn left_behind(&self) -> Option<&object_store::Error> {
        self.left_behind.as_ref()
    }
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)?;
        match &self.left_behind {
            Some(error) => write!(f, "; parts may be left in the store: {error}"),
            None => Ok(()),
        }
    }
}

impl StdError for UploadError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.why)
    }
}
