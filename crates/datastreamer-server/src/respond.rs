//! From a request to a response: the async half.
//!
//! `GET|HEAD /NAME.SUFFIX` is a stream; the rest (index, health, transfers) is small.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use axum::{
    Json, Router,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{HeaderValue, Method, Response, StatusCode, header},
    response::{Html, IntoResponse},
    routing::get,
};
use datastreamer_http::{BodyError, Connection, Download, DownloadBody, Problem};
use http_body::{Frame, SizeHint};
use serde_json::json;

use crate::{
    config::Config,
    connection::Open,
    export::{Export, Refusal},
    index,
    transfers::{Asked, Transfers, uptime},
};

/// What every request needs.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) transfers: Transfers,
    pub(crate) started: SystemTime,
}

/// Makes the service.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(show_index))
        .route("/healthz", get(show_health))
        .route("/transfers", get(show_transfers))
        .method_not_allowed_fallback(async || method_not_allowed())
        .fallback(stream)
        .with_state(app)
}

async fn show_index(State(app): State<Arc<App>>, request: Request) -> Html<String> {
    let listen = app.config.listen.first().map(ToString::to_string);
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or(request
            .uri()
            .authority()
            .map(|authority| authority.as_str()))
        .or(listen.as_deref())
        .unwrap_or_default();
    let last_bytes = |file_name: &str| app.transfers.last_bytes(file_name);
    Html(index::page(&app.config.routes, host, last_bytes))
}

async fn show_health(State(app): State<Arc<App>>) -> Json<serde_json::Value> {
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime(app.started),
    }))
}

async fn show_transfers(State(app): State<Arc<App>>) -> Json<serde_json::Value> {
    Json(app.transfers.to_json())
}

/// Streams a route's file.
async fn stream(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_not_allowed();
    }
    let file_name = decode(request.uri().path().trim_start_matches('/'));
    let query = request.uri().query().unwrap_or_default();
    let Export { route, prepared } = match Export::find(&app.config, &file_name, query) {
        Ok(export) => export,
        Err(Refusal::NotFound(text)) => return problem(StatusCode::NOT_FOUND, text),
        Err(Refusal::BadParameter(text)) => return problem(StatusCode::BAD_REQUEST, text),
    };
    let peer = Connection::of(request.extensions()).and_then(|connection| connection.peer());
    // On HTTP/2 the whole URI names the host as well.
    let target = request.uri().path_and_query();
    let target = target.map_or(request.uri().path(), |target| target.as_str());
    let asked = Asked::new(&file_name, target, peer);
    let open = request.extensions().get::<Open>().cloned();
    let span = tracing::info_span!("stream", route = file_name);
    let transfers = app.transfers.clone();
    let response = Download::new(route.media_type())
        .file_name(&route.file_name())
        .length(prepared.length)
        .compressible(route.compress)
        .commit_after(app.config.stream.commit_after)
        .commit_bytes(app.config.stream.commit_bytes)
        .options(app.config.stream_options().pool(transfers.pool()))
        .observe(move |stream| transfers.follow(stream, asked.clone()))
        .respond(&request, |options| {
            span.in_scope(|| options.stream_out(prepared.write))
        })
        .await;
    // What is no stream has none of its deadlines.
    let _open = open.filter(|_| response.status() == StatusCode::OK);
    response.map(|body| Body::new(Counted { body, _open }))
}

/// A stream's body: its request is open until it is dropped.
struct Counted {
    body: DownloadBody,
    _open: Option<Open>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn method_not_allowed() -> Response<Body> {
    let text = "only GET and HEAD";
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, text.into());
    let allow = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

fn problem(status: StatusCode, detail: String) -> Response<Body> {
    Problem::new(status, detail)
        .into_response::<Body>()
        .into_response()
}

/// Percent-decodes a path; what is not UTF-8 finds no route.
fn decode(path: &str) -> String {
    percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .into_owned()
}
