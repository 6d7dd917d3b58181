//! Runs of sources whose bytes are kept: their lines in the log, and the files that are made for later
//! (`Prefer: respond-async`), which nobody reads while they are made.
//!
//! Called by `respond.rs`; `transfers.rs` has the list and asks here for what a receipt needs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use datastreamer::{Error, ErrorKind, Outcome, StreamHandle};
use datastreamer_http::{DownloadBody, Problem};
use datastreamer_spool::{Failure, How, Production, State};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::{
    http::{
        client::Client,
        health::Attempt,
        receipt::{Proof, Receipt, ReceiptId, receipt},
        transfers::{
            Asked, CANCELLED, Cancel, Ended, Name, SPOOL_ERROR, TEXT_BYTES_MAX, Transfers, cut,
            lock, may_stop, seconds, text_for_client,
        },
    },
    sources::RowFacts,
};

static PREFER: HeaderName = HeaderName::from_static("prefer");
static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";

/// A minute for the client to fetch a file that is kept only while somebody uses it: programs look at
/// the receipt every few seconds.
const UNCLAIMED: Duration = Duration::from_secs(60);
/// Files that are made for later, and those of the last minute: as many as there are receipts, and a
/// fifteenth of them for one client. A client that wants more gets the file itself.
const PRODUCED_MAX: usize = 1000;
const PRODUCED_PER_CLIENT_MAX: usize = 64;

/// A file that is made for later.
pub(crate) struct Produced {
    id: ReceiptId,
    asked: Asked,
    production: Production,
    how: How,
    /// Where the file is.
    file: String,
    released: Arc<Notify>,
    open: watch::Receiver<()>,
    /// It is on record, and kept a little longer.
    has_ended: bool,
}

/// Returns whether a request prefers a file that is made for later (RFC 7240, 4.1).
pub(crate) fn prefers_async(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(&PREFER).iter();
    let mut preferences = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    preferences.any(|preference| {
        let name = preference.split(|byte| *byte == b';').next();
        let name = name.unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(RESPOND_ASYNC.as_bytes())
    })
}

impl Transfers {
    /// Lets a request know what is known of the rows of the production that it reads: `facts` are those of
    /// the request itself.
    pub(crate) fn know_rows(
        &self,
        asked: &Asked,
        production: &Production,
        how: How,
        facts: Option<Arc<RowFacts>>,
    ) {
        let mut known = lock(&self.row_facts);
        let facts = match how {
            How::Begun => {
                if let Some(facts) = &facts {
                    known.put(production.id(), Arc::clone(facts));
                }
                facts
            }
            How::Joined => known.get(&production.id()).cloned().or_else(|| {
                // It is that of an earlier process, or of so many others ago.
                let note = production.note();
                facts.inspect(|facts| facts.learn(note.as_deref()))
            }),
        };
        if let Some(facts) = facts {
            let _once = asked.facts.set(facts);
        }
    }

