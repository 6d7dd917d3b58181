//! The names of how a stream ended and of which side it waits for. Uses nothing of this crate.

use std::fmt;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The consumer has received every byte and the end.
    Complete,
    /// The consumer disconnected before the end.
    ClientGone,
    /// The consumer was dropped because it took no bytes, or too few.
    ClientStalled,
    /// The source failed, panicked, or did not write the promised length.
    SourceError,
    /// The source was stopped because it wrote nothing.
    SourceStalled,
    /// The stream was stopped by a caller, or the pool shut down.
    Cancelled,
    /// The pool had no place for the stream, or a share of the pool had none.
    Shed,
}

impl Outcome {
    /// Returns the outcome's name for records and metrics: `complete`, `client_gone`, ...
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::ClientStalled => "client_stalled",
            Self::SourceError => "source_error",
            Self::SourceStalled => "source_stalled",
            Self::Cancelled => "cancelled",
            Self::Shed => "shed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which side of a stream waits for the other at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockedOn {
    /// The stream waits for a place in the pool.
    Admission,
    /// The consumer waits: the source has nothing for it.
    Source,
    /// The source waits: the buffer is full, or the consumer paused.
    Consumer,
    /// Neither waits.
    Nobody,
}

impl BlockedOn {
    /// Returns the side's name for records: `admission`, `source`, `consumer`, `nobody`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Source => "source",
            Self::Consumer => "consumer",
            Self::Nobody => "nobody",
        }
    }
}
