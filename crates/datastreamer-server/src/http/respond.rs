//! From a request to a response, on the event loop.
//!
//! `GET|HEAD /NAME.SUFFIX` is a stream; the rest (index, health, transfers) is small.

use std::{
    mem,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, header},
    middleware::{self, Next},
    response::{Html, IntoResponse},
    routing::get,
};
use datastreamer::{Share, ShareOf, StreamOptions, StreamWriter};
use datastreamer_http::{Connection, Download, HoldingBody, PlanReport, Problem, count_requests};
use serde_json::json;

use crate::{
    escapes,
    export::Export,
    http::client::{Client, Sees},
    http::connection::Open,
    http::deliveries::{Deliveries, Delivery},
    http::index,
    http::posted,
    http::transfers::{Asked, Transfers, uptime},
    refusal::{Concealed, Refusal},
    site::{Site, routes::Route},
    sources::{Job, Query, SourceError},
};

/// The header with the limit of rows. Whether the limit has cut the table shows only at its end.
static ROW_LIMIT: HeaderName = HeaderName::from_static("datastreamer-row-limit");
/// The methods of a file, and those of a query that may be posted.
const READING: &str = "GET, HEAD";
const READING_OR_POSTING: &str = "GET, HEAD, POST";

/// What every request needs.
pub(crate) struct App {
    /// The swap point: a request takes the site once, and keeps it until its stream has ended.
    pub(crate) site: RwLock<Arc<Site>>,
    pub(crate) transfers: Transfers,
    pub(crate) deliveries: Deliveries,
    pub(crate) started: SystemTime,
}

impl App {
    fn site(&self) -> Arc<Site> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&site)
    }

    pub(crate) fn replace(&self, site: Site) {
        let mut current = self.site.write().unwrap_or_else(PoisonError::into_inner);
        let old = mem::replace(&mut *current, Arc::new(site));
        drop(current);
        // After unlocking: dropping a site may end its engine.
        drop(old);
    }
}

/// Makes the service.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(show_index))
        .route("/healthz", get(show_health))
        .route("/transfers", get(show_transfers))
        .method_not_allowed_fallback(async || refuse(only(READING)))
        .fallback(stream)
        .layer(middleware::from_fn(require_host))
        .layer(middleware::from_fn(count_requests))
        .with_state(app)
}

/// Refuses a request of HTTP/1.1 without a Host, or with several (RFC 9112, 3.2).
async fn require_host(request: Request, next: Next) -> Response<Body> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    // A request that came over no connection of ours is that of a program: it embeds the router.
    let is_received = Connection::of(request.extensions()).is_some();
    if is_received && request.version() == Version::HTTP_11 && hosts != 1 {
        return refuse(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("a request of HTTP/1.1 has one Host header, and this one has {hosts}"),
        ));
    }
    next.run(request).await
}

async fn show_index(State(app): State<Arc<App>>, request: Request) -> Html<String> {
    let site = app.site();
    let listen = site.config.listen.first().map(ToString::to_string);
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
    let query = Query::parse(request.uri().query().unwrap_or_default().as_bytes());
    let number = |text: &str| text.parse().map_err(|_| String::new());
    let from = query.and_then(|query| query.get("from", number));
    // Whatever is no number leads to the beginning.
    let from = from.unwrap_or_default().unwrap_or_default();
    Html(index::page(&site.routes, from, host, last_bytes))
}

async fn show_health(State(app): State<Arc<App>>) -> Json<serde_json::Value> {
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime(app.started),
    }))
}

/// A client sees its own transfers; a program on this machine all of them.
async fn show_transfers(State(app): State<Arc<App>>, request: Request) -> Json<serde_json::Value> {
    let client = client_of(&app.site(), &request);
    Json(match client.map(|client| (client.sees, client.key())) {
        Some((Sees::All, _)) => app.transfers.to_json(),
        Some((Sees::Own, key)) => app.transfers.to_json_of(Some(key)),
        Some((Sees::Nothing, _)) | None => app.transfers.to_json_of(None),
    })
}

