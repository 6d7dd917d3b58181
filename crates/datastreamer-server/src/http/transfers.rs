//! Running and recent transfers: the records for `GET /transfers` and the log.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use datastreamer::{BlockedOn, Outcome, Record, StreamHandle, StreamPool};
use datastreamer_http::Problem;
use serde_json::{Value, json};

use crate::http::{
    client::{Client, ClientKey},
    deliveries::Delivery,
};

/// Finished transfers that are kept: some minutes of a busy server. At most 6 MB: each has two texts
/// of [`TEXT_BYTES_MAX`] bytes and about 4 KB besides.
const RECENT_MAX: usize = 1000;
/// The length to which a request's target (up to 64 KiB) and an error are cut before they are kept
/// and logged, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// The transfers of one server.
#[derive(Clone)]
pub(crate) struct Transfers {
    pool: StreamPool,
    recent: Arc<Mutex<VecDeque<Ended>>>,
    running: Arc<Mutex<Vec<Running>>>,
    /// The size of the last complete file of each route, in bytes: at most one entry for each route.
    last_bytes: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// A running transfer.
struct Running {
    handle: StreamHandle,
    request: Asked,
}

/// A transfer that has ended.
struct Ended {
    client: Option<ClientKey>,
    /// As whoever operates the server sees it.
    shown: Value,
    /// Why it failed, as its client may see it.
    error: Option<String>,
}

/// What was asked, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    route: String,
    /// Cut: see [`Asked::new`].
    target: String,
    client: Option<Client>,
    /// Set when a limit has cut the rows; `None` if there are none.
    pub(crate) capped: Option<Arc<AtomicBool>>,
    /// Set when planning showed a mistake of the client's.
    pub(crate) refused: Arc<AtomicBool>,
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
            capped: None,
            refused: Arc::default(),
            delivery: None,
        }
    }

    /// Names how a transfer ended. A table that its limit has cut is `capped`: a complete file, but
    /// not all rows. A request that planning found wrong is `refused`: no failure of the source.
    fn outcome_of(&self, record: &Record) -> Option<&'static str> {
        let capped = self.capped.as_ref();
        let is_capped = capped.is_some_and(|capped| capped.load(Ordering::Relaxed));
        match record.outcome? {
            Outcome::Complete if is_capped => Some("capped"),
            Outcome::SourceError if self.is_refused() => Some("refused"),
            outcome => Some(outcome.as_str()),
        }
    }

    fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn key(&self) -> Option<ClientKey> {
        self.client.map(|client| client.key())
    }

    /// What the stream counts besides bytes.
    fn counted(&self) -> &'static str {
        match self.capped {
            Some(_) => "rows",
            None => "members",
        }
    }
}

impl Transfers {
    pub(crate) fn new(pool: StreamPool) -> Self {
        Self {
            pool,
            recent: Arc::default(),
            running: Arc::default(),
            last_bytes: Arc::default(),
        }
    }

    pub(crate) fn pool(&self) -> &StreamPool {
        &self.pool
    }

    /// Follows a stream to its end: keeps its record and logs one line.
    pub(crate) fn follow(&self, handle: StreamHandle, request: Asked) {
        let id = handle.id();
        let ended = handle.ended();
        let asked = request.clone();
        lock(&self.running).push(Running { handle, request });
        let transfers = self.clone();
        tokio::spawn(async move {
            let record = ended.await;
            log(&record, &asked);
            let complete = asked.delivery.as_ref().filter(|delivery| {
                record.outcome == Some(Outcome::Complete) && delivery.is_of_complete_file()
            });
            if let Some(delivery) = complete {
                let (route, bytes) = (asked.route.clone(), record.bytes_delivered);
                lock(&transfers.last_bytes).insert(route, bytes);
                delivery.end();
            }
            lock(&transfers.running).retain(|running| running.handle.id() != id);
            let mut recent = lock(&transfers.recent);
            if recent.len() == RECENT_MAX {
                recent.pop_front();
            }
            recent.push_back(Ended {
                client: asked.key(),
                shown: show(&record, &asked),
                error: error_for_client(&record),
            });
        });
    }

    /// Says whether every transfer has ended and is logged.
    pub(crate) fn are_logged(&self) -> bool {
        lock(&self.running).is_empty()
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
        let running: Vec<_> = lock(&self.running)
            .iter()
            .filter(|running| is_own(running.request.key()))
            .map(|running| {
                let record = running.handle.record();
                waiting += usize::from(record.blocked_on == BlockedOn::Admission);
                let shown = show(&record, &running.request);
                for_client(&shown, error_for_client(&record))
            })
            .collect();
        let recent: Vec<_> = lock(&self.recent)
            .iter()
            .rev()
            .filter(|ended| is_own(ended.client))
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
        let running: Vec<_> = lock(&self.running)
            .iter()
            .map(|running| show(&running.handle.record(), &running.request))
            .collect();
        let recent: Vec<_> = lock(&self.recent)
            .iter()
            .rev()
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cuts a text that is too long, between two characters, and shows that it did.
fn cut(text: &str) -> String {
    match text.len() > TEXT_BYTES_MAX {
        true => format!("{}…", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]),
        false => text.to_owned(),
    }
}

fn show(record: &Record, asked: &Asked) -> Value {
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
        "bytes_per_second": rate(record).round(),
        "first_byte_seconds": record.time_to_first_byte.map(seconds),
        "blocked_on": record.outcome.is_none().then(|| record.blocked_on.as_str()),
        "blocked_on_source_seconds": seconds(record.blocked_on_source),
        "blocked_on_consumer_seconds": seconds(record.blocked_on_consumer),
        "outcome": asked.outcome_of(record),
        "error": record.error.as_ref().map(|error| cut(&error.to_string())),
    })
}

fn error_for_client(record: &Record) -> Option<String> {
    let error = record.error.as_ref();
    error.map(|error| cut(&Problem::from(error).detail))
}

fn log(record: &Record, asked: &Asked) {
    let outcome = asked.outcome_of(record).unwrap_or("unknown");
    let rows = (record.rows > 0).then_some(record.rows);
    let error = record.error.as_ref().map(|error| cut(&error.to_string()));
    let error = error.as_ref().map(tracing::field::display);
    let peer = asked.client.map(tracing::field::display);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                id = %record.id,
                request = asked.target,
                peer,
                outcome,
                error,
                bytes = record.bytes_delivered,
                rows,
                seconds = seconds(record.duration),
                bytes_per_second = rate(record).round(),
                waited_for_source = seconds(record.blocked_on_source),
                waited_for_client = seconds(record.blocked_on_consumer),
                "transfer"
            )
        };
    }
    match record.outcome {
        Some(Outcome::Complete) => line!(info),
        Some(Outcome::SourceError) if asked.is_refused() => line!(info),
        Some(Outcome::SourceError | Outcome::SourceStalled) => line!(error),
        _ => line!(warn),
    }
}

fn rate(record: &Record) -> f64 {
    record.bytes_delivered as f64 / record.duration.as_secs_f64().max(1e-6)
}

/// Seconds, rounded to the millisecond: more digits mean nothing.
fn seconds(duration: Duration) -> f64 {
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
