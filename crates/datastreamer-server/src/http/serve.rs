//! The server: listens, accepts within its limits, drains at the end.

use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
    sync::{Arc, RwLock},
    thread,
    time::{Duration, SystemTime},
};

use axum::Router;
use datastreamer::StreamPool;
use datastreamer_http::{Armed, HalfClose};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    config::{self, Config, Limits},
    error::Fatal,
    http::connection::{self, Patience},
    http::deliveries::Deliveries,
    http::events::Listeners,
    http::health::Health,
    http::rerun::Runs,
    http::respond::{App, router},
    http::spool::LazySpool,
    http::transfers::Transfers,
    site::Site,
    sources::Source,
};

/// What hyper may hold of one HTTP/1.1 response, in bytes: the chunk in flight and no more. Its
/// own default, 400 KiB, would double what a stalled client costs.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;
/// What hyper may hold of one HTTP/2 response, in bytes; the rest waits in the stream's own
/// bounded buffer.
const HTTP2_SEND_BYTES: usize = 128 * 1024;
/// Streams on one HTTP/2 connection: what browsers use, and no more threads than that for one
/// client.
const HTTP2_STREAMS_MAX: u32 = 100;
/// The largest head: 16 KiB, as most servers have it.
const HEAD_BYTES_MAX: u32 = 16 * 1024;
/// After this silence an HTTP/2 client is asked whether it is there.
const HTTP2_PING: Duration = Duration::from_secs(20);
/// After the visible aborts: time for sources to clean up and for the aborts to go out.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How often the shutdown checks whether the last records are logged.
const LOG_LOOK: Duration = Duration::from_millis(5);
/// How long the accept loop rests when the process has no descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Said of an archive: the files of the folder may be those of a table.
const FOLDER_AS_TABLE: &str = "  (an archive; --table PATH serves a folder's files as a table)";

/// Serves until a signal comes; blocks.
pub(crate) fn run(mut config: Config) -> Result<(), Fatal> {
    config.tables.serve_while_opening();
    let site = Site::build(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fatal::Other(format!("no runtime: {error}")))?;
    let served = runtime.block_on(serve(site));
    // Sources that do not return (a blocked read, a computation) must not keep the process.
    runtime.shutdown_background();
    served
}

async fn serve(site: Site) -> Result<(), Fatal> {
    let server = Server::new(site);
    if server.app.spool.has_own_folder() {
        let opened = server.app.spool.get().await;
        opened.map_err(|error| Fatal::config(format!("spool.folder: {error}")))?;
    }
    let site = server.app.site();
    let listener = listen(&site.config.listen).await?;
    let mut signals = Signals::new()?;
    let address = listener
        .local_addr()
        .map_err(|error| Fatal::Other(format!("no address: {error}")))?;
    // A reader may close the output once it has read enough: the server goes on.
    let _closed = print_urls(&site, address);
    tracing::info!(%address, routes = site.routes.iter().count(), "listening");
    if cfg!(debug_assertions) {
        tracing::warn!("this is a debug build, many times slower than one with --release");
    }
    warn_of_databases(site);
    tokio::select! {
        () = server.accept_all(&listener) => {}
        () = signals.next() => {}
    }
    drop(listener);
    server.shut_down(signals).await;
    Ok(())
}

