//! Why there is no object, and whether something of it was left behind.

use std::{error::Error as StdError, fmt};

/// Why an upload failed: the source, the store, or a stop; and whether the store could be
/// cleaned.
#[derive(Debug)]
pub struct UploadError {
    why: datastreamer::Error,
    left_behind: Option<object_store::Error>,
}

impl UploadError {
    pub(crate) fn new(why: datastreamer::Error, left_behind: Option<object_store::Error>) -> Self {
        Self { why, left_behind }
    }

    /// Returns why the upload failed: what the stream's record tells too. Where it was the
    /// store, the kind is [`datastreamer::ErrorKind::ConsumerFailed`] and the source is an
    /// [`object_store::Error`].
    pub fn why(&self) -> &datastreamer::Error {
        &self.why
    }

    /// Returns why parts may have stayed in the store, if removing them failed: the operator
    /// pays for them until a lifecycle rule takes them away.
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
