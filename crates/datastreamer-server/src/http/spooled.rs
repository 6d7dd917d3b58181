//! A response that is read from a production: a run of the source whose bytes are kept in the spool, so
//! that it can be shared, resumed and read in ranges.
//!
//! Called by `respond.rs` for routes and clients that want it. `Download::respond_production_with` makes
//! the response; this file knows what the client may have of it.

use std::time::Duration;

use axum::http::{Request, Response};
use datastreamer::StreamOptions;
use datastreamer_http::{BareRanges, Download, DownloadBody, Problem};
use datastreamer_spool::{
    Beginning, Error, Failure, How, Keep as KeepProduction, Key, Production, Spool, State,
};

use crate::{
    config::Keep,
    http::{
        deliveries::Delivery,
        health::Health,
        respond::App,
        transfers::{Coding, Origin},
    },
};

/// What a response from a production needs, beside the production.
pub(crate) struct Reading<'a> {
    pub(crate) request: &'a Request<()>,
    pub(crate) download: Download,
    /// Those of the reader's stream.
    pub(crate) options: StreamOptions,
    pub(crate) delivery: Delivery,
    pub(crate) origin: Origin,
    pub(crate) health: Health,
    /// How long a head waits for the length, if the request needs it.
    pub(crate) length_wait: Duration,
}

/// Opening a file takes microseconds. Of a folder that hangs the reader has its own deadline.
const OPEN_WAIT: Duration = Duration::from_secs(1);

/// Finds the production of a key; one that somebody has removed from the folder is forgotten, and not found.
pub(crate) async fn find(spool: &Spool, key: &Key) -> Option<Production> {
    let found = spool.find(key)?;
    let is_there = tokio::time::timeout(OPEN_WAIT, found.is_there()).await;
    is_there.unwrap_or(true).then_some(found)
}

/// Joins the production of a key, or begins it.
///
/// # Errors
/// The problem for the client: there is no room, or no spool.
pub(crate) async fn join_or_begin(
    app: &App,
    key: Key,
    keep: Keep,
    client: String,
    start: impl FnOnce() -> Beginning,
) -> Result<(Production, How), Problem> {
    let spool = app.spool.get().await.map_err(|_| {
        app.health.note_spool_failure();
        Problem::without_spool()
    })?;
    if let Some(found) = find(spool, &key).await {
        return Ok((found, How::Joined));
    }
    let begin = || {
        let beginning = start().client(client);
        match keep {
            Keep::For(time) => beginning.keep(KeepProduction::For(time)),
            Keep::WhileRunning => beginning.keep(KeepProduction::WhileRunning),
            Keep::Auto | Keep::Nothing | Keep::Rerun => beginning,
        }
    };
    spool.join_or_begin(key, begin).map_err(|error| {
        note(&error, &app.health);
        if !error.is_out_of_room() {
            // The spool logs only what fails behind its calls.
            tracing::error!(%error, "a file cannot be kept");
        }
        Problem::from(&error)
    })
}

/// Answers from a production.
pub(crate) async fn respond(
    production: Production,
    reading: Reading<'_>,
) -> Response<DownloadBody> {
    let Reading {
        request,
        download,
        options,
        delivery,
        origin,
        health,
        length_wait,
    } = reading;
    let (recorded, read) = (delivery.clone(), production.clone());
    let response = download
        .options(options)
        .length_wait(length_wait)
        .respond_production_with(request, production.clone(), move |report, planned| {
            let coding = match report.is_coded() {
                true => Coding::Coded,
                false => Coding::Plain,
            };
            let pieces = delivery.report(report, planned, BareRanges::Bounded, None)?;
            origin.set(read, coding);
            Some(pieces)
        })
        .await;
    match production.state() {
        _ if production.bytes_so_far() > 0 => health.note_kept(production.created()),
        State::Failed(Failure::Spool(error)) => note(&error, &health),
        _ => {}
    }
    // Before the first byte is sent.
    recorded.recorded().await;
    response
}

/// Notes an error of the spool before the head, which `/healthz` shows unless it is one of room.
fn note(error: &Error, health: &Health) {
    if !error.is_out_of_room() {
        health.note_spool_failure();
    }
}
