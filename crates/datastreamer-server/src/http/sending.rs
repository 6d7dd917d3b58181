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
use tokio::sync::oneshot;

use crate::{
    config::Keep,
    export::Export,
    http::{
        client::Client,
        deliveries::Delivery,
        health::Attempt,
        produced::prefers_async,
        refused,
        rerun::{self, Rerun},
        respond::App,
        spooled::{self, Reading},
        transfers::Asked,
        versions::{Lengths, Named, Version},
    },
    refusal::{Concealed, Refusal, SOURCE_FAILED},
    site::{Site, routes::Route},
    sources::{DataState, Feed, Job, RowFacts, SourceError},
};

/// Whether a response is read from a production.
enum Pinning {
    /// No: its client has a run of its own.
    None,
    /// If there is one: the request runs nothing.
    IfThere,
    Always,
    /// No, but another run may go on where one was broken off.
    Rerun,
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
            Pinning::Rerun => self.rerun(download, export).await,
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
            (Keep::Rerun, &Method::GET) => Pinning::Rerun,
            (Keep::Rerun, _) => Pinning::None,
            (_, &Method::HEAD) => Pinning::IfThere,
            (_, method) if method != Method::GET => Pinning::None,
            _ if self.may_be_later(export) => Pinning::Later,
            (Keep::Auto, _) if !has_ranges && !self.delivery.reads_ranges() => Pinning::None,
            _ => Pinning::Always,
        }
    }

    /// Runs the source for this client alone.
    async fn directly(self, download: Download, export: Export<'_>) -> Response<DownloadBody> {
        self.know_own_rows(&export);
        let options = self.source_options(&export);
        let span = tracing::info_span!("stream", route = self.file_name);
        let version = self.version(&export);
        let lengths = self.app.transfers.lengths().clone();
        // Ranges begin a production.
        let may_have_ranges = export.route.keep != Keep::Nothing;
        let is_head = *self.request.method() == Method::HEAD;
        let (job, name) = (export.job, self.file_name.to_owned());
        let (site, delivery) = (Arc::clone(self.site), self.delivery);
        let refused = self.refused;
        download
            .options(options)
            .respond_planned(self.request, |options, report| {
                span.in_scope(|| {
                    options.stream_out(move |out| {
                        let _kept_to_the_end = site;
                        let feed = tagged(job, &name, &refused, &version, &lengths, out)?;
                        let has_tag = feed.planned.known_etag().is_some();
                        let has_ranges = may_have_ranges && (has_tag || is_head);
                        send_pieces(feed, has_ranges, &delivery, report, out)
                    })
                })
            })
            .await
    }

    /// Runs the source for this client alone, and sends what is behind the place that it resumes at.
    async fn rerun(self, download: Download, export: Export<'_>) -> Response<DownloadBody> {
        self.know_own_rows(&export);
        // What the source counts in is that of the source; its own deadlines hold while it is compared.
        let options = self.reader_options().source_stall(None);
        let of_source = self.source_options(&export).context(self.file_name);
        let span = tracing::info_span!("stream", route = self.file_name);
        let version = self.version(&export);
        let rerun = Rerun {
            runs: self.app.runs.clone(),
            name: Arc::clone(version.name()),
            is_of_data: version.is_of_data(),
            asks_for_change: self.request.headers().contains_key(header::IF_NONE_MATCH),
            lengths: self.app.transfers.lengths().clone(),
            facts: row_facts(&export.job),
            delivery: self.delivery,
            wait: self.site.config.tables.length_wait(),
        };
        let lengths = rerun.lengths.clone();
        let (job, name, site) = (export.job, self.file_name.to_owned(), Arc::clone(self.site));
        let refused = self.refused;
        download
            .options(options)
            .respond_planned(self.request, |options, report| {
                let (planned, plan) = oneshot::channel();
                let source = span.in_scope(|| {
                    of_source.stream_out(move |out| {
                        let _kept_to_the_end = site;
                        let feed = tagged(job, &name, &refused, &version, &lengths, out)?;
                        let all = Pieces::complete(feed.planned.known_length());
                        let _given_up = planned.send(rerun::Plan {
                            planned: feed.planned.clone(),
                            changed: feed.changed,
                        });
                        feed.write_to(out, &all)
                    })
                });
                options.stream_out_async_write(|out| rerun.send(source, plan, report, out))
            })
            .await
    }

    /// Reads the production if there is one; otherwise plans.
    async fn if_there(self, download: Download, export: Export<'_>) -> Response<DownloadBody> {
        let version = self.version(&export);
        let state = match self.look(&version).await {
            Ok(state) => state,
            Err(response) => return *response,
        };
        let key = self.key(&export, &version, state);
        let found = match self.app.spool.opened() {
            Some(spool) => spooled::find(spool, &key).await,
            None => None,
        };
        match found {
            Some(production) => {
                let transfers = &self.app.transfers;
                transfers.know_rows(
                    &self.asked,
                    &production,
                    How::Joined,
                    row_facts(&export.job),
                );
                self.read(production, download).await
            }
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
        export: Export<'_>,
    ) -> Result<(Production, How), Box<Response<DownloadBody>>> {
        let version = self.version(&export);
        let state = self.look(&version).await?;
        let key = self.key(&export, &version, state);
        let lengths = self.app.transfers.lengths().clone();
        let tag = lengths.trusted(version.tag(state));
        let facts = row_facts(&export.job);
        let noted = facts.clone();
        let options = self.source_options(&export).context(self.file_name);
        let keep = match export.route.keep {
            Keep::Auto if state.is_none() => Keep::For(UNVERSIONED_KEEP),
            keep => keep,
        };
        let client = self.client.map(|client| client.key().to_string());
        let client = client.unwrap_or_default();
        let begin = || {
            let (media_type, saved_as) = (export.media_type().to_owned(), export.file_name());
            let span = tracing::info_span!("production", route = self.file_name);
            let (job, name, site) = (export.job, self.file_name.to_owned(), Arc::clone(self.site));
            let refused = Arc::clone(&self.refused);
            let etag = tag.clone();
            let reader = span.in_scope(|| {
                options.stream_out(move |out| {
                    let _kept_to_the_end = site;
                    let rows = row_facts(&job);
                    let feed = start(job, &name, &refused, out)?;
                    let named = Named::Already;
                    let feed = version.identify(feed, state, tag, &lengths, rows.as_deref(), named);
                    let feed = feed.map_err(Concealed::refusal)?;
                    let all = Pieces::complete(feed.planned.known_length());
                    feed.write_to(out, &all)
                })
            });
            let target = self.asked.target();
            let transfers = &self.app.transfers;
            let attempt = self.attempt.clone();
            let handle = reader.handle();
            transfers.follow_source(&handle, self.file_name, target, &self.refused, attempt);
            Beginning::new(reader)
                .etag(etag)
                .media_type(media_type)
                .file_name(saved_as)
                .note(move || noted.as_ref()?.to_note())
        };
        let joined = spooled::join_or_begin(self.app, key, keep, client, begin).await;
        let (production, how) = joined.map_err(|problem| Box::new(problem.into_response()))?;
        let transfers = &self.app.transfers;
        transfers.know_rows(&self.asked, &production, how, facts);
        Ok((production, how))
    }

    async fn read(self, production: Production, download: Download) -> Response<DownloadBody> {
        let reading = Reading {
            request: self.request,
            download,
            options: self.reader_options(),
            delivery: self.delivery,
            origin: self.asked.origin,
            health: self.app.health.clone(),
            length_wait: self.site.config.tables.length_wait(),
        };
        spooled::respond(production, reading).await
    }

    fn know_own_rows(&self, export: &Export<'_>) {
        if let Some(facts) = row_facts(&export.job) {
            let _once = self.asked.facts.set(facts);
        }
    }

    fn version(&self, export: &Export<'_>) -> Version {
        Version::of(export, self.request.uri().query().unwrap_or_default())
    }

    /// Looks at the data on a thread that may block.
    async fn look(
        &self,
        version: &Version,
    ) -> Result<Option<DataState>, Box<Response<DownloadBody>>> {
        let version = version.clone();
        let looked = tokio::task::spawn_blocking(move || version.look()).await;
        let looked = looked.unwrap_or_else(|error| {
            let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, SOURCE_FAILED);
            Err(refusal.caused_by(error))
        });
        looked.map_err(|refusal| {
            let response = refused::response(refusal.about(self.file_name));
            if let Some(problem) = response.extensions().get::<Problem>() {
                self.attempt.fail(problem);
            }
            Box::new(response)
        })
    }

    /// Names the production of the request.
    fn key(&self, export: &Export<'_>, version: &Version, state: Option<DataState>) -> Key {
        // Of data whose state is not known only one client's ranges belong together.
        let reader = match (export.route.keep, state, self.client) {
            (Keep::Auto, None, Some(client)) => client.key().to_string(),
            _ => String::new(),
        };
        version.key(state, &reader)
    }

    fn source_options(&self, export: &Export<'_>) -> StreamOptions {
        let is_sorted = export.job.rows.as_ref().is_some_and(|rows| rows.is_sorted);
        let options = stream_options(self.site, export.route, is_sorted, self.client);
        options.pool(self.app.transfers.pool())
    }

    /// A reader of a production holds nothing that is scarce.
    fn reader_options(&self) -> StreamOptions {
        let options = self.site.config.reader_options().pool(&self.app.readers);
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

fn row_facts(job: &Job) -> Option<Arc<RowFacts>> {
    job.rows.as_ref().map(|rows| Arc::clone(&rows.facts))
}

/// Plans a file, once its stream has a place.
fn start(
    job: Job,
    file_name: &str,
    refused: &AtomicBool,
    out: &StreamWriter,
) -> Result<Feed, SourceError> {
    job.start(out).map_err(|refusal| {
        refused.store(refusal.is_of_client(), Ordering::Relaxed);
        Concealed::refusal(refusal.about(file_name)).into()
    })
}

/// Plans a file, and names its version if it has one.
fn tagged(
    job: Job,
    file_name: &str,
    refused: &AtomicBool,
    version: &Version,
    lengths: &Lengths,
    out: &StreamWriter,
) -> Result<Feed, SourceError> {
    // What cannot be looked at is for the source to report. Of what has no tag nothing is to be looked at:
    // a folder may have a hundred thousand files.
    let state = match version.is_of_data() {
        true => version.look().unwrap_or_default(),
        false => None,
    };
    let tag = lengths.trusted(version.tag(state));
    let rows = row_facts(&job);
    let feed = start(job, file_name, refused, out)?;
    let feed = version.identify(feed, state, tag, lengths, rows.as_deref(), Named::NotYet);
    Ok(feed.map_err(Concealed::refusal)?)
}

/// Writes what the request wants of a file. For HEAD nothing; `has_ranges` if another request may have
/// ranges that this source cannot give.
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
