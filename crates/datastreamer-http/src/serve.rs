//! Serves an axum router so that no failure of a download is hidden, and ends in good order.
//!
//! An application calls it in place of `axum::serve`; it calls that with armed connections.

use std::{future::Future, io, time::Duration};

use axum::{
    Router,
    extract::{Request, connect_info::Connected},
    middleware::{self, Next},
    response::Response,
    serve::{IncomingStream, Listener},
};
use datastreamer::{Shutdown, StreamPool};
use http::Method;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout_at},
};

use crate::{
    armed::Connection,
    axum_listener::{ArmedListener, count_requests},
    framing::framing_first,
    guard::Ends,
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
    pools: Vec<StreamPool>,
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
            pools: Vec::new(),
            drain: DEFAULT_DRAIN,
        }
    }

    /// Sets the pool of the downloads, in place of the process's global one; further calls add pools. At the
    /// stop they start no more streams, and those that run are waited for and aborted. The responses of
    /// another pool are aborted too, but its other streams are not, and nobody waits for its sources.
    pub fn pool(mut self, pool: &StreamPool) -> Self {
        self.pools.push(pool.clone());
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
            mut pools,
            drain,
        } = self;
        if pools.is_empty() {
            pools.push(StreamPool::global().clone());
        }
        let (end, ended) = watch::channel(false);
        let ends = Ends::new(ended);
        let outermost = {
            let ends = ends.clone();
            move |request, next| guard(ends.clone(), request, next)
        };
        let router = router
            .layer(middleware::from_fn(count_requests))
            .layer(middleware::from_fn(outermost));
        let service = router.into_make_service_with_connect_info::<Connection>();
        let (stopping, stopped) = oneshot::channel();
        let stop = {
            let pools = pools.clone();
            async move {
                stop.await;
                pools.iter().for_each(StreamPool::refuse_new);
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
                () = until_empty(&pools) => {}
                () = drained => {}
            }
        }
        let aborted: usize = pools.iter().map(StreamPool::abort_all).sum();
        // Streams of other pools, and what is no stream.
        end.send_replace(true);
        let deadline = Instant::now() + ABORTS_MAX;
        if !has_ended {
            let _late = timeout_at(deadline, served).await;
        }
        let _late = timeout_at(deadline, until_empty(&pools)).await;
        Ok(Shutdown {
            aborted: aborted + ends.aborted(),
            left: streams_of(&pools),
        })
    }
}

/// The outermost layer: what the others add to a head stands behind its framing, and what they make of a
/// body is armed.
async fn guard(ends: Ends, request: Request, next: Next) -> Response {
    let (version, method) = (request.version(), request.method().clone());
    let connection = Connection::of(request.extensions());
    let response = framing_first(next.run(request).await, version, &method);
    match method == Method::HEAD {
        true => response,
        false => ends.guard(response, connection.as_ref(), version),
    }
}

async fn until_empty(pools: &[StreamPool]) {
    while streams_of(pools) > 0 {
        sleep(LOOK).await;
    }
}

fn streams_of(pools: &[StreamPool]) -> usize {
    pools.iter().map(|pool| pool.streams().len()).sum()
}
