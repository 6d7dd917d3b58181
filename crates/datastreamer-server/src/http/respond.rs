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
    Extension, Json, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, header},
    middleware::{self, Next},
    response::{Html, IntoResponse},
    routing::get,
};
use datastreamer::StreamPool;
use datastreamer_http::{Connection, Download, HoldingBody, content_disposition, count_requests};
use serde_json::json;

use crate::{
    escapes,
    export::{Export, Taker},
    http::client::{Client, Sees},
    http::connection::Open,
    http::cors,
    http::deliveries::Deliveries,
    http::events::{self, Listeners},
    http::health::Health,
    http::index,
    http::page,
    http::posted,
    http::receipt::ReceiptId,
    http::receipts,
    http::refused,
    http::rerun::Runs,
    http::sending::Sending,
    http::spool::LazySpool,
    http::transfers::{Asked, Transfers, uptime},
    refusal::Refusal,
    site::Site,
    sources::Query,
};

/// The header with the limit of rows, and the trailer that says that it has cut the table, where that was
/// not known before.
static ROW_LIMIT: HeaderName = HeaderName::from_static("datastreamer-row-limit");
/// The methods of a file, and those of a query that may be posted.
const READING: &str = "GET, HEAD";
const READING_OR_POSTING: &str = "GET, HEAD, POST";

/// What every request needs.
pub(crate) struct App {
    /// The swap point: a request takes the site once, and keeps it until its stream has ended.
    pub(crate) site: RwLock<Arc<Site>>,
    pub(crate) transfers: Transfers,
    pub(crate) listeners: Listeners,
    pub(crate) deliveries: Deliveries,
    pub(crate) health: Health,
    pub(crate) spool: Arc<LazySpool>,
    pub(crate) runs: Runs,
    /// The pool of readers of productions, which need no threads: those of sources must not wait for
    /// them.
    pub(crate) readers: StreamPool,
    pub(crate) started: SystemTime,
}

impl App {
    pub(crate) fn site(&self) -> Arc<Site> {
        let site = self.site.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&site)
    }

    pub(crate) fn replace(&self, site: Site) {
        site.config.tables.count_temporary_files(self.spool.room());
        let mut current = self.site.write().unwrap_or_else(PoisonError::into_inner);
        let old = mem::replace(&mut *current, Arc::new(site));
        drop(current);
        // After unlocking: dropping a site may end its engine.
        drop(old);
    }
}

