//! One response on its way: a run of the source for its client alone, or a production that is found,
//! begun, read or begun for later.
//!
//! Called by `respond.rs`; calls `spooled.rs`. What a stream counts in, and what its client must take, is
//! decided here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::{Method, Request, Response, StatusCode, header};
use datastreamer::{Share, ShareOf, StreamOptions, StreamWriter};
use datastreamer_http::{Download, DownloadBody, Pieces, PlanReport, Problem};
use datastreamer_spool::{Beginning, How, Key, Production};

use crate::{
    config::Keep,
    export::Export,
    http::{
        client::Client,
        deliveries::Delivery,
        health::Attempt,
        produced::prefers_async,
        refused,
        respond::App,
        spooled::{self, Reading},
        transfers::Asked,
    },
    refusal::{Concealed, Refusal, SOURCE_FAILED},
    site::{Site, routes::Route},
    sources::{Feed, Job, SourceError},
};

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
pub(super) struct Sending<'a> {
    pub(super) app: &'a App,
    pub(super) site: &'a Arc<Site>,
    pub(super) request: &'a Request<()>,
    pub(super) file_name: &'a str,
    pub(super) client: Option<Client>,
    pub(super) delivery: Delivery,
    pub(super) asked: Asked,
    pub(super) attempt: Attempt,
    /// Set when planning shows a mistake of the client's.
    pub(super) refused: Arc<AtomicBool>,
}

impl Sending<'_> {
    pub(super) async fn respond(
        self,
        download: Download,
        export: Export<'_>,
    ) -> Response<DownloadBody> {
        match self.pinning(&export) {
            Pinning::None => self.directly(download, export).await,
            Pinning::IfThere => self.if_there(download, export).await,
            Pinning::Always => self.pinned(download, export).await,
            Pinning::Later => self.later(download, export).await,
        }
    }

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
