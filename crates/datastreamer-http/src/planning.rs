//! What a source reports after planning, before it writes, to the head of its response.
//!
//! `response.rs` makes it for a source that plans on its own thread after its admission.

use std::time::Duration;

use tokio::sync::oneshot;

/// What is known about a file after planning, before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "`PlanReport::done` takes it"]
pub struct Planned {
    pub(crate) length: Option<u64>,
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

    /// Sets how long the head waits from now on; overrides
    /// [`Download::commit_after`](crate::Download::commit_after). `None`: as that has it.
    pub fn commit_after(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.commit_after = time.into();
        self
    }
}

/// Lets a source report, once, that it has planned.
///
/// [`Download::respond_planned`](crate::Download::respond_planned) passes it to the source. Dropping
/// it without a report makes the commit window begin.
#[derive(Debug)]
pub struct PlanReport {
    sender: oneshot::Sender<Planned>,
    head_only: bool,
}

/// Receives the report for the response.
pub(crate) type Planning = oneshot::Receiver<Planned>;

impl PlanReport {
    pub(crate) fn new(head_only: bool) -> (Self, Planning) {
        let (sender, planning) = oneshot::channel();
        (Self { sender, head_only }, planning)
    }

    /// Returns whether the request is HEAD: the source plans, reports, and writes nothing.
    pub fn is_head_only(&self) -> bool {
        self.head_only
    }

    /// Reports that planning has succeeded.
    ///
    /// A source that knows the length should also promise it
    /// ([`StreamWriter::promise_length`](datastreamer::StreamWriter::promise_length)), unless the
    /// request is HEAD.
    pub fn done(self, planned: Planned) {
        // A response that was dropped needs no report.
        let _given_up = self.sender.send(planned);
    }
}