fn client_of<B>(site: &Site, request: &Request<B>) -> Option<Client> {
    let connection = Connection::of(request.extensions())?;
    let (headers, uri) = (request.headers(), request.uri());
    let proxies = &site.config.trusted_proxies;
    Some(Client::of(connection.peer()?, headers, uri, proxies))
}

/// Streams a route's file.
async fn stream(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, ());
    let path = request.uri().path().trim_start_matches('/');
    if let Err(error) = escapes::check(path.as_bytes()) {
        return refuse(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("the path: {error}"),
        ));
    }
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let file_name = escapes::readable(&decoded);
    let site = app.site();
    match find(&site, &request, body, &file_name).await {
        Ok(export) => send(&app, &site, &request, &file_name, export).await,
        Err(refusal) => refuse(refusal),
    }
}

/// Finds the route and checks the parameters.
async fn find<'a>(
    site: &'a Site,
    request: &Request<()>,
    body: Body,
    file_name: &str,
) -> Result<Export<'a>, Refusal> {
    let in_url = request.uri().query().unwrap_or_default();
    let query = match *request.method() {
        Method::GET | Method::HEAD => {
            Query::parse(in_url.as_bytes()).map_err(Refusal::bad_parameter)?
        }
        Method::POST if takes_posts(site, file_name) => {
            let patience = site.config.limits.header_timeout;
            posted::read(request.headers(), body, patience, in_url).await?
        }
        _ if takes_posts(site, file_name) => return Err(only(READING_OR_POSTING)),
        _ => return Err(only(READING)),
    };
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    Export::find(site, file_name, &query, accept)
}

fn takes_posts(site: &Site, file_name: &str) -> bool {
    let found = site.routes.find(file_name);
    found.is_some_and(|found| found.route.source.takes_posts())
}

/// Starts a file's stream and answers with it.
async fn send(
    app: &App,
    site: &Arc<Site>,
    request: &Request<()>,
    file_name: &str,
    export: Export<'_>,
) -> Response<Body> {
    let client = client_of(site, request);
    // On HTTP/2 the URI contains the host as well.
    let target = request.uri().path_and_query();
    let target = target.map_or(request.uri().path(), |target| target.as_str());
    // Of a client behind a proxy that is not named in the configuration nothing is known.
    let known = client.filter(|client| client.sees != Sees::Nothing);
    let delivery = app.deliveries.of(known.map(|client| client.key()), target);
    let mut asked = Asked::new(file_name, target, client);
    asked.delivery = Some(delivery.clone());
    let download = Download::new(export.media_type());
    let download = match export.is_for_people() {
        true => download.inline_file_name(&export.file_name()),
        false => download.file_name(&export.file_name()),
    };
    let mut download = download
        .compressible(export.is_compressible())
        .commit_after(site.config.stream.commit_after)
        .commit_bytes(site.config.stream.commit_bytes);
    if let Some(rows) = &export.job.rows {
        asked.capped = Some(Arc::clone(&rows.capped));
        if let Some(most) = rows.rows_max {
            download = download.header(ROW_LIMIT.clone(), most.into());
        }
        if export.is_by_accept {
            download = download.header(header::VARY, HeaderValue::from_static("accept"));
        }
    }
    let open = request.extensions().get::<Open>().cloned();
    let span = tracing::info_span!("stream", route = file_name);
    let transfers = app.transfers.clone();
    let site = Arc::clone(site);
    let is_sorted = export.job.rows.as_ref().is_some_and(|rows| rows.is_sorted);
    let options = stream_options(&site, export.route, is_sorted, client).pool(transfers.pool());
    let (job, name) = (export.job, file_name.to_owned());
    let refused = Arc::clone(&asked.refused);
    let response = download
        .options(options)
        .observe(move |stream| transfers.follow(stream, asked.clone()))
        .respond_planned(request, |options, report| {
            span.in_scope(|| {
                options.stream_out(move |out| {
                    let _kept_to_the_end = site;
                    run(job, &name, &refused, &delivery, report, out)
                })
            })
        })
        .await;
    // A response without a stream has none of the stream's deadlines.
    let open = open.filter(|_| response.status().is_success());
    response.map(|body| Body::new(HoldingBody::new(body, open)))
}

