//! From a request to a response, on the event loop.
//!
//! `GET|HEAD /NAME.SUFFIX` is a stream; the rest (index, health, transfers) is small.

use std::{
    mem,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
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
use datastreamer::{Share, ShareOf, StreamOptions, StreamPool, StreamWriter};
use datastreamer_http::{
    Connection, Download, DownloadBody, HoldingBody, Pieces, PlanReport, Problem, count_requests,
};
use datastreamer_spool::{Beginning, How, Key, Production};
use serde_json::json;

use crate::{
    config::Keep,
    escapes,
    export::Export,
    http::client::{Client, Sees},
    http::connection::Open,
    http::cors,
    http::deliveries::{Deliveries, Delivery},
    http::events::{self, Listeners},
    http::health::{Attempt, Health},
    http::index,
    http::page,
    http::posted,
    http::produced::prefers_async,
    http::receipt::ReceiptId,
    http::receipts,
    http::refused,
    http::spool::LazySpool,
    http::spooled::{self, Reading},
    http::transfers::{Asked, Transfers, uptime},
    refusal::{Concealed, Refusal, SOURCE_FAILED},
    site::{Site, routes::Route},
    sources::{Feed, Job, Query, SourceError},
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
    pub(crate) listeners: Listeners,
    pub(crate) deliveries: Deliveries,
    pub(crate) health: Health,
    pub(crate) spool: LazySpool,
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
    cors::allow(for_all, &app.site().config.cors)
        .merge(for_nobody_elsewhere)
        .layer(middleware::from_fn(require_host))
        .layer(middleware::from_fn(count_requests))
        .layer(middleware::from_fn_with_state(app, refused::log))
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
    let (status, name, broken) = app.health.show(&app.site().routes);
    let health = json!({
        "status": name,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime(app.started),
        "broken": broken,
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
    Export::find(site, file_name, &query, accept, true)
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
    if let Some(rows) = &export.job.rows {
        asked.capped = Some(Arc::clone(&rows.capped));
        if let Some(most) = rows.rows_max {
            download = download.header(ROW_LIMIT.clone(), most.into());
        }
        if export.is_by_accept {
            download = download.header(header::VARY, HeaderValue::from_static("accept"));
        }
    }
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
    let mut response = match sending.pinning(&export) {
        Pinning::None => sending.directly(download, export).await,
        Pinning::IfThere => sending.if_there(download, export).await,
        Pinning::Always => sending.pinned(download, export).await,
        Pinning::Later => sending.later(download, export).await,
    };
    if is_followed.load(Ordering::Relaxed) {
        response.extensions_mut().insert(refused::Recorded);
    }
    // A response without a stream has none of the stream's deadlines.
    let open = open.filter(|_| response.status().is_success());
    response.map(|body| Body::new(HoldingBody::new(body, open)))
}

/// Whether a response is read from a production.
enum Pinning {
    /// No: its client has a run of its own.
    None,
    /// If there is one: the request runs nothing.
    IfThere,
    Always,
    /// Not now: the production is begun, and the response tells where it will be.
    Later,
}

/// One response on its way.
struct Sending<'a> {
    app: &'a App,
    site: &'a Arc<Site>,
    request: &'a Request<()>,
    file_name: &'a str,
    client: Option<Client>,
    delivery: Delivery,
    asked: Asked,
    attempt: Attempt,
    /// Set when planning shows a mistake of the client's.
    refused: Arc<AtomicBool>,
}

impl Sending<'_> {
    fn pinning(&self, export: &Export<'_>) -> Pinning {
        let has_ranges = self.request.headers().contains_key(header::RANGE);
        if has_ranges {
            self.delivery.note_ranges();
        }
        match (export.route.keep, self.request.method()) {
            (Keep::Nothing, _) => Pinning::None,
            _ if export.job.is_file => Pinning::None,
            (_, &Method::HEAD) => Pinning::IfThere,
            (_, method) if method != Method::GET => Pinning::None,
            _ if self.may_be_later(export) => Pinning::Later,
            (Keep::Auto, _) if !has_ranges && !self.delivery.reads_ranges() => Pinning::None,
            _ => Pinning::Always,
        }
    }

    /// Runs the source for this client alone.
    async fn directly(self, download: Download, export: Export<'_>) -> Response<DownloadBody> {
        let options = self.source_options(&export);
        let span = tracing::info_span!("stream", route = self.file_name);
        let (job, name) = (export.job, self.file_name.to_owned());
        let (site, delivery) = (Arc::clone(self.site), self.delivery);
        let refused = self.refused;
        // Ranges begin a production.
        let has_ranges =
            export.route.keep != Keep::Nothing && *self.request.method() == Method::HEAD;
        download
            .options(options)
            .respond_planned(self.request, |options, report| {
                span.in_scope(|| {
                    options.stream_out(move |out| {
                        let _kept_to_the_end = site;
                        let feed = start(job, &name, &refused, out)?;
                        send_pieces(feed, has_ranges, &delivery, report, out)
                    })
                })
            })
            .await
    }

    /// Reads the production if there is one; otherwise plans.
    async fn if_there(self, download: Download, mut export: Export<'_>) -> Response<DownloadBody> {
        let (key, _) = match self.key(&mut export).await {
            Ok(key) => key,
            Err(response) => return *response,
        };
        let found = self.app.spool.opened().and_then(|spool| spool.find(&key));
        match found {
            Some(production) => self.read(production, download).await,
            None => self.directly(download, export).await,
        }
    }

    /// Reads the production, and begins it if there is none.
    async fn pinned(self, download: Download, export: Export<'_>) -> Response<DownloadBody> {
        match self.produce(export).await {
            Ok((production, _)) => self.read(production, download).await,
            Err(response) => *response,
        }
    }

    /// Begins the production, and tells where it will be. Without a receipt it is read instead.
    async fn later(self, download: Download, export: Export<'_>) -> Response<DownloadBody> {
        // So that the client's next request reads the production.
        self.delivery.note_ranges();
        let (production, how) = match self.produce(export).await {
            Ok(produced) => produced,
            Err(response) => return *response,
        };
        let file = self.request.uri().path_and_query();
        let file = file.map_or("/", |file| file.as_str());
        let (transfers, asked) = (&self.app.transfers, self.asked.clone());
        match transfers.accept(&production, how, asked, file) {
            Some(accepted) => accepted,
            None => self.read(production, download).await,
        }
    }

    /// Returns whether the client prefers a file that is made for later, and would find it.
    fn may_be_later(&self, export: &Export<'_>) -> bool {
        let is_found = export.route.keep != Keep::Auto || self.delivery.is_of_known_client();
        prefers_async(self.request.headers()) && is_found
    }

    /// Joins the production, or begins it.
    async fn produce(
        &self,
        mut export: Export<'_>,
    ) -> Result<(Production, How), Box<Response<DownloadBody>>> {
        let (key, is_versioned) = self.key(&mut export).await?;
        let options = self.source_options(&export).context(self.file_name);
        let keep = match export.route.keep {
            Keep::Auto if !is_versioned => Keep::For(UNVERSIONED_KEEP),
            keep => keep,
        };
        let client = self.client.map(|client| client.key().to_string());
        let client = client.unwrap_or_default();
        let begin = || {
            let (media_type, saved_as) = (export.media_type().to_owned(), export.file_name());
            let span = tracing::info_span!("production", route = self.file_name);
            let (job, name, site) = (export.job, self.file_name.to_owned(), Arc::clone(self.site));
            let refused = Arc::clone(&self.refused);
            let reader = span.in_scope(|| {
                options.stream_out(move |out| {
                    let _kept_to_the_end = site;
                    let feed = start(job, &name, &refused, out)?;
                    let all = Pieces::complete(feed.planned.known_length());
                    feed.write_to(out, &all)
                })
            });
            let target = self.asked.target();
            let transfers = &self.app.transfers;
            transfers.follow_source(&reader.handle(), self.file_name, target, &self.refused);
            Beginning::new(reader)
                .media_type(media_type)
                .file_name(saved_as)
        };
        let joined = spooled::join_or_begin(self.app, key, keep, client, begin).await;
        joined.map_err(|problem| Box::new(problem.into_response()))
    }

    async fn read(self, production: Production, download: Download) -> Response<DownloadBody> {
        let reading = Reading {
            request: self.request,
            download,
            options: self.reader_options(),
            delivery: self.delivery,
            origin: self.asked.origin,
            commit_after: self.site.config.stream.commit_after,
            length_wait: self.site.config.tables.length_wait(),
        };
        spooled::respond(production, reading).await
    }

    /// Names the production of the request, and says whether the name tells states of the data apart;
    /// looks at the files of a table.
    async fn key(
        &self,
        export: &mut Export<'_>,
    ) -> Result<(Key, bool), Box<Response<DownloadBody>>> {
        let refuse = |refusal: Refusal| {
            let response = refused::response(refusal.about(self.file_name));
            if let Some(problem) = response.extensions().get::<Problem>() {
                self.attempt.fail(problem);
            }
            Box::new(response)
        };
        let fingerprint = match export.job.fingerprint.take() {
            None => None,
            Some(look) => match tokio::task::spawn_blocking(look).await {
                Ok(found) => Some(found.map_err(refuse)?),
                Err(error) => {
                    let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, SOURCE_FAILED);
                    return Err(refuse(refusal.caused_by(error)));
                }
            },
        };
        // Of data whose state is not known only one client's ranges belong together.
        let reader = match (export.route.keep, fingerprint, self.client) {
            (Keep::Auto, None, Some(client)) => client.key().to_string(),
            _ => String::new(),
        };
        let query = self.request.uri().query().unwrap_or_default();
        let key = spooled::key(&export.file_name(), query, fingerprint, &reader);
        Ok((key, fingerprint.is_some()))
    }

    fn source_options(&self, export: &Export<'_>) -> StreamOptions {
        let is_sorted = export.job.rows.as_ref().is_some_and(|rows| rows.is_sorted);
        let options = stream_options(self.site, export.route, is_sorted, self.client);
        options.pool(self.app.transfers.pool())
    }

    /// A reader of a production holds nothing that is scarce.
    fn reader_options(&self) -> StreamOptions {
        let options = self.site.config.stream_options().pool(&self.app.readers);
        match self.client {
            None => options,
            Some(client) => options.share(client_share(self.site, &client)),
        }
    }
}

