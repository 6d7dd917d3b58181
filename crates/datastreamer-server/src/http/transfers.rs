//! Running and recent transfers: the records for `GET /transfers`, for receipts, and for the log.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use datastreamer::{
    BlockedOn, Error, ErrorKind, Outcome, Record, StreamHandle, StreamId, StreamPool,
};
use datastreamer_http::Problem;
use datastreamer_spool::{Error as SpoolError, Production, ProductionId};
use lru::LruCache;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    http::{
        client::{Client, ClientKey, Sees},
        deliveries::Delivery,
        health::Attempt,
        produced::Produced,
        receipt::{Proof, Receipt, ReceiptId, receipt},
        versions::Lengths,
    },
    sources::RowFacts,
};

/// Finished transfers that are kept, for the list and for receipts: some minutes of a busy server. At
/// most 8 MB: each has up to four texts of [`TEXT_BYTES_MAX`] bytes and about 4 KB besides.
const RECENT_MAX: usize = 1000;
/// Productions of rows of which it is known whether a limit has cut them: as many as there are receipts.
const ROW_FACTS_MAX: NonZeroUsize = NonZeroUsize::new(RECENT_MAX).unwrap();
/// The length to which a request's target (up to 64 KiB) and an error are cut before they are kept
/// and logged, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1024;
/// How long a receipt waits for the digests of a file whose last byte has been sent: its last pieces
/// are being digested, which takes milliseconds. Clients ask again for about a second.
const PROOF_WAIT: Duration = Duration::from_secs(5);
/// The outcome of what the spool could not keep.
pub(super) const SPOOL_ERROR: &str = "spool_error";
/// What a receipt says of a transfer that was stopped through it.
pub(crate) const CANCELLED: &str = "the transfer was cancelled";
const CLIENT_LEFT: &str = "the client closed the connection before the file was complete";
const CLIENT_STALLED: &str = "the client took too little for too long";

/// The transfers of one server.
#[derive(Clone)]
pub(crate) struct Transfers {
    pool: StreamPool,
    recent: Arc<Mutex<VecDeque<Ended>>>,
    running: Arc<Mutex<Vec<Running>>>,
    /// The size of the last complete file of each route, in bytes: at most one entry for each route.
    last_bytes: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Files that are made for later.
    pub(super) produced: Arc<Mutex<Vec<Produced>>>,
    /// Sources of productions whose end is not yet logged.
    pub(super) sources: Arc<AtomicUsize>,
    lengths: Lengths,
    /// What is known of the rows of productions, for those that join them.
    pub(super) row_facts: Arc<Mutex<LruCache<ProductionId, Arc<RowFacts>>>>,
    /// For how long a receipt is kept; zero: there are none.
    receipts: Duration,
}

/// A running transfer.
struct Running {
    handle: StreamHandle,
    request: Asked,
    /// Closes when the transfer has ended and is on record.
    open: watch::Receiver<()>,
}

/// A transfer that has ended.
pub(super) struct Ended {
    pub(super) receipt: Option<ReceiptId>,
    /// `None`: the record is that of a production, which no client has received.
    pub(super) stream: Option<StreamId>,
    pub(super) since: Instant,
    pub(super) client: Option<ClientKey>,
    /// As whoever operates the server sees it.
    pub(super) shown: Value,
    /// Why it failed, as its client may see it.
    pub(super) error: Option<String>,
    pub(super) proof: Option<Proof>,
    /// The URL of a file that was made for later.
    pub(super) file: Option<String>,
}

/// What a request to stop a transfer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    Unknown,
    /// It is the transfer of another client.
    Forbidden,
    HasEnded,
    Done,
}

/// How a request names a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// Whoever knows it may read the receipt.
    Receipt(ReceiptId),
    /// As `/transfers` has it, for those who see the transfer there.
    Stream(String),
}

impl Name {
    pub(crate) fn parse(text: &str) -> Self {
        match ReceiptId::parse(text) {
            Some(id) => Self::Receipt(id),
            None => Self::Stream(text.to_owned()),
        }
    }

    fn is(
        &self,
        receipt: Option<ReceiptId>,
        stream: Option<StreamId>,
        owner: Option<ClientKey>,
        client: Option<Client>,
    ) -> bool {
        match self {
            Self::Receipt(id) => receipt == Some(*id),
            Self::Stream(name) => {
                may_stop(client, owner) && stream.is_some_and(|id| id.to_string() == *name)
            }
        }
    }
}

