//! What is known of a file before it is written. `planning.rs` hands it to the response.

use std::time::{Duration, SystemTime};

use datastreamer::ETag;

/// What is known about a file after planning, before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "`PlanReport::done` takes it"]
pub struct Planned {
    pub(crate) length: Option<u64>,
    pub(crate) length_at_least: u64,
    pub(crate) etag: Option<ETag>,
    pub(crate) last_modified: Option<SystemTime>,
    pub(crate) has_ranges: bool,
    pub(crate) bare_ranges: BareRanges,
    pub(crate) commit_after: Option<Duration>,
}

impl Planned {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the exact length in bytes, if it is known.
    pub fn length(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.length = bytes.into();
        self
    }

    /// Says that the file, of unknown length, has these many bytes already: a bounded range within them
    /// can be sent.
    pub fn length_at_least(mut self, bytes: u64) -> Self {
        self.length_at_least = bytes;
        self
    }

    /// Sets the strong entity tag: whatever has this tag has exactly these bytes. `None`: nobody can
    /// promise that.
    pub fn etag(mut self, etag: impl Into<Option<ETag>>) -> Self {
        self.etag = etag.into();
        self
    }

    /// Returns the length, if it is known.
    pub fn known_length(&self) -> Option<u64> {
        self.length
    }

    /// Returns the entity tag, if there is one.
    pub fn known_etag(&self) -> Option<&ETag> {
        self.etag.as_ref()
    }

    /// Sets when the file was last changed.
    pub fn last_modified(mut self, time: impl Into<Option<SystemTime>>) -> Self {
        self.last_modified = time.into();
        self
    }

    /// Says that the source writes whatever [`Pieces`](crate::Pieces) it is given, so ranges are honoured.
    pub fn ranges(mut self, has_ranges: bool) -> Self {
        self.has_ranges = has_ranges;
        self
    }

    /// Sets which ranges are honoured without `If-Range` or `If-Match`; by default
    /// [`BareRanges::Bounded`].
    pub fn bare_ranges(mut self, bare_ranges: BareRanges) -> Self {
        self.bare_ranges = bare_ranges;
        self
    }

    /// Sets how long the head waits from now on; overrides
    /// [`Download::commit_after`](crate::Download::commit_after). `None`: as that has it.
    pub fn commit_after(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.commit_after = time.into();
        self
    }
}

/// Which ranges behind the first byte are honoured although the request has neither `If-Range` nor
/// `If-Match`; the others are refused with 412.
///
/// curl, wget and aria2 never send `If-Range`. After a break they ask for the rest of whatever the file is
/// by then, and join both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BareRanges {
    /// None: the client has bytes of another version, or may have.
    None,
    /// Those with an end (`bytes=1000-1999`, `bytes=-8`, lists), of programs that read parts of a file. An
    /// open one (`bytes=1000-`) is a resumption: the client may have bytes of another version.
    #[default]
    Bounded,
    /// Those without an end: the client has begun this version, and may be a program that reads parts of it
    /// or one that goes on with those of another version.
    Open,
    /// All: the client is known to have no bytes of another version, or that is its own affair, as with
    /// most servers of files.
    All,
}
