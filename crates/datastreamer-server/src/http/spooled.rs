//! A response that is read from a production: a run of the source whose bytes are kept in the spool, so
//! that it can be shared, resumed and read in ranges.
//!
//! Called by `respond.rs` for routes and clients that want it.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use datastreamer::StreamOptions;
use datastreamer_http::{BareRanges, Download, DownloadBody, Needs, Piece, Planned, Problem};
use datastreamer_spool::{
    Beginning, Error, Failure, How, Keep as KeepProduction, Key, Production, State,
};

use crate::{
    config::Keep,
    http::{
        deliveries::Delivery,
        health::Health,
        respond::App,
        spool,
        transfers::{Coding, Origin},
    },
};

static REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What a response from a production needs, beside the production.
pub(crate) struct Reading<'a> {
    pub(crate) request: &'a Request<()>,
    pub(crate) download: Download,
    /// Those of the reader's stream.
    pub(crate) options: StreamOptions,
    pub(crate) delivery: Delivery,
    pub(crate) origin: Origin,
    pub(crate) health: Health,
    /// How long a head waits for the first byte.
    pub(crate) commit_after: Duration,
    /// How long a head waits for the length, if the request needs it.
    pub(crate) length_wait: Duration,
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
        unavailable()
    })?;
    let begin = || {
        let beginning = start().client(client);
        match keep {
            Keep::For(time) => beginning.keep(KeepProduction::For(time)),
            Keep::WhileRunning => beginning.keep(KeepProduction::WhileRunning),
            Keep::Auto | Keep::Nothing | Keep::Rerun => beginning,
        }
    };
    let joined = spool.join_or_begin(key, begin);
    joined.map_err(|error| refusal(&error, &app.health))
}

/// Answers from a production.
pub(crate) async fn respond(
    production: Production,
    reading: Reading<'_>,
) -> Response<DownloadBody> {
    let Reading {
        request,
        mut download,
        options,
        delivery,
        origin,
        health,
        commit_after,
        length_wait,
    } = reading;
    let needs = Needs::of(request.method(), request.headers());
    let time = match needs {
        Needs::Nothing => commit_after,
        Needs::Bytes(_) | Needs::Length => length_wait,
    };
    wait_for(&production, needs, time).await;
    let has_begun = production.bytes_so_far() > 0;
    let failure = match production.state() {
        State::Failed(failure) if !has_begun => Some(failure),
        _ => None,
    };
    match &failure {
        Some(Failure::Spool(error)) => return refusal(error, &health).into_response(),
        None if has_begun => health.note_kept(production.created()),
        Some(_) | None => {}
    }
    if let Some(digest) = digest(&production) {
        download = download.header(REPR_DIGEST.clone(), digest);
    } else {
        let produced = production.clone();
        download = download.trailers(std::slice::from_ref(&REPR_DIGEST), move || {
            let digest = digest(&produced).map(|digest| (REPR_DIGEST.clone(), digest));
            digest.into_iter().collect()
        });
    }
    let recorded = delivery.clone();
    let response = download
        .options(options)
        .respond_planned(request, move |options, report| {
            if failure.is_some() {
                // Its error decides the response.
                return production.open(vec![Piece::From(0)], options);
            }
            let coding = match report.is_coded() {
                true => Coding::Coded,
                false => Coding::Plain,
            };
            let planned = Planned::new()
                .length(production.length())
                .length_at_least(production.bytes_so_far())
                .etag(production.etag().clone())
                .ranges(true);
            match delivery.report(report, planned, BareRanges::Bounded, None) {
                Some(pieces) => {
                    origin.set(production.clone(), coding);
                    production.open(pieces.as_slice().to_vec(), options)
                }
                None => options.stream_out(|_| ()),
            }
        })
        .await;
    // Before the first byte is sent.
    recorded.recorded().await;
    response
}

/// Waits until enough is known of a production for a request, or it has failed: of a GET at least
/// whether there is a first byte, so that an early failure has its status.
async fn wait_for(production: &Production, needs: Needs, time: Duration) {
    let known = async {
        match needs {
            Needs::Nothing => production.reached(1).await,
            Needs::Bytes(bytes) => production.reached(bytes.max(1)).await,
            Needs::Length => {
                // A failure shows as one when the response is made.
                let _known = production.known_length().await;
            }
        }
    };
    // Without it the request is refused, or served complete.
    let _in_time = tokio::time::timeout(time, known).await;
}

/// The digest of all bytes (RFC 9530, 2), once they are there.
fn digest(production: &Production) -> Option<HeaderValue> {
    let sha256 = production.digests()?.sha256;
    let value = format!("sha-256=:{}:", BASE64_STANDARD.encode(sha256));
    HeaderValue::try_from(value).ok()
}

/// An error of the spool before the head, which `/healthz` shows unless it is one of room.
fn refusal(error: &Error, health: &Health) -> Problem {
    if !error.is_out_of_room() {
        health.note_spool_failure();
    }
    problem(error)
}

/// What a client is told of an error of the spool.
fn problem(error: &Error) -> Problem {
    if error.is_out_of_room() {
        return Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            spool::text_for_client(error),
        );
    }
    tracing::error!(%error, "a file cannot be kept");
    unavailable()
}

fn unavailable() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, spool::UNAVAILABLE)
}