/// Makes the service.
pub(crate) fn router(app: Arc<App>) -> Router {
    let for_all = Router::new()
        .route("/", get(show_index))
        .route("/healthz", get(show_health))
        .method_not_allowed_fallback(async || refuse(only(READING)))
        .fallback(stream)
        .with_state(Arc::clone(&app));
    // Whoever looks at a page in a browser on this machine must not show it to that page.
    let for_nobody_elsewhere = Router::new()
        .route("/transfers", get(show_transfers))
        .route("/transfers/{id}", receipts::methods())
        .route("/transfers/{id}/events", get(events::listen))
        .method_not_allowed_fallback(async || refuse(only(READING)))
        .with_state(Arc::clone(&app));
    let routes = cors::allow(for_all, &app.site().config.cors)
        .merge(for_nobody_elsewhere)
        .layer(middleware::from_fn(require_host))
        .layer(middleware::from_fn(count_requests));
    #[cfg(feature = "tables")]
    let routes = routes.layer(middleware::from_fn(super::mistaken::show));
    let routes = routes.layer(middleware::from_fn(super::not_found::show));
    routes.layer(middleware::from_fn_with_state(app, refused::log))
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

/// What is true at the moment only, and so in no cache (RFC 9111, 5.2.2.5).
type Now<T> = ([(HeaderName, HeaderValue); 1], T);

fn now<T>(content: T) -> Now<T> {
    let never = HeaderValue::from_static("no-store");
    ([(header::CACHE_CONTROL, never)], content)
}

async fn show_index(State(app): State<Arc<App>>, request: Request) -> impl IntoResponse {
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
    let shown = now(Html(index::page(&site.routes, from, host, last_bytes)));
    (page::headers(), shown)
}

async fn show_health(State(app): State<Arc<App>>) -> impl IntoResponse {
    let site = app.site();
    let (status, name, broken) = app.health.show(&site.routes);
    let health = json!({
        "status": name,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime(app.started),
        "broken": broken,
        "spool": app.health.show_spool(),
        "not_ready": Health::not_ready(&site.routes),
    });
    (status, Extension(refused::Recorded), now(Json(health)))
}

/// A client sees its own transfers; a program on this machine all of them.
async fn show_transfers(
    State(app): State<Arc<App>>,
    request: Request,
) -> Now<Json<serde_json::Value>> {
    let client = client_of(&app.site(), &request);
    now(Json(
        match client.map(|client| (client.sees, client.key())) {
            Some((Sees::All, _)) => app.transfers.to_json(),
            Some((Sees::Own, key)) => app.transfers.to_json_of(Some(key)),
            Some((Sees::Nothing, _)) | None => app.transfers.to_json_of(None),
        },
    ))
}

pub(crate) fn client_of<B>(site: &Site, request: &Request<B>) -> Option<Client> {
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
    Export::find(site, file_name, &query, accept, Taker::Client)
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
    let known = client.filter(|client| client.is_known);
    let delivery = app.deliveries.of(known.map(|client| client.key()), target);
    let mut asked = Asked::new(file_name, target, client);
    asked.delivery = Some(delivery.clone());
    asked.receipt = app.transfers.new_receipt();
    asked.frozen = Arc::clone(&export.job.frozen);
    let attempt = app.health.attempt(export.route, request);
    asked.attempt = Some(attempt.clone());
    let download = Download::new(export.media_type());
    let download = match export.is_for_people() {
        true => download.inline_file_name(&export.file_name()),
        false => download.file_name(&export.file_name()),
    };
    let mut download = download
        .compressible(export.is_compressible())
        .commit_after(site.config.stream.commit_after)
        .commit_bytes(site.config.stream.commit_bytes);
    if let Some(style) = export.style() {
        for (name, value) in page::headers_of_table(style) {
            download = download.header(name, value);
        }
    }
    asked.gives_rows = export.job.rows.is_some();
    if export.is_by_accept {
        download = download.header(header::VARY, HeaderValue::from_static("accept"));
    }
    let facts = Arc::clone(&asked.facts);
    let limit = export.job.rows.as_ref().and_then(|rows| rows.facts.limit);
    if limit.is_some() {
        let facts = Arc::clone(&facts);
        download = download.trailers(std::slice::from_ref(&ROW_LIMIT), move || {
            let limit = facts.get().and_then(|facts| facts.limit_at_the_end());
            let limit = limit.and_then(|limit| HeaderValue::try_from(limit).ok());
            limit
                .map(|limit| (ROW_LIMIT.clone(), limit))
                .into_iter()
                .collect()
        });
    }
    // What is shown has no name of a part.
    let saved_name =
        Some(export.saved_name()).filter(|_| limit.is_some() && !export.is_for_people());
    let link = asked.receipt.and_then(ReceiptId::link);
    // HEAD has no stream.
    if let Some(link) = link.filter(|_| *request.method() != Method::HEAD) {
        download = download.header(header::LINK, link);
    }
    let open = request.extensions().get::<Open>().cloned();
    let refused = Arc::clone(&asked.refused);
    let (transfers, followed) = (app.transfers.clone(), asked.clone());
    let is_followed = Arc::new(AtomicBool::new(false));
    let follows = Arc::clone(&is_followed);
    let download = download.observe(move |stream| {
        follows.store(true, Ordering::Relaxed);
        transfers.follow(stream, followed.clone());
    });
    let sending = Sending {
        app,
        site,
        request,
        file_name,
        client,
        delivery,
        asked,
        attempt,
        refused,
    };
    let mut response = sending.respond(download, export).await;
    if is_followed.load(Ordering::Relaxed) {
        response.extensions_mut().insert(refused::Recorded);
    }
    if let Some(facts) = facts.get().filter(|_| response.status().is_success()) {
        let headers = response.headers_mut();
        if let Some(limit) = facts
            .limit_header()
            .and_then(|limit| HeaderValue::try_from(limit).ok())
        {
            headers.insert(ROW_LIMIT.clone(), limit);
        }
        if let Some(name) = saved_name {
            let name = content_disposition(&name.of(Some(facts)));
            headers.insert(header::CONTENT_DISPOSITION, name);
        }
    }
    // A response without a stream has none of the stream's deadlines.
    let open = open.filter(|_| response.status().is_success());
    response.map(|body| Body::new(HoldingBody::new(body, open)))
}

/// Refuses a method and names the allowed ones.
pub(super) fn only(methods: &'static str) -> Refusal {
    Refusal {
        methods: Some(methods),
        ..Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("the methods here are {methods}"),
        )
    }
}

pub(super) fn refuse(refusal: Refusal) -> Response<Body> {
    let methods = refusal.methods;
    let mut response = refused::response(refusal);
    if let Some(methods) = methods {
        let allow = HeaderValue::from_static(methods);
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