/// Says in the log which databases cannot be reached, on a thread of its own: their routes fail until
/// they can be, and all others are served.
fn warn_of_databases(site: Arc<Site>) {
    let look = move || {
        for (name, connected) in site.connect() {
            if let Err(error) = connected {
                tracing::warn!(
                    database = name,
                    error,
                    "a database cannot be reached: its routes fail until it can be"
                );
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("connect".into()).spawn(look) {
        tracing::warn!(%error, "it is not known whether the databases can be reached");
    }
}

/// Listens on the first address that is available.
async fn listen(addresses: &[SocketAddr]) -> Result<TcpListener, Fatal> {
    TcpListener::bind(addresses).await.map_err(|error| {
        let addresses = config::show(addresses);
        Fatal::config(format!("cannot listen on {addresses}: {error}"))
    })
}

fn print_urls(site: &Site, address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (_, route) in site.routes.iter() {
        let query = route.source.example_query();
        let forms = match route.source {
            Source::Directory(_) => FOLDER_AS_TABLE.to_owned(),
            _ => route.other_suffixes(),
        };
        writeln!(out, "http://{address}/{}{query}{forms}", route.url_part())?;
    }
    writeln!(out, "http://{address}/ lists them")?;
    out.flush()
}

/// A server, which answers with its current [`Site`].
pub struct Server {
    app: Arc<App>,
    router: Router,
    builder: auto::Builder<TokioExecutor>,
    /// Changes once, when connections are to end in good order; each holds a receiver.
    stop: watch::Sender<()>,
    connections: Arc<Semaphore>,
    connections_max: usize,
    limits: Limits,
    half_close: HalfClose,
    drain: Duration,
}

impl Server {
    /// Makes a server of a site. Of its configuration the limits of the pool and of connections, the
    /// drain and the origins of `server.cors` hold for as long as it runs.
    pub fn new(site: Site) -> Self {
        let Config {
            limits,
            half_close,
            drain,
            ..
        } = site.config;
        let deliveries = Deliveries::new();
        let spool = LazySpool::new(site.config.spool.clone(), deliveries.clone());
        let spool = Arc::new(spool);
        site.config.tables.count_temporary_files(spool.room());
        let app = Arc::new(App {
            spool,
            deliveries,
            runs: Runs::new(),
            health: Health::default(),
            readers: StreamPool::new(site.config.reader_pool_options()),
            transfers: Transfers::new(
                StreamPool::new(site.config.pool_options()),
                site.config.receipts,
            ),
            listeners: Listeners::default(),
            site: RwLock::new(Arc::new(site)),
            started: SystemTime::now(),
        });
        Self {
            router: router(Arc::clone(&app)),
            app,
            builder: http_builder(&limits),
            stop: watch::Sender::new(()),
            connections: Arc::new(Semaphore::new(limits.max_connections)),
            connections_max: limits.max_connections,
            limits,
            half_close,
            drain,
        }
    }

    /// Returns the service: the files, the index, `/healthz` and `/transfers`. On a connection that
    /// is not a [`datastreamer_http::Armed`], a stream that fails on HTTP/1.1 ends the connection
    /// before its last chunk, and does not reset it.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Returns the pool of all downloads, for a service that ends them in good order
    /// ([`datastreamer_http::Serve::pool`]).
    pub fn pool(&self) -> &StreamPool {
        self.app.transfers.pool()
    }

    /// Serves another site from the next request on. Streams of the old one go on until they end.
    pub fn replace(&self, site: Site) {
        self.app.replace(site);
    }

    /// Accepts connections until it is dropped. At the limit the next one waits in the kernel's
    /// backlog.
    async fn accept_all(&self, listener: &TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else {
                return; // Never closed.
            };
            match listener.accept().await {
                Ok((socket, _)) => self.serve_connection(socket, permit),
                Err(error) => {
                    tracing::warn!(%error, open = self.open_connections(), "cannot accept");
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }

    fn serve_connection(&self, socket: TcpStream, permit: OwnedSemaphorePermit) {
        let io = Armed::new(socket)
            .write_stall(self.limits.client_stall)
            .half_close(self.half_close);
        let patience = Patience {
            first: self.limits.header_timeout,
            idle: self.limits.idle_timeout,
        };
        let (builder, router) = (self.builder.clone(), self.router.clone());
        let served = connection::serve(io, builder, router, patience, self.stop.subscribe());
        tokio::spawn(async move {
            served.await;
            drop(permit);
        });
    }

    fn open_connections(&self) -> usize {
        self.connections_max - self.connections.available_permits()
    }

    /// Lets running transfers end until the deadline, then aborts them visibly. A second signal
    /// aborts at once.
    async fn shut_down(self, mut signals: Signals) {
        let pools = Pools([self.app.transfers.pool().clone(), self.app.readers.clone()]);
        let drain = self.drain;
        pools.refuse_new();
        tracing::info!(active = pools.active(), ?drain, "shutting down");
        // hyper starts its own shutdown only once no response is under way. Otherwise it would add
        // `Connection: close` to heads still to come, and clients (node's fetch) take a reset after
        // that header for the end of the file.
        let emptied = spawn_blocking({
            let pools = pools.clone();
            move || pools.wait_until_empty(drain)
        });
        let drained = tokio::select! {
            emptied = emptied => emptied.unwrap_or(false),
            () = signals.next() => false,
        };
        let sources_end = Instant::now() + SHUTDOWN_GRACE;
        if drained {
            tracing::info!("all transfers have ended");
        } else {
            let aborted = pools.abort_all();
            tracing::warn!(aborted, "transfers were aborted");
            let aborts_out = sources_end.saturating_duration_since(Instant::now());
            let pools = pools.clone();
            let _late = spawn_blocking(move || pools.wait_until_empty(aborts_out)).await;
        }
        // Connections whose clients read nothing are armed, so they are reset when the process ends.
        self.stop.send_replace(());
        let _late = timeout_at(sources_end, self.stop.closed()).await;
        // Also sources whose clients have disconnected: a program must not outlive the server.
        let left = sources_end.saturating_duration_since(Instant::now());
        let _late = spawn_blocking(move || pools.wait_until_empty(left)).await;
        while !self.app.transfers.are_logged() && Instant::now() < sources_end {
            sleep(LOG_LOOK).await;
        }
    }
}

/// The pools of sources and of readers of productions.
#[derive(Clone)]
struct Pools([StreamPool; 2]);

impl Pools {
    fn refuse_new(&self) {
        self.0.iter().for_each(StreamPool::refuse_new);
    }

    fn active(&self) -> usize {
        self.0.iter().map(StreamPool::active).sum()
    }

    fn abort_all(&self) -> usize {
        self.0.iter().map(StreamPool::abort_all).sum()
    }

    /// Blocks, for at most this time.
    fn wait_until_empty(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.0
            .iter()
            .all(|pool| pool.wait_until_empty(deadline.saturating_duration_since(Instant::now())))
    }
}

fn http_builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HTTP1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_send_buf_size(HTTP2_SEND_BYTES)
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING);
    builder
}

/// The signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// The end of the terminal: without a handler it would be that of the transfers.
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, Fatal> {
        let listen = |kind| {
            signal(kind).map_err(|error| Fatal::Other(format!("cannot wait for signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_address_that_can_be_had_is_taken() {
        // Of nobody (RFC 5737), and of everybody.
        let [nobodys, ours] = ["192.0.2.1:0", "127.0.0.1:0"].map(|text| text.parse().unwrap());
        let listener = listen(&[nobodys, ours]).await.unwrap();
        assert_eq!(listener.local_addr().unwrap().ip(), ours.ip());
        assert!(listen(&[nobodys]).await.is_err());
    }
}
