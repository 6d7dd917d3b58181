//! Why the spool refuses or fails, and why a production has failed.
//!
//! The kind is for code, the text for the operator. Clients are told neither paths nor errors of
//! the system: callers choose a status by the kind.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use datastreamer::find_cause;

/// Why the spool could not do what was asked. Cheap to clone.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    detail: Arc<str>,
    cause: Option<Arc<io::Error>>,
}

/// The kind of an [`Error`]; it says who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The folder belongs to another process.
    Locked,
    /// The file system failed, or is full.
    Storage,
    /// All productions together would be larger than they may be, and none can be evicted.
    Full,
    /// There are as many productions as there may be, and none can be evicted.
    TooMany,
    /// The productions of one client would be larger than they may be.
    ClientFull,
    /// The production would be larger than it may be.
    TooLarge,
    /// A range ends behind the production's end.
    OutOfRange,
    /// The production's file is not what was written.
    Damaged,
    /// Another request that begins the same production does not come back.
    Busy,
    /// The spool was closed.
    Closed,
    /// The system has no thread or no random numbers.
    System,
    /// A text of the caller is not valid.
    Invalid,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            cause: None,
        }
    }

    /// An error of the file system, with what was tried.
    pub(crate) fn storage(detail: impl Into<Arc<str>>, cause: io::Error) -> Self {
        Self {
            kind: ErrorKind::Storage,
            detail: detail.into(),
            cause: Some(Arc::new(cause)),
        }
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether there was no room: a limit of the spool, or a full disk or quota. A client
    /// may be told 507 (Insufficient Storage, RFC 4918, section 11.5).
    pub fn is_out_of_room(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self.kind {
            ErrorKind::Full | ErrorKind::TooMany | ErrorKind::ClientFull | ErrorKind::TooLarge => {
                true
            }
            ErrorKind::Storage => self.cause.as_ref().is_some_and(|cause| {
                matches!(cause.kind(), StorageFull | QuotaExceeded | FileTooLarge)
            }),
            _ => false,
        }
    }

    /// Finds an error of the spool in an error or its causes, for example in that of a stream.
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        find_cause(error)
    }
}

impl ErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::Locked => "the spool's folder is in use",
            Self::Storage => "the spool's storage failed",
            Self::Full => "the spool is full",
            Self::TooMany => "the spool has too many productions",
            Self::ClientFull => "the client has too much in the spool",
            Self::TooLarge => "the production is too large for the spool",
            Self::OutOfRange => "the range is not in the production",
            Self::Damaged => "the production's file is damaged",
            Self::Busy => "the production does not begin",
            Self::Closed => "the spool is closed",
            Self::System => "the system gives the spool too little",
            Self::Invalid => "not valid",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.text(), self.detail)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause
            .as_ref()
            .map(|cause| cause.as_ref() as &(dyn StdError + 'static))
    }
}

/// Why a production has failed: its source did, or the spool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The source failed, panicked, stalled, got no place, or was stopped because nobody read it.
    Source(datastreamer::Error),
    /// The spool had no room, or its storage failed.
    Spool(Error),
}

impl Failure {
    /// The error that readers are aborted with: that of the source as it is, or one that has the
    /// spool's error as its cause.
    pub(crate) fn to_stream_error(&self) -> datastreamer::Error {
        match self {
            Self::Source(error) => error.clone(),
            Self::Spool(error) => datastreamer::Error::source_failed(error.clone()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Spool(error) => error.fmt(f),
        }
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::Spool(error) => Some(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Spool(error)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_limit_and_a_full_disk_are_out_of_room_and_a_broken_disk_is_not() {
        assert!(Error::new(ErrorKind::ClientFull, "x").is_out_of_room());
        assert!(!Error::new(ErrorKind::Damaged, "x").is_out_of_room());
        // ENOSPC, EIO
        for (code, out_of_room) in [(28, true), (5, false)] {
            let error = Error::storage("x", io::Error::from_raw_os_error(code));
            assert_eq!(error.is_out_of_room(), out_of_room);
        }
    }

    #[test]
    fn an_error_of_the_spool_is_found_in_that_of_a_stream() {
        let own = Error::new(ErrorKind::Full, "10 of 10 bytes");
        let stream = Failure::from(own).to_stream_error();
        let found = Error::find_in(&stream).unwrap();
        assert_eq!(found.kind(), ErrorKind::Full);
        assert!(Error::find_in(&io::Error::from(stream)).is_some());
    }
}
