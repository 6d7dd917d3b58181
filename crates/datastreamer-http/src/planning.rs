//! What a source reports after planning, before it writes, to the head of its response; and what it is
//! then to write.
//!
//! `response.rs` makes the report for a source that plans on its own thread after its admission.

use tokio::sync::oneshot;

use crate::{
    conditions::{Conditions, Decision},
    pieces::Pieces,
    planned::Planned,
    problem::Problem,
};

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

impl Report {
    /// Returns how many bytes the source is to write, if that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.decision {
            Decision::Send { pieces, .. } => pieces.length(),
            Decision::NotModified | Decision::Refuse(..) => None,
        }
    }
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

    /// Returns whether the request is for the last bytes only (`bytes=-8`), as programs that read parts of a
    /// file begin, and none that resumes does.
    pub fn is_for_last_bytes(&self) -> bool {
        self.conditions.is_for_last_bytes()
    }

    /// Returns the first byte of the request's range. `None`: it has no range, several, or one of the last
    /// bytes.
    pub fn range_start(&self) -> Option<u64> {
        self.conditions.range_start()
    }

    /// Returns the problem that the request gets instead of a file that is planned like this: its
    /// preconditions (412) or its ranges (416) do not fit. [`done`](Self::done) then returns `None`.
    pub fn refusal(&self, planned: &Planned) -> Option<Problem> {
        match self.conditions.decide(planned) {
            Decision::Refuse(problem, _) => Some(problem),
            Decision::Send { .. } | Decision::NotModified => None,
        }
    }

    /// Reports that planning has succeeded, and returns what the source is to write. `None`: nothing, as
    /// the request is HEAD, or its preconditions say that the client needs no bytes.
    ///
    /// A source without [`ranges`](Planned::ranges) gets the complete file. If the length of the pieces is
    /// known, it is promised: a source that writes more or less fails with
    /// [`ErrorKind::LengthMismatch`](datastreamer::ErrorKind::LengthMismatch).
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