/// Returns whether a client sees the transfers of another one in `/transfers`, and may stop them.
pub(super) fn may_stop(client: Option<Client>, owner: Option<ClientKey>) -> bool {
    match client.map(|client| (client.sees, client.key())) {
        Some((Sees::All, _)) => true,
        Some((Sees::Own, key)) => owner == Some(key),
        Some((Sees::Nothing, _)) | None => false,
    }
}

/// The production that a response is read from. It is held until the response has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin(Arc<Mutex<Option<(Production, Coding)>>>);

/// Whether the bytes of a response are those of its production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Plain,
    /// A coder made others of them, which have no digest.
    Coded,
}

impl Origin {
    pub(crate) fn set(&self, production: Production, coding: Coding) {
        *lock(&self.0) = Some((production, coding));
    }

    pub(super) fn id(&self) -> Option<ProductionId> {
        lock(&self.0)
            .as_ref()
            .map(|(production, _)| production.id())
    }

    /// Gives the production back; returns the proof of its bytes.
    async fn take_proof(&self, outcome: Option<Outcome>) -> Option<Proof> {
        let taken = lock(&self.0).take();
        let (production, coding) = taken?;
        if coding == Coding::Coded {
            return None;
        }
        let has_all = production.length() == Some(production.bytes_so_far());
        if has_all && outcome == Some(Outcome::Complete) {
            // A client may have the last byte before the digests are there.
            let produced = production.reached(u64::MAX);
            let _in_time = tokio::time::timeout(PROOF_WAIT, produced).await;
        }
        Proof::of(&production)
    }
}

/// What was asked, and by whom.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(super) route: String,
    /// Cut: see [`Asked::new`].
    pub(super) target: String,
    pub(super) client: Option<Client>,
    /// `None`: there is no receipt.
    pub(crate) receipt: Option<ReceiptId>,
    pub(crate) origin: Origin,
    pub(crate) gives_rows: bool,
    /// What becomes known of the rows of the run that the response is read from.
    pub(crate) facts: Arc<OnceLock<Arc<RowFacts>>>,
    /// Set when planning showed a mistake of the client's.
    pub(crate) refused: Arc<AtomicBool>,
    /// The files of an archive that are not in it to their ends.
    pub(crate) frozen: Arc<AtomicU64>,
    /// Is told how the stream has ended.
    pub(crate) attempt: Option<Attempt>,
    /// Is told when the client has received everything.
    pub(crate) delivery: Option<Delivery>,
}

impl Asked {
    /// `target` is the path and the query; a long one is cut.
    pub(crate) fn new(route: &str, target: &str, client: Option<Client>) -> Self {
        Self {
            route: route.to_owned(),
            target: cut(target),
            client,
            receipt: None,
            origin: Origin::default(),
            gives_rows: false,
            facts: Arc::default(),
            refused: Arc::default(),
            frozen: Arc::default(),
            attempt: None,
            delivery: None,
        }
    }

    /// Names how a transfer ended. A table that its limit has cut is `capped`: a complete file, but
    /// not all rows. A request that planning found wrong, or whose preconditions or ranges do not fit, is
    /// `refused`: no failure of the source.
    pub(super) fn outcome_of(&self, record: &Record) -> Option<&'static str> {
        let facts = self.facts.get();
        let is_capped = facts.is_some_and(|facts| facts.is_cut() == Some(true));
        match record.outcome? {
            _ if self.condition_refused().is_some() => Some("refused"),
            Outcome::Complete if is_capped => Some("capped"),
            Outcome::SourceError if self.is_refused() => Some("refused"),
            Outcome::SourceError if record.error.as_ref().is_some_and(is_of_spool) => {
                Some(SPOOL_ERROR)
            }
            outcome => Some(outcome.as_str()),
        }
    }

    /// Whether a limit has cut the rows of a transfer that has ended, with this outcome; `None` if that is
    /// not known: it is one with a limit that did not read so far, or a part of a file that others make.
    pub(super) fn is_capped(&self, outcome: Option<&str>) -> Option<bool> {
        outcome?;
        match self.facts.get() {
            Some(facts) if facts.limit.is_some() => facts.is_cut(),
            None if self.gives_rows => None,
            _ => Some(false),
        }
    }

    fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns the problem that the client got instead of a file that its preconditions or ranges did not
    /// fit.
    fn condition_refused(&self) -> Option<&Problem> {
        self.delivery.as_ref()?.refusal()
    }

    /// Returns what was wrong. `tell` has the words for an error of the stream.
    fn error_of(&self, record: &Record, tell: fn(&Error) -> String) -> Option<String> {
        match self.condition_refused() {
            Some(problem) => Some(problem.detail.clone()),
            None => record.error.as_ref().map(tell),
        }
    }

    /// Returns the status of a refused request.
    fn refused_status(&self, record: &Record) -> Option<u16> {
        let refused = self.condition_refused().map(|problem| problem.status);
        let planned = || {
            let error = record.error.as_ref().filter(|_| self.is_refused());
            error.map(|error| Problem::from(error).status)
        };
        refused.or_else(planned).map(|status| status.as_u16())
    }

    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn key(&self) -> Option<ClientKey> {
        self.client.map(|client| client.key())
    }

    /// Returns how many files were frozen, if any were.
    fn frozen(&self) -> Option<u64> {
        Some(self.frozen.load(Ordering::Relaxed)).filter(|count| *count > 0)
    }

    /// What the stream counts besides bytes.
    pub(super) fn counted(&self) -> &'static str {
        match self.gives_rows {
            true => "rows",
            false => "members",
        }
    }
}