    /// Logs the beginning and the end of a production's source, and ends the attempt of the request that
    /// has begun it: perhaps nobody reads it.
    pub(crate) fn follow_source(
        &self,
        source: &StreamHandle,
        route: &str,
        target: &str,
        refused: &Arc<AtomicBool>,
        attempt: Attempt,
    ) {
        let id = source.id();
        let (route, target) = (route.to_owned(), cut(target));
        tracing::info!(%id, route, request = target, "production begins");
        self.sources.fetch_add(1, Ordering::Relaxed);
        let (ended, refused) = (source.ended(), Arc::clone(refused));
        let transfers = self.clone();
        tokio::spawn(async move {
            let record = ended.await;
            let is_refused = refused.load(Ordering::Relaxed);
            attempt.end(&record, is_refused);
            let outcome = match record.outcome {
                Some(Outcome::SourceError) if is_refused => "refused",
                outcome => outcome.map_or("unknown", Outcome::as_str),
            };
            let error = record.error.as_ref().map(|error| cut(&error.to_string()));
            let error = error.as_ref().map(tracing::field::display);
            let rows = (record.rows > 0).then_some(record.rows);
            let (bytes, seconds) = (record.bytes_written, seconds(record.duration));
            macro_rules! line {
                ($level:ident) => {
                    tracing::$level!(%id, route, outcome, error, bytes, rows, seconds, "production")
                };
            }
            match record.outcome {
                Some(Outcome::Complete) => line!(info),
                Some(Outcome::SourceError) if is_refused => line!(info),
                Some(Outcome::SourceError | Outcome::SourceStalled) => line!(error),
                _ => line!(warn),
            }
            transfers.sources.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Follows the production of a file that is made for later, and answers with its receipt; `file` is
    /// where the client finds it. `None` if there are no receipts, the URL is long, or the client has
    /// too many such files: a preference need not be met.
    pub(crate) fn accept(
        &self,
        production: &Production,
        how: How,
        asked: Asked,
        file: &str,
    ) -> Option<Response<DownloadBody>> {
        let id = asked.receipt.filter(|_| file.len() <= TEXT_BYTES_MAX)?;
        let (is_open, open) = watch::channel(());
        let released = Arc::new(Notify::new());
        let produced = Produced {
            id,
            asked,
            production: production.clone(),
            how,
            file: file.to_owned(),
            released: Arc::clone(&released),
            open,
            has_ended: false,
        };
        let value = produced.receipt(&produced.show(None));
        self.list_produced(produced)?;
        let finished = production.finished();
        let transfers = self.clone();
        tokio::spawn(async move {
            let state = tokio::select! {
                state = finished => Some(state),
                () = released.notified() => None,
            };
            transfers.end_produced(id, state.as_ref());
            drop(is_open);
            if matches!(state, Some(State::Complete)) {
                tokio::time::sleep(UNCLAIMED).await;
            }
            transfers.forget_produced(id);
        });
        Some(accepted(id, file, &value))
    }

    fn list_produced(&self, produced: Produced) -> Option<()> {
        let mut list = lock(&self.produced);
        let key = produced.asked.key();
        let own = list.iter().filter(|it| it.asked.key() == key).count();
        let has_room = list.len() < PRODUCED_MAX && own < PRODUCED_PER_CLIENT_MAX;
        has_room.then(|| list.push(produced))
    }

    /// Puts a file that was made for later on record. `None`: it was cancelled.
    fn end_produced(&self, id: ReceiptId, state: Option<&State>) {
        let mut list = lock(&self.produced);
        if let Some(produced) = list.iter_mut().find(|it| it.id == id) {
            produced.has_ended = true;
            self.keep(produced.ended(state));
        }
    }

    fn forget_produced(&self, id: ReceiptId) {
        let mut list = lock(&self.produced);
        let at = list.iter().position(|it| it.id == id);
        let forgotten = at.map(|at| list.swap_remove(at));
        drop(list);
        // After unlocking: without its last user a production may be stopped or removed.
        drop(forgotten);
    }

    pub(super) fn produced_receipt(&self, name: &Name) -> Option<Receipt> {
        let list = lock(&self.produced);
        let found = list.iter().find(|it| it.is(name))?;
        Some(Receipt {
            value: found.receipt(&found.show(None)),
            running: Some(found.open.clone()),
        })
    }

    /// Cancels a file that is made for later. The source goes on if others want the file: it was
    /// there before, or is being read.
    pub(super) fn cancel_produced(&self, name: &Name, client: Option<Client>) -> Option<Cancel> {
        let list = lock(&self.produced);
        let found = list.iter().find(|it| it.is(name))?;
        if !may_stop(client, found.asked.key()) {
            return Some(Cancel::Forbidden);
        }
        let production = found.production.clone();
        let id = production.id();
        let is_shared = found.how == How::Joined
            || self.is_read(id)
            || list
                .iter()
                .any(|it| !it.is(name) && !it.has_ended && it.production.id() == id);
        let released = Arc::clone(&found.released);
        drop(list);
        match is_shared {
            true => released.notify_one(),
            false => production.stop(Error::new(ErrorKind::Stopped, CANCELLED)),
        }
        Some(Cancel::Done)
    }
}

impl Produced {
    fn is(&self, name: &Name) -> bool {
        !self.has_ended && *name == Name::Receipt(self.id)
    }

    fn receipt(&self, shown: &Value) -> Value {
        let id = self.id.to_string();
        receipt(&id, shown, None, None, Some(&self.file))
    }

    /// The production in the form of a transfer.
    fn show(&self, outcome: Option<&str>) -> Value {
        let production = &self.production;
        let record = production.source_record();
        let record = record.as_ref();
        let rows = production.rows();
        let blocked_on = record.map(|record| record.blocked_on.as_str());
        let waits = |time: Option<Duration>| time.map(seconds);
        json!({
            "route": self.asked.route,
            "request": self.asked.target,
            "started": humantime::format_rfc3339_millis(production.created()).to_string(),
            "seconds": record.map(|record| seconds(record.duration)),
            "bytes": production.bytes_so_far(),
            "bytes_expected": production.length(),
            self.asked.counted(): (rows > 0).then_some(rows),
            "rows_expected": record.and_then(|record| record.rows_expected),
            "blocked_on": blocked_on.filter(|_| outcome.is_none()),
            "blocked_on_source_seconds": waits(record.map(|record| record.blocked_on_source)),
            "blocked_on_consumer_seconds": waits(record.map(|record| record.blocked_on_consumer)),
            "outcome": outcome,
            "capped": self.asked.is_capped(outcome),
        })
    }

    fn ended(&self, state: Option<&State>) -> Ended {
        let record = self.production.source_record();
        let of_source = || {
            record
                .as_ref()
                .and_then(|record| self.asked.outcome_of(record))
        };
        let (outcome, error) = match state {
            None => ("cancelled", Some(CANCELLED.to_owned())),
            Some(State::Failed(Failure::Spool(error))) => {
                (SPOOL_ERROR, Some(Problem::from(error).detail))
            }
            Some(State::Failed(Failure::Source(error))) => {
                let outcome = of_source().unwrap_or(error.outcome().as_str());
                (outcome, Some(text_for_client(error)))
            }
            // Found after a restart, it has no source.
            Some(_) => (of_source().unwrap_or("complete"), None),
        };
        Ended {
            receipt: Some(self.id),
            stream: None,
            since: Instant::now(),
            client: self.asked.key(),
            shown: self.show(Some(outcome)),
            error,
            proof: Proof::of(&self.production),
            file: Some(self.file.clone()),
        }
    }
}

/// 202, with where the file will be, and its receipt (RFC 9110, 15.3.3; RFC 7240, 4.1).
fn accepted(id: ReceiptId, file: &str, receipt: &Value) -> Response<DownloadBody> {
    let Ok(location) = HeaderValue::try_from(file) else {
        let text = "the URL of the file fits into no header";
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, text).into_response();
    };
    let mut response = Response::new(DownloadBody::from(format!("{receipt}\n")));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(&PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.extend(id.link().map(|link| (header::LINK, link)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preference_is_found_among_others() {
        for (lines, is_preferred) in [
            (&["respond-async"][..], true),
            (&["Respond-Async, wait=10"], true),
            (&["return=minimal", "wait=5, respond-async;x=1"], true),
            (&["return=minimal"], false),
            (&["respond-asynchronously"], false),
            (&["x=\"respond-async\""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&PREFER, HeaderValue::from_static(line));
            }
            assert_eq!(prefers_async(&headers), is_preferred, "{lines:?}");
        }
    }
}
