//! The log of requests that are refused before there is a stream: a line for each. Failures of streams
//! are in their records, which `transfers.rs` logs.
//!
//! A line for each refused request is what a line for each transfer is: who floods the server with
//! requests for files that there are not gets no more of the log than with those for files that there are.
//! So 404 is INFO too, because a link that is wrong is for the operator to see. Each text of a line is
//! bounded.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode},
    middleware::Next,
};
use datastreamer_http::Problem;

use crate::{
    http::respond::{App, client_of},
    http::transfers::cut,
    refusal::Refusal,
};

/// In the extensions of a response that is no refusal of its own: its stream has a record, or it tells
/// of others.
#[derive(Clone, Copy)]
pub(crate) struct Recorded;

/// In the extensions of a refusal: what is behind it, for the operator.
#[derive(Clone)]
struct Cause(String);

/// Makes the response of a refusal.
pub(crate) fn response<B: From<String>>(mut refusal: Refusal) -> Response<B> {
    let cause = refusal.cause.take();
    let mut response = Problem::from(refusal).into_response();
    if let Some(cause) = cause {
        response.extensions_mut().insert(Cause(cause));
    }
    response
}

/// Logs the request if it is refused.
pub(crate) async fn log(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let peer = client_of(&app.site(), &request);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = next.run(request).await;
    let status = response.status();
    let extensions = response.extensions();
    let is_refused = status.is_client_error() || status.is_server_error();
    if !is_refused || extensions.get::<Recorded>().is_some() {
        return response;
    }
    let target = uri.path_and_query().map_or(uri.path(), |it| it.as_str());
    let cause = extensions.get::<Cause>().map(|cause| cause.0.as_str());
    let told = extensions.get::<Problem>();
    let told = told.map(|problem| problem.detail.as_str());
    let reason = cut(cause.or(told).unwrap_or_default());
    let (method, target) = (cut(method.as_str()), cut(target));
    let peer = peer.map(tracing::field::display);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                method,
                request = target,
                peer,
                status = status.as_u16(),
                reason,
                "refused"
            )
        };
    }
    match status {
        StatusCode::INTERNAL_SERVER_ERROR => line!(error),
        status if status.is_server_error() => line!(warn),
        _ => line!(info),
    }
    response
}