impl Transfers {
    /// `receipts`: how long they are kept.
    pub(crate) fn new(pool: StreamPool, receipts: Duration) -> Self {
        Self {
            pool,
            recent: Arc::default(),
            running: Arc::default(),
            last_bytes: Arc::default(),
            produced: Arc::default(),
            sources: Arc::default(),
            lengths: Lengths::new(),
            row_facts: Arc::new(Mutex::new(LruCache::new(ROW_FACTS_MAX))),
            receipts,
        }
    }

    /// The lengths of what was sent.
    pub(crate) fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    pub(crate) fn pool(&self) -> &StreamPool {
        &self.pool
    }

    /// Draws the identity of a receipt, unless there are none.
    pub(crate) fn new_receipt(&self) -> Option<ReceiptId> {
        match self.receipts.is_zero() {
            true => None,
            false => ReceiptId::random(),
        }
    }

    /// Follows a stream to its end: keeps its record and logs one line.
    pub(crate) fn follow(&self, handle: StreamHandle, request: Asked) {
        let id = handle.id();
        let ended = handle.ended();
        let asked = request.clone();
        let (is_open, open) = watch::channel(());
        lock(&self.running).push(Running {
            handle,
            request,
            open,
        });
        let transfers = self.clone();
        tokio::spawn(async move {
            let record = ended.await;
            log(&record, &asked);
            if let Some(attempt) = &asked.attempt {
                attempt.end(&record, asked.is_refused());
            }
            let complete = asked.delivery.as_ref().filter(|delivery| {
                record.outcome == Some(Outcome::Complete) && delivery.is_of_complete_file()
            });
            if let Some(delivery) = complete {
                let (route, bytes) = (asked.route.clone(), record.bytes_delivered);
                lock(&transfers.last_bytes).insert(route, bytes);
                delivery.end();
            }
            let tag = asked.delivery.as_ref().and_then(Delivery::complete_tag);
            match (tag, record.outcome) {
                (Some(tag), Some(Outcome::Complete)) => {
                    let facts = asked.facts.get();
                    let is_cut = facts.and_then(|facts| facts.is_cut());
                    transfers.lengths.note(tag, record.bytes_delivered, is_cut);
                }
                (Some(tag), Some(Outcome::SourceError)) => transfers.lengths.note_failure(tag),
                _ => {}
            }
            let proof = asked.origin.take_proof(record.outcome).await;
            let ended = Ended {
                receipt: asked.receipt,
                stream: Some(id),
                since: Instant::now(),
                client: asked.key(),
                shown: show(&record, &asked),
                error: asked.error_of(&record, text_for_client),
                proof,
                file: None,
            };
            let mut running = lock(&transfers.running);
            transfers.keep(ended);
            running.retain(|running| running.handle.id() != id);
            drop(running);
            drop(is_open);
        });
    }

    /// Keeps what has ended, in the place of the oldest. The caller removes it from those that run
    /// while these are locked, so that it is always among one of them.
    pub(super) fn keep(&self, ended: Ended) {
        let mut recent = lock(&self.recent);
        if recent.len() == RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(ended);
    }

    /// Finds a receipt. Whoever knows its identity may read it.
    pub(crate) fn receipt(&self, name: &Name, client: Option<Client>) -> Option<Receipt> {
        let running = self.running_receipt(name, client);
        let running = running.or_else(|| self.produced_receipt(name));
        running.or_else(|| self.ended_receipt(name, client))
    }

