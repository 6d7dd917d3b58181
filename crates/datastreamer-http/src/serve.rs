//! Serves an axum router so that no failure of a download is hidden, and ends in good order.
//!
//! An application calls it in place of `axum::serve`; it calls that with armed connections.

use std::{future::Future, io, time::Duration};

use axum::{
    Router,
    extract::connect_info::Connected,
    middleware,
    serve::{IncomingStream, Listener},
};
use datastreamer::{Shutdown, StreamPool};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    armed::Connection,
    axum_listener::{ArmedListener, count_requests},
};

/// How long running downloads may go on after the stop: half a minute, as Kubernetes waits before it
/// kills.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// How long aborts may take to reach the clients: a drain of each connection, and some.
const ABORTS_MAX: Duration = Duration::from_secs(5);

/// How often the end of the last sources is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Serves a router on a listener, with armed connections, until the process ends.
///
/// Use it in place of `axum::serve`: there is nothing else to remember. `ConnectInfo<SocketAddr>`
/// works in handlers, and so does `ConnectInfo<Connection>`.
///
/// ```no_run
/// use axum::{Router, extract::Request, routing::get};
/// use datastreamer_http::{Download, serve};
///
/// # async fn run() -> std::io::Result<()> {
/// let app = Router::new().route("/file", get(|request: Request| async move {
///     Download::new("text/plain")
///         .respond(&request, |options| options.stream_out(|out| out.write_slice(b"a file")))
///         .await
/// }));
/// serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, app).await
/// # }
/// ```
///
/// # Errors
/// None at present: axum tries again when a connection cannot be accepted.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let never = std::future::pending();
    Serve::new(listener, router).until(never).await.map(drop)
}

/// A router and its listener, with what it takes to end in good order.
///
/// ```no_run
/// use std::time::Duration;
/// use axum::Router;
/// use datastreamer_http::Serve;
///
/// # async fn run(app: Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let shutdown = Serve::new(listener, app)
///     .drain(Duration::from_secs(10))
///     .until(async { drop(tokio::signal::ctrl_c().await) })
///     .await?;
/// println!("{} downloads were aborted", shutdown.aborted);
/// # Ok(())
/// # }
/// ```
#[must_use = "it serves nothing before `until` is awaited"]
#[derive(Debug)]
pub struct Serve<L = ArmedListener> {
    listener: L,
    router: Router,
    pool: StreamPool,
    drain: Duration,
}

impl Serve {
    /// Serves on a listener of TCP.
    pub fn new(listener: TcpListener, router: Router) -> Self {
        Self::on(ArmedListener::new(listener), router)
    }
}

impl<L> Serve<L> {
    /// Serves on an armed listener with settings of its own: an [`ArmedListener`], or what
    /// `ArmedListener::tls` makes (feature `tls`).
    pub fn on(listener: L, router: Router) -> Self {
        Self {
            listener,
            router,
            pool: StreamPool::global().clone(),
            drain: DEFAULT_DRAIN,
        }
    }

    /// Sets the pool of the downloads; without this it is the process's global pool.
    pub fn pool(mut self, pool: &StreamPool) -> Self {
        self.pool = pool.clone();
        self
    }

    /// Sets how long running downloads may go on after the stop.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }
}

impl<L> Serve<L>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
    for<'a> Connection: Connected<IncomingStream<'a, L>>,
{
    /// Serves until `stop` is ready. Then no connection is accepted and no stream gets a place any
    /// more; running downloads may go on for the time of the drain, and are then aborted, which their
    /// clients see. Returns when all connections have ended, or a few seconds after the aborts.
    ///
    /// # Errors
    /// None at present: axum tries again when a connection cannot be accepted.
    pub async fn until<S>(self, stop: S) -> io::Result<Shutdown>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let Self {
            listener,
            router,
            pool,
            drain,
        } = self;
        let router = router.layer(middleware::from_fn(count_requests));
        let service = router.into_make_service_with_connect_info::<Connection>();
        let (stopping, stopped) = oneshot::channel();
        let stop = {
            let pool = pool.clone();
            async move {
                stop.await;
                pool.refuse_new();
                let _nobody_waits = stopping.send(());
            }
        };
        let served = axum::serve(listener, service).with_graceful_shutdown(stop);
        let mut served = std::pin::pin!(served.into_future());
        let drained = async {
            match stopped.await {
                Ok(()) => sleep(drain).await,
                Err(_) => std::future::pending().await,
            }
        };
        let mut drained = std::pin::pin!(drained);
        let has_ended = tokio::select! {
            ended = served.as_mut() => {
                ended?;
                true
            }
            () = drained.as_mut() => false,
        };
        if has_ended {
            // Streams that are sent elsewhere, and sources that still clean up, have their time too.
            tokio::select! {
                () = until_empty(&pool) => {}
                () = drained => {}
            }
        }
        let aborted = pool.abort_all();
        let deadline = Instant::now() + ABORTS_MAX;
        if !has_ended {
            let _late = timeout_at(deadline, served).await;
        }
        let _late = timeout_at(deadline, until_empty(&pool)).await;
        Ok(Shutdown {
            aborted,
            left: pool.streams().len(),
        })
    }
}

async fn until_empty(pool: &StreamPool) {
    while !pool.streams().is_empty() {
        sleep(LOOK).await;
    }
}