/// Of data whose state is not known, a production is kept for a minute after its last use: as long as
/// one program reads ranges of it.
const UNVERSIONED_KEEP: Duration = Duration::from_secs(60);

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
        options = options.share(client_share(site, client));
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

/// What one client may have of all streams of a pool.
fn client_share(site: &Site, client: &Client) -> Share {
    let most = site.config.limits.max_active_per_client;
    Share::new(format!("client {}", client.key()), ShareOf::Consumer, most)
}

/// Plans a file, once its stream has a place.
fn start(
    job: Job,
    file_name: &str,
    refused: &AtomicBool,
    out: &StreamWriter,
) -> Result<Feed, SourceError> {
    job.start(out).map_err(|refusal| {
        refused.store(refusal.status.is_client_error(), Ordering::Relaxed);
        Concealed::refusal(refusal.about(file_name)).into()
    })
}

/// Writes what the request wants of a file. For HEAD nothing; `has_ranges` if a GET may have ranges that
/// this source cannot give.
fn send_pieces(
    feed: Feed,
    has_ranges: bool,
    delivery: &Delivery,
    report: PlanReport,
    out: &mut StreamWriter,
) -> Result<(), SourceError> {
    let mut planned = feed.planned.clone();
    if has_ranges {
        planned = planned.ranges(true);
    }
    let Some(pieces) = delivery.report(report, planned, feed.unknown_ranges, feed.changed) else {
        return Ok(());
    };
    delivery.recorded_blocking();
    feed.write_to(out, &pieces)
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