    fn running_receipt(&self, name: &Name, client: Option<Client>) -> Option<Receipt> {
        let running = lock(&self.running);
        let found = running.iter().find(|it| it.is(name, client))?;
        let (record, request) = (found.handle.record(), &found.request);
        let mut shown = show(&record, request);
        // It has ended once it is on record.
        shown["outcome"] = Value::Null;
        shown["capped"] = Value::Null;
        Some(Receipt {
            value: receipt(&name.to_string(), &shown, None, None, None),
            running: Some(found.open.clone()),
        })
    }

    fn ended_receipt(&self, name: &Name, client: Option<Client>) -> Option<Receipt> {
        let recent = lock(&self.recent);
        let found = recent.iter().rev().find(|ended| {
            let is_kept = ended.since.elapsed() < self.receipts;
            is_kept && name.is(ended.receipt, ended.stream, ended.client, client)
        })?;
        let (reason, file) = (found.error.clone(), found.file.as_deref());
        let id = name.to_string();
        Some(Receipt {
            value: receipt(&id, &found.shown, reason, found.proof.as_ref(), file),
            running: None,
        })
    }

    /// Stops a transfer if the client may do so: the response is aborted visibly.
    pub(crate) fn cancel(&self, name: &Name, client: Option<Client>) -> Cancel {
        let found = lock(&self.running).iter().find_map(|it| {
            let handle = || (it.handle.clone(), it.request.key());
            it.is(name, client).then(handle)
        });
        if let Some((handle, owner)) = found {
            if !may_stop(client, owner) {
                return Cancel::Forbidden;
            }
            handle.stop(Error::new(ErrorKind::Stopped, CANCELLED));
            return Cancel::Done;
        }
        if let Some(cancelled) = self.cancel_produced(name, client) {
            return cancelled;
        }
        let recent = lock(&self.recent);
        let ended = recent.iter().find(|ended| {
            let is_kept = ended.since.elapsed() < self.receipts;
            is_kept && name.is(ended.receipt, ended.stream, ended.client, client)
        });
        match ended {
            None => Cancel::Unknown,
            Some(ended) if !may_stop(client, ended.client) => Cancel::Forbidden,
            Some(_) => Cancel::HasEnded,
        }
    }

    /// Returns whether a response is being read from a production.
    pub(super) fn is_read(&self, production: ProductionId) -> bool {
        let running = lock(&self.running);
        let mut readers = running.iter().map(|it| it.request.origin.id());
        readers.any(|id| id == Some(production))
    }

    /// Says whether every transfer has ended and is logged.
    pub(crate) fn are_logged(&self) -> bool {
        lock(&self.running).is_empty() && self.sources.load(Ordering::Relaxed) == 0
    }

    /// Returns how many bytes a route's file had when it was last sent to its end.
    pub(crate) fn last_bytes(&self, file_name: &str) -> Option<u64> {
        lock(&self.last_bytes).get(file_name).copied()
    }

    /// Returns the transfers of one client in the same form, with the texts of errors that are for
    /// clients. A client that is not known has none.
    pub(crate) fn to_json_of(&self, client: Option<ClientKey>) -> Value {
        let is_own = |other: Option<ClientKey>| client.is_some() && other == client;
        let for_client = |shown: &Value, error: Option<String>| {
            let mut shown = shown.clone();
            shown["error"] = error.into();
            shown
        };
        let mut waiting = 0;
        // Both at once, so that a transfer which ends meanwhile is in one of them.
        let (running, recent) = (lock(&self.running), lock(&self.recent));
        let running: Vec<_> = running
            .iter()
            .filter(|running| is_own(running.request.key()))
            .map(|running| {
                let record = running.handle.record();
                waiting += usize::from(record.blocked_on == BlockedOn::Admission);
                let shown = show(&record, &running.request);
                let error = running.request.error_of(&record, text_for_client);
                for_client(&shown, error)
            })
            .collect();
        let recent: Vec<_> = recent
            .iter()
            .rev()
            .filter(|ended| ended.stream.is_some() && is_own(ended.client))
            .map(|ended| for_client(&ended.shown, ended.error.clone()))
            .collect();
        json!({
            "active": running.len() - waiting,
            "waiting": waiting,
            "running": running,
            "recent": recent,
        })
    }

    /// Returns all transfers as JSON: the running ones first, then the recent ones, newest first.
    pub(crate) fn to_json(&self) -> Value {
        let (running, recent) = (lock(&self.running), lock(&self.recent));
        let running: Vec<_> = running
            .iter()
            .map(|running| show(&running.handle.record(), &running.request))
            .collect();
        let recent: Vec<_> = recent
            .iter()
            .rev()
            .filter(|ended| ended.stream.is_some())
            .map(|ended| ended.shown.clone())
            .collect();
        json!({
            "active": self.pool.active(),
            "waiting": self.pool.waiting(),
            "running": running,
            "recent": recent,
        })
    }
}

