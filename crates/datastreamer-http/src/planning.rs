//! What a source finds out before it writes, told to the head of its response.
//!
//! Made by `response.rs` for a source that plans on its own thread, once it has its place.

use std::time::Duration;

use tokio::sync::oneshot;

/// What is known of a file once it is planned, and before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// Its exact length in bytes, if that is known.
    pub length: Option<u64>,
    /// How long the head waits from now on, if not for as long as
    /// [`Download::commit_after`](crate::Download::commit_after) says.
    pub commit_after: Option<Duration>,
}

/// The source's end: it reports once that it has planned, or fails.
///
/// Given by [`Download::respond_planned`](crate::Download::respond_planned). Dropping it without a
/// report has the commit window begin.
#[derive(Debug)]
pub struct PlanReport {
    sender: oneshot::Sender<Planned>,
    head_only: bool,
}

/// The response's end.
pub(crate) type Planning = oneshot::Receiver<Planned>;

impl PlanReport {
    pub(crate) fn new(head_only: bool) -> (Self, Planning) {
        let (sender, planning) = oneshot::channel();
        (Self { sender, head_only }, planning)
    }

    /// Returns whether only the head is wanted: the source plans, reports, and writes nothing.
    pub fn is_head_only(&self) -> bool {
        self.head_only
    }

    /// Reports that planning has succeeded. A source that knows the length now promises it as well
    /// ([`StreamWriter::promise_length`](datastreamer::StreamWriter::promise_length)), unless only
    /// the head is wanted.
    pub fn done(self, planned: Planned) {
        // A response that has been given up needs no report.
        let _given_up = self.sender.send(planned);
    }
}
