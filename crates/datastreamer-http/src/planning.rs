//! What a source reports after planning, before it writes, to the head of its response; and what it is
//! then to write.
//!
//! `response.rs` makes the report for a source that plans on its own thread after its admission.

use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use crate::{
    conditions::{Conditions, Decision, Needs},
    etag::ETag,
    pieces::Pieces,
};

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

    /// Sets when the file was last changed.
    pub fn last_modified(mut self, time: impl Into<Option<SystemTime>>) -> Self {
        self.last_modified = time.into();
        self
    }

    /// Says that the source writes whatever [`Pieces`] it is given, so ranges are honoured.
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
    /// All: the client is known to have no bytes of another version, or that is its own affair, as with
    /// most servers of files.
    All,
}

/// Lets a source report, once, that it has planned.
///
/// [`Download::respond_planned`](crate::Download::respond_planned) passes it to the source. Dropping
/// it without a report makes the commit window begin.
#[derive(Debug)]
pub struct PlanReport {
    sender: oneshot::Sender<Report>,
    conditions: Conditions,
    head_only: bool,
    is_coded: bool,
}

/// What a source has planned, and what its request gets.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) planned: Planned,
    pub(crate) decision: Decision,
}

/// Receives the report for the response.
pub(crate) type Planning = oneshot::Receiver<Report>;

impl PlanReport {
    pub(crate) fn new(head_only: bool, is_coded: bool, conditions: Conditions) -> (Self, Planning) {
        let (sender, planning) = oneshot::channel();
        let report = Self {
            sender,
            conditions,
            head_only,
            is_coded,
        };
        (report, planning)
    }

    /// Returns whether the request is HEAD: the source plans, reports, and writes nothing.
    pub fn is_head_only(&self) -> bool {
        self.head_only
    }

    /// Returns whether the response will have a content coding: other bytes than those of the file.
    pub fn is_coded(&self) -> bool {
        self.is_coded
    }

    /// Returns whether the request has ranges.
    pub fn has_ranges(&self) -> bool {
        self.conditions.has_ranges()
    }

    /// Returns what must be known of a file that is still being made before its plan is reported.
    pub fn needs(&self) -> Needs {
        self.conditions.needs()
    }

    /// Reports that planning has succeeded, and returns what the source is to write. `None`: nothing, as
    /// the request is HEAD, or its preconditions say that the client needs no bytes.
    ///
    /// A source without [`ranges`](Planned::ranges) gets the complete file. A source that knows the
    /// length should also promise it
    /// ([`StreamWriter::promise_length`](datastreamer::StreamWriter::promise_length)): that of the
    /// pieces.
    pub fn done(self, planned: Planned) -> Option<Pieces> {
        let decision = self.conditions.decide(&planned);
        let pieces = match &decision {
            Decision::Send { pieces, .. } if !self.head_only => Some(pieces.clone()),
            _ => None,
        };
        // A response that was dropped needs no report.
        let _given_up = self.sender.send(Report { planned, decision });
        pieces
    }
}