impl Running {
    fn is(&self, name: &Name, client: Option<Client>) -> bool {
        let (receipt, owner) = (self.request.receipt, self.request.key());
        name.is(receipt, Some(self.handle.id()), owner, client)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receipt(id) => id.fmt(f),
            Self::Stream(id) => id.fmt(f),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts a text that is too long, between two characters, and shows that it did.
pub(crate) fn cut(text: &str) -> String {
    match text.len() > TEXT_BYTES_MAX {
        true => format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]),
        false => text.to_owned(),
    }
}

fn show(record: &Record, asked: &Asked) -> Value {
    let outcome = asked.outcome_of(record);
    json!({
        "id": record.id.to_string(),
        "route": asked.route,
        "request": asked.target,
        "peer": asked.client.map(|client| client.to_string()),
        "started": humantime::format_rfc3339_millis(record.started).to_string(),
        "seconds": seconds(record.duration),
        "bytes": record.bytes_delivered,
        "bytes_written": record.bytes_written,
        "bytes_expected": record.bytes_expected,
        "chunks": record.chunks_delivered,
        asked.counted(): (record.rows > 0).then_some(record.rows),
        "rows_expected": record.rows_expected,
        "frozen_members": asked.frozen(),
        "bytes_per_second": rate(record).round(),
        "first_byte_seconds": record.time_to_first_byte.map(seconds),
        "blocked_on": record.outcome.is_none().then(|| record.blocked_on.as_str()),
        "blocked_on_source_seconds": seconds(record.blocked_on_source),
        "blocked_on_consumer_seconds": seconds(record.blocked_on_consumer),
        "outcome": outcome,
        "capped": asked.is_capped(outcome),
        "error": asked.error_of(record, text_for_operator),
    })
}

fn is_of_spool(error: &Error) -> bool {
    SpoolError::find_in(error).is_some()
}

fn text_for_operator(error: &Error) -> String {
    cut(&error.to_string())
}

/// What clients are told of an error.
pub(super) fn text_for_client(error: &Error) -> String {
    // None of these is a failure of the source.
    match (error.kind(), SpoolError::find_in(error)) {
        (ErrorKind::Stopped, _) => CANCELLED.to_owned(),
        (ErrorKind::HangUp | ErrorKind::ConsumerFailed, None) => CLIENT_LEFT.to_owned(),
        (ErrorKind::ConsumerStalled, None) => CLIENT_STALLED.to_owned(),
        (_, Some(error)) => Problem::from(error).detail,
        _ => cut(&Problem::from(error).detail),
    }
}

fn log(record: &Record, asked: &Asked) {
    let outcome = asked.outcome_of(record).unwrap_or("unknown");
    let counted = (record.rows > 0).then_some(record.rows);
    let error = asked.error_of(record, text_for_operator);
    let error = error.as_ref().map(tracing::field::display);
    let peer = asked.client.map(tracing::field::display);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                id = %record.id,
                request = asked.target,
                peer,
                outcome,
                status = asked.refused_status(record),
                error,
                bytes = record.bytes_delivered,
                rows = counted.filter(|_| asked.gives_rows),
                members = counted.filter(|_| !asked.gives_rows),
                frozen = asked.frozen(),
                seconds = seconds(record.duration),
                bytes_per_second = rate(record).round(),
                waited_for_source = seconds(record.blocked_on_source),
                waited_for_client = seconds(record.blocked_on_consumer),
                "transfer"
            )
        };
    }
    match record.outcome {
        // Clients leave all the time: that is no matter for the operator.
        Some(Outcome::Complete | Outcome::ClientGone) => line!(info),
        Some(Outcome::SourceError) if asked.is_refused() => line!(info),
        Some(Outcome::SourceError | Outcome::SourceStalled) => line!(error),
        _ => line!(warn),
    }
}

fn rate(record: &Record) -> f64 {
    record.bytes_delivered as f64 / record.duration.as_secs_f64().max(1e-6)
}

/// Seconds, rounded to the millisecond: more digits mean nothing.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// When the process began, for `/healthz`.
pub(crate) fn uptime(since: SystemTime) -> f64 {
    seconds(since.elapsed().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        for text in ["", "short", &"x".repeat(TEXT_BYTES_MAX)] {
            assert_eq!(cut(text), text);
        }
        let euros = "€".repeat(TEXT_BYTES_MAX);
        assert_eq!(cut(&euros), format!("{}…", "€".repeat(TEXT_BYTES_MAX / 3)));
    }
}
