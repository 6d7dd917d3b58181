//! Which routes work: how the last attempt of each has ended, for `/healthz`.
//!
//! `respond.rs` begins an attempt with each request for a route's file; `transfers.rs` ends it. Nothing
//! is tried for its own sake.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use axum::http::{Method, Request, StatusCode};
use datastreamer::{Outcome, Record};
use datastreamer_http::Problem;
use serde_json::{Value, json};

use crate::{
    http::transfers::cut,
    refusal::{Concealed, SOURCE_FAILED},
    site::routes::{Route, RouteTable},
    sources::rows::Progress,
};

/// How the last attempts of the routes have ended.
#[derive(Clone, Default)]
pub(crate) struct Health {
    /// By file name; at most one entry for each route.
    routes: Arc<Mutex<BTreeMap<String, State>>>,
    /// Since when nothing can be kept in the spool.
    spool_fails_since: Arc<Mutex<Option<SystemTime>>>,
}

/// What is known of a route that was tried.
enum State {
    Good,
    Broken {
        /// The first failure after the last success.
        since: SystemTime,
        /// The last failure: the success of an attempt from before it says nothing of it.
        last: Instant,
        /// The last one, as its client was told.
        error: String,
        /// The request had parameters: perhaps it fails for nobody else.
        has_parameters: bool,
    },
}

/// One request for a route's file.
#[derive(Clone)]
pub(crate) struct Attempt {
    health: Health,
    begun: Instant,
    /// `None`: how it ends says nothing of the route.
    route: Option<String>,
    /// Whether its end is that of the file: a HEAD is answered before the file is made.
    makes_file: bool,
    has_parameters: bool,
}

impl Health {
    /// Begins an attempt.
    pub(crate) fn attempt(&self, route: &Route, request: &Request<()>) -> Attempt {
        // What clients send as queries of their own fails for them alone.
        let is_own = !route.source.takes_posts();
        Attempt {
            health: self.clone(),
            begun: Instant::now(),
            route: is_own.then(|| route.file_name()),
            makes_file: request.method() != Method::HEAD,
            has_parameters: request.uri().query().is_some_and(|query| !query.is_empty()),
        }
    }

    /// Notes that the spool cannot keep a file, for another reason than its limits.
    pub(crate) fn note_spool_failure(&self) {
        let mut since = self.spool_fails_since();
        since.get_or_insert_with(SystemTime::now);
    }

    /// Notes that the spool keeps a file that has begun then.
    pub(crate) fn note_kept(&self, begun: SystemTime) {
        let mut since = self.spool_fails_since();
        *since = since.filter(|since| *since >= begun);
    }

    fn spool_fails_since(&self) -> MutexGuard<'_, Option<SystemTime>> {
        let since = self.spool_fails_since.lock();
        since.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns since when nothing can be kept, for `/healthz`.
    pub(crate) fn show_spool(&self) -> Option<Value> {
        let since = (*self.spool_fails_since())?;
        Some(json!({
            "since": humantime::format_rfc3339_millis(since).to_string(),
            "error": "no file can be kept: see the log",
        }))
    }

    /// Returns the tables of these routes that are not ready yet, with the bytes that were read of them.
    pub(crate) fn not_ready(routes: &RouteTable) -> Value {
        let reading = routes
            .iter()
            .filter_map(|(_, route)| match route.progress()? {
                Progress::Reading(read, bytes) => Some(json!({
                    "route": route.file_name(),
                    "read_bytes": read,
                    "bytes": bytes,
                })),
                Progress::Open | Progress::Failed(_) => None,
            });
        reading.collect::<Vec<_>>().into()
    }

    /// Returns the status for `/healthz`, what it is called, and the broken ones of these routes. 503 if
    /// no route works of those that were tried. Failures of requests with parameters do not lead to it:
    /// a client must not take a server out of service.
    pub(crate) fn show(&self, routes: &RouteTable) -> (StatusCode, &'static str, Value) {
        let mut states = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of a site that has been replaced may be gone.
        states.retain(|name, _| routes.has_file(name));
        let broken = states.iter().filter_map(|(route, state)| match state {
            State::Good => None,
            State::Broken { since, error, .. } => Some(json!({
                "route": route,
                "since": humantime::format_rfc3339_millis(*since).to_string(),
                "error": error,
            })),
        });
        let unopened = routes
            .iter()
            .filter_map(|(_, route)| match route.progress()? {
                Progress::Failed(since) => Some(json!({
                    "route": route.file_name(),
                    "since": humantime::format_rfc3339_millis(since).to_string(),
                    "error": SOURCE_FAILED,
                })),
                Progress::Open | Progress::Reading(..) => None,
            });
        let broken: Vec<_> = broken.chain(unopened).collect();
        let fails_for_all = |state: &State| {
            matches!(
                state,
                State::Broken {
                    has_parameters: false,
                    ..
                }
            )
        };
        let (status, name) = match broken.is_empty() {
            true if self.show_spool().is_some() => (StatusCode::OK, "degraded"),
            true => (StatusCode::OK, "ok"),
            false if !states.is_empty() && states.values().all(fails_for_all) => {
                (StatusCode::SERVICE_UNAVAILABLE, "broken")
            }
            false => (StatusCode::OK, "degraded"),
        };
        (status, name, broken.into())
    }
}

impl Attempt {
    /// Notes how its stream has ended. What its client did, or got wrong, says nothing of the route.
    pub(crate) fn end(&self, record: &Record, is_refused: bool) {
        match (record.outcome, &record.error) {
            (Some(Outcome::Complete), _) if self.makes_file => self.note(None),
            (Some(Outcome::SourceError | Outcome::SourceStalled), Some(error)) if !is_refused => {
                let problem = Problem::from(error);
                match Concealed::is_of_operator(error) {
                    true => self.note(Some(&problem.detail)),
                    false => self.fail(&problem),
                }
            }
            _ => {}
        }
    }

    /// Notes that there is no stream. A server that is busy, or has no room, says nothing of the source.
    pub(crate) fn fail(&self, problem: &Problem) {
        if matches!(
            problem.status,
            StatusCode::INTERNAL_SERVER_ERROR
                | StatusCode::BAD_GATEWAY
                | StatusCode::GATEWAY_TIMEOUT
        ) {
            self.note(Some(&problem.detail));
        }
    }

    fn note(&self, error: Option<&str>) {
        let Some(route) = &self.route else { return };
        let routes = &self.health.routes;
        let mut states = routes.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match states.get(route) {
            Some(State::Broken { last, .. }) if error.is_none() && self.begun < *last => return,
            Some(State::Broken { since, .. }) => *since,
            _ => SystemTime::now(),
        };
        let state = match error {
            None => State::Good,
            Some(error) => State::Broken {
                since,
                last: Instant::now(),
                error: cut(error),
                has_parameters: self.has_parameters,
            },
        };
        states.insert(route.clone(), state);
    }
}
