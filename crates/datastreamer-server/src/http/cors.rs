//! Which pages of other origins may read the responses (CORS): headers for browsers, and the answers
//! to their preflight requests. No body is touched, so what aborts a download still does.
//!
//! `respond.rs` puts it around the files; tower-http knows the protocol (Fetch Standard, 3.2).

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, Method, Response, StatusCode, header},
    middleware::{self, Next},
};
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, AllowPrivateNetwork, Any, CorsLayer};

use crate::config::Cors;

/// A day: browsers ask again after two hours (Chromium) or a day (Firefox) anyway.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What of a request means something here, beside what every page may send.
/// `TE` is missing: scripts may not set it (Fetch Standard, 2.2.2).
const REQUEST_HEADERS: [HeaderName; 11] = [
    header::ACCEPT,
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    HeaderName::from_static("prefer"),
    HeaderName::from_static("want-repr-digest"),
];

/// What of a response scripts need; browsers show them `Content-Length`, `Content-Type` and
/// `Last-Modified` in any case.
const RESPONSE_HEADERS: [HeaderName; 14] = [
    header::ACCEPT_RANGES,
    header::ALLOW,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::DATE,
    header::ETAG,
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
    HeaderName::from_static("preference-applied"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("datastreamer-row-limit"),
    header::TRAILER,
];

/// Lets pages of these origins read what the router answers.
pub(crate) fn allow(router: Router, cors: &Cors) -> Router {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(REQUEST_HEADERS)
        .expose_headers(RESPONSE_HEADERS)
        .max_age(MAX_AGE);
    let layer = match cors {
        Cors::Off => return router,
        Cors::Any => layer.allow_origin(Any).allow_private_network(true),
        Cors::Origins(origins) => {
            let known = origins.clone();
            let is_known = AllowPrivateNetwork::predicate(move |origin, _| known.contains(origin));
            let origins = AllowOrigin::list(origins.iter().cloned());
            layer.allow_origin(origins).allow_private_network(is_known)
        }
    };
    router.layer(middleware::from_fn_with_state(layer, answer))
}

/// The layer takes every OPTIONS for a preflight; one that is none is refused as without it.
async fn answer(State(layer): State<CorsLayer>, request: Request, next: Next) -> Response<Body> {
    let is_options = request.method() == Method::OPTIONS;
    let asked = request.headers();
    let is_preflight = is_options
        && asked.contains_key(header::ORIGIN)
        && asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_options && !is_preflight {
        return next.run(request).await;
    }
    let answered = layer.layer(next).call(request).await;
    let mut response = answered.unwrap_or_else(|never| match never {});
    if is_preflight {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}