/// Two tables that are sorted for one client at once: half of the queries that have memory at once.
const SORTED_PER_CLIENT: usize = 2;

/// The options of a route's stream for a client: what it counts in, and what the client must take.
///
/// Beyond the shares a request waits, as it does beyond the pool's places: clients open several
/// connections at once, and a short wait costs them less than a refusal.
fn stream_options(
    site: &Site,
    route: &Route,
    is_sorted: bool,
    client: Option<Client>,
) -> StreamOptions {
    let limits = &site.config.limits;
    let mut options = site.config.stream_options();
    let rate = match is_sorted {
        true => route.limits.sorted_min_rate,
        false => route.limits.min_rate,
    };
    if let Some(rate) = rate {
        options = options.min_bytes_per_second(rate);
    }
    // One client must not have all of what is scarce.
    let part = |client: &Client, what: &str, most: usize| {
        let name = format!("client {}, {what}", client.key());
        Share::new(name, ShareOf::Consumer, most).max_waiting(limits.max_active_per_client)
    };
    if let Some(client) = client.as_ref().filter(|_| is_sorted) {
        options = options.share(part(client, "sorted tables", SORTED_PER_CLIENT));
    }
    if let Some(client) = &client {
        let name = format!("client {}", client.key());
        let share = Share::new(name, ShareOf::Consumer, limits.max_active_per_client);
        options = options.share(share);
    }
    let Some(most) = route.limits.max_active else {
        return options;
    };
    let of_route = format!("route {}", route.name());
    if let Some(client) = &client {
        options = options.share(part(client, &of_route, most.div_ceil(2)));
    }
    // The rest of the queue is for the other routes.
    let max_waiting = limits.max_waiting.div_ceil(2);
    options.share(Share::new(of_route, ShareOf::Source, most).max_waiting(max_waiting))
}

/// Plans a file, once its stream has a place, and writes what the request wants of it. For HEAD it only
/// plans.
fn run(
    job: Job,
    file_name: &str,
    refused: &AtomicBool,
    delivery: &Delivery,
    report: PlanReport,
    out: &mut StreamWriter,
) -> Result<(), SourceError> {
    let feed = job.start(out).map_err(|refusal| {
        refused.store(refusal.status.is_client_error(), Ordering::Relaxed);
        Concealed::refusal(refusal.about(file_name))
    })?;
    let tag = feed.etag.as_ref().filter(|_| !report.is_coded());
    let bare = delivery.bare_ranges(tag, feed.unknown_ranges);
    let head_only = report.is_head_only();
    let Some(pieces) = report.done(feed.planned.bare_ranges(bare)) else {
        if head_only {
            delivery.look(tag);
        }
        return Ok(());
    };
    if let Some(length) = pieces.length() {
        out.promise_length(length)?;
    }
    delivery.begin(tag, pieces.is_complete());
    (feed.write)(out, &pieces)
}

/// Refuses a method and names the allowed ones.
fn only(methods: &'static str) -> Refusal {
    Refusal {
        methods: Some(methods),
        ..Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("the methods here are {methods}"),
        )
    }
}

fn refuse(refusal: Refusal) -> Response<Body> {
    let methods = refusal.methods;
    let mut response = Problem::from(refusal)
        .into_response::<Body>()
        .into_response();
    if let Some(methods) = methods {
        let allow = HeaderValue::from_static(methods);
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
