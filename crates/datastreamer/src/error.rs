//! Why a stream failed or was stopped: one error type for the source, the consumer and the
//! operator.
//!
//! The kind is for code, the text for people, the cause chain for logs.

use std::{any::Any, error::Error as StdError, fmt, io, sync::Arc};

use crate::outcome::Outcome;

/// Why a stream was stopped or aborted, or why a write was refused.
///
/// Cheap to clone: the writer, the reader and the record of one stream share it.
///
/// ```
/// use datastreamer::{Error, ErrorKind};
/// let error = Error::source_failed(std::io::Error::other("row 7: no such column"));
/// assert_eq!(error.kind(), ErrorKind::SourceFailed);
/// assert_eq!(error.to_string(), "the source failed: row 7: no such column");
/// ```
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    detail: Option<Arc<str>>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kind of an [`Error`]; it says which side has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The consumer disconnected: it hung up, or the reader was dropped before the end.
    HangUp,
    /// A caller stopped the stream while the consumer was still connected.
    Stopped,
    /// The consumer took nothing within its deadline, or less than its minimum rate.
    ConsumerStalled,
    /// The consumer's own write or finish failed.
    ConsumerFailed,
    /// The source returned an error.
    SourceFailed,
    /// The source panicked.
    SourcePanicked,
    /// The source wrote nothing within its deadline.
    SourceStalled,
    /// The source wrote more or fewer bytes than it promised.
    LengthMismatch,
    /// The pool had no place for the stream, or none in time.
    Busy,
    /// The consumer has as many streams as it may have; see [`crate::Share`].
    ConsumerAtLimit,
    /// The pool is shutting down.
    ShutDown,
    /// A write was attempted after the stream had ended.
    Ended,
}

impl Error {
    /// Creates an error of a kind with a detail text, for example the reason of a stop.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: Some(detail.into().into()),
            cause: None,
        }
    }

    /// Wraps the error that a source returned.
    ///
    /// The kind is [`ErrorKind::SourceFailed`], also if an error of another stream is among the
    /// causes, which says nothing about this one. A stream that was stopped keeps the reason of the
    /// stop, whatever its source returns then.
    pub fn source_failed<E>(cause: E) -> Self
    where
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        Self::caused_by(ErrorKind::SourceFailed, boxed(cause))
    }

    /// Wraps the error that a consumer's `write` or `finish` returned. The kind is
    /// [`ErrorKind::ConsumerFailed`] even if the consumer is the writer of another stream and its
    /// error is that stream's stop reason: that reason does not apply to this stream.
    pub fn consumer_failed(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::caused_by(ErrorKind::ConsumerFailed, cause.into())
    }

    fn caused_by(kind: ErrorKind, cause: Box<dyn StdError + Send + Sync>) -> Self {
        Self {
            kind,
            detail: None,
            cause: Some(Arc::from(cause)),
        }
    }

    /// Makes the error of a source that panicked, with the panic's text if it has one.
    pub(crate) fn source_panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        match text {
            Some(text) => Self::new(ErrorKind::SourcePanicked, text),
            None => Self::of_kind(ErrorKind::SourcePanicked),
        }
    }

    pub(crate) fn of_kind(kind: ErrorKind) -> Self {
        Self {
            kind,
            detail: None,
            cause: None,
        }
    }

    /// Finds a stream's error in an error or its causes, as [`find_cause`] does; with the feature
    /// `anyhow` also inside the `anyhow::Error`s that a source has returned.
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        find_cause(error)
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether the stream got no place, so that the caller may try again later.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Busy | ErrorKind::ConsumerAtLimit | ErrorKind::ShutDown
        )
    }

    /// Returns whether nothing more may reach the consumer, not even valid bytes.
    pub(crate) fn is_consumers_loss(&self) -> bool {
        matches!(self.kind, ErrorKind::HangUp | ErrorKind::ConsumerFailed)
    }

    /// Returns the outcome of a stream that ended with this error.
    pub fn outcome(&self) -> Outcome {
        match self.kind {
            ErrorKind::HangUp | ErrorKind::ConsumerFailed => Outcome::ClientGone,
            ErrorKind::ConsumerStalled => Outcome::ClientStalled,
            ErrorKind::SourceFailed | ErrorKind::SourcePanicked | ErrorKind::LengthMismatch => {
                Outcome::SourceError
            }
            ErrorKind::SourceStalled => Outcome::SourceStalled,
            ErrorKind::Stopped | ErrorKind::ShutDown | ErrorKind::Ended => Outcome::Cancelled,
            ErrorKind::Busy | ErrorKind::ConsumerAtLimit => Outcome::Shed,
        }
    }
}

/// Boxes an error. One of `anyhow` is wrapped: in the box that `anyhow` itself makes, nobody finds the
/// error that it began with.
#[cfg(feature = "anyhow")]
fn boxed<E: Into<Box<dyn StdError + Send + Sync>> + 'static>(
    cause: E,
) -> Box<dyn StdError + Send + Sync> {
    let mut cause = Some(cause);
    let any: &mut dyn Any = &mut cause;
    match any
        .downcast_mut::<Option<anyhow::Error>>()
        .and_then(Option::take)
    {
        Some(error) => Box::new(Anyhow(error)),
        None => cause.map_or_else(|| "an error".into(), Into::into),
    }
}

#[cfg(not(feature = "anyhow"))]
fn boxed<E: Into<Box<dyn StdError + Send + Sync>> + 'static>(
    cause: E,
) -> Box<dyn StdError + Send + Sync> {
    cause.into()
}

/// An error of `anyhow` whose chain of causes begins with itself.
#[cfg(feature = "anyhow")]
struct Anyhow(anyhow::Error);

#[cfg(feature = "anyhow")]
impl fmt::Display for Anyhow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With the causes: who reads the log has only this line.
        write!(f, "{:#}", self.0)
    }
}

#[cfg(feature = "anyhow")]
impl fmt::Debug for Anyhow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(feature = "anyhow")]
impl StdError for Anyhow {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let first: &(dyn StdError + 'static) = self.0.as_ref();
        Some(first)
    }
}

/// Finds an error of one type in an error or its causes; also looks inside `io::Error`s, whose `source`
/// skips the error that they wrap.
///
/// ```
/// use datastreamer::find_cause;
/// let number = "x".parse::<u8>().map_err(std::io::Error::other).map(drop);
/// let error = number.map_or_else(Box::<dyn std::error::Error>::from, |()| "it is one".into());
/// assert!(find_cause::<std::num::ParseIntError>(error.as_ref()).is_some());
/// ```
pub fn find_cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

impl ErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::HangUp => "the consumer hung up",
            Self::Stopped => "the stream was stopped",
            Self::ConsumerStalled => "the consumer stalled",
            Self::ConsumerFailed => "the consumer failed",
            Self::SourceFailed => "the source failed",
            Self::SourcePanicked => "the source panicked",
            Self::SourceStalled => "the source stalled",
            Self::LengthMismatch => "the source did not write the promised length",
            Self::Busy => "too many streams",
            Self::ConsumerAtLimit => "too many streams of one consumer",
            Self::ShutDown => "shutting down",
            Self::Ended => "the stream has ended",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.text())?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
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

impl From<Error> for io::Error {
    /// A stop, a hang-up or a failed consumer becomes `BrokenPipe`, a stall `TimedOut`, everything
    /// else `Other`. The error itself is kept inside, where [`Error::find_in`] finds it.
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::HangUp | ErrorKind::Stopped | ErrorKind::ConsumerFailed => {
                io::ErrorKind::BrokenPipe
            }
            ErrorKind::ConsumerStalled | ErrorKind::SourceStalled => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const KINDS: [(ErrorKind, Outcome, io::ErrorKind); 12] = {
        use io::ErrorKind::{BrokenPipe, Other, TimedOut};
        [
            (ErrorKind::HangUp, Outcome::ClientGone, BrokenPipe),
            (ErrorKind::Stopped, Outcome::Cancelled, BrokenPipe),
            (ErrorKind::ConsumerStalled, Outcome::ClientStalled, TimedOut),
            (ErrorKind::ConsumerFailed, Outcome::ClientGone, BrokenPipe),
            (ErrorKind::SourceFailed, Outcome::SourceError, Other),
            (ErrorKind::SourcePanicked, Outcome::SourceError, Other),
            (ErrorKind::SourceStalled, Outcome::SourceStalled, TimedOut),
            (ErrorKind::LengthMismatch, Outcome::SourceError, Other),
            (ErrorKind::Busy, Outcome::Shed, Other),
            (ErrorKind::ConsumerAtLimit, Outcome::Shed, Other),
            (ErrorKind::ShutDown, Outcome::Cancelled, Other),
            (ErrorKind::Ended, Outcome::Cancelled, Other),
        ]
    };

    #[test]
    fn every_kind_has_its_text_its_outcome_and_its_io_kind() {
        let mut texts = std::collections::HashSet::new();
        for (kind, outcome, io_kind) in KINDS {
            let error = Error::new(kind, "a detail");
            assert_eq!(error.outcome(), outcome);
            let is_refusal = outcome == Outcome::Shed || kind == ErrorKind::ShutDown;
            assert_eq!(error.is_refusal(), is_refusal, "{kind:?}");
            assert!(error.to_string().ends_with(": a detail"));
            assert!(texts.insert(Error::of_kind(kind).to_string()));
            let io_error = io::Error::from(error);
            assert_eq!(io_error.kind(), io_kind);
            assert_eq!(Error::find_in(&io_error).map(Error::kind), Some(kind));
        }
    }

    #[test]
    fn the_cause_is_kept_and_told_once() {
        let error = Error::source_failed(io::Error::other("row 7"));
        assert_eq!(error.to_string(), "the source failed: row 7");
        assert_eq!(
            format!("{error:?}"),
            "Error(SourceFailed: the source failed: row 7)"
        );
        assert_eq!(error.source().unwrap().to_string(), "row 7");
        assert_eq!(
            Error::source_failed("text").to_string(),
            "the source failed: text"
        );
    }

    #[derive(Debug)]
    struct Wrapping(Box<dyn StdError + Send + Sync>);

    impl fmt::Display for Wrapping {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapping")
        }
    }

    impl StdError for Wrapping {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(self.0.as_ref())
        }
    }

    #[test]
    fn the_reason_of_a_stop_is_found_however_deep_a_source_wraps_it() {
        let stop = Error::new(ErrorKind::HangUp, "gone");
        let wrapped = Wrapping(Box::new(io::Error::other(Wrapping(Box::new(
            io::Error::from(stop),
        )))));
        let found = Error::find_in(&wrapped).unwrap();
        assert_eq!(found.to_string(), "the consumer hung up: gone");
        // It may be that of another stream.
        assert_eq!(
            Error::source_failed(wrapped).kind(),
            ErrorKind::SourceFailed
        );
        assert!(Error::find_in(&io::Error::from(io::ErrorKind::NotFound)).is_none());
    }
}
