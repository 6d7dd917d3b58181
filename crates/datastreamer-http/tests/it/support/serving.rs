//! A server under test: hyper over `Armed` sockets whose calls are recorded, in an event loop of one
//! thread.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use datastreamer_http::{Armed, DEFAULT_WRITE_STALL, DownloadBody, HalfClose, Problem};
use datastreamer_testkit::eventually;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
};

use super::spy::Spy;

/// What a service returns.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Response<DownloadBody>> + Send>>;

/// Answers each request; the connection is in the request's extensions.
type Service = Arc<dyn Fn(Request<()>) -> Answer + Send + Sync>;

/// The settings of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) http2: bool,
    pub(crate) write_stall: Option<Duration>,
    /// Whether requests are counted.
    pub(crate) counts: bool,
    pub(crate) half_close: HalfClose,
    pub(crate) keep_alive: bool,
    /// How many bytes of an HTTP/1.1 response hyper may buffer; `None`: its default.
    pub(crate) http1_buffer_bytes: Option<usize>,
}

impl Setup {
    pub(crate) const HTTP1: Self = Self {
        http2: false,
        write_stall: Some(DEFAULT_WRITE_STALL),
        counts: true,
        half_close: HalfClose::HangUp,
        keep_alive: true,
        http1_buffer_bytes: None,
    };
    pub(crate) const HTTP2: Self = Self {
        http2: true,
        ..Self::HTTP1
    };

    /// Serves until the returned value is dropped, which drops every connection.
    pub(crate) fn serve<S, F>(self, service: S) -> Serving
    where
        S: Fn(Request<()>) -> F + Send + Sync + 'static,
        F: Future<Output = Response<DownloadBody>> + Send + 'static,
    {
        Serving::start(self, Arc::new(move |request| Box::pin(service(request))))
    }
}

/// A running server.
pub(crate) struct Serving {
    address: SocketAddr,
    spies: Arc<Mutex<Vec<Spy>>>,
    close: watch::Sender<()>,
    thread_name: String,
    runtime: Option<Runtime>,
}

impl Serving {
    fn start(setup: Setup, service: Service) -> Self {
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let thread_name = format!("loop-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(&thread_name)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let serving = Self {
            address: listener.local_addr().unwrap(),
            spies: Arc::default(),
            close: watch::channel(()).0,
            thread_name,
            runtime: Some(runtime),
        };
        let (spies, close) = (Arc::clone(&serving.spies), serving.close.subscribe());
        serving.runtime().spawn(async move {
            loop {
                let (tcp, peer) = listener.accept().await.unwrap();
                let spy = Spy::default();
                spies.lock().unwrap().push(spy.clone());
                let service = Arc::clone(&service);
                tokio::spawn(serve_one(setup, tcp, peer, spy, service, close.clone()));
            }
        });
        serving
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// Returns the name of the event loop's thread.
    pub(crate) fn thread_name(&self) -> &str {
        &self.thread_name
    }

    /// Returns the spy of the connection that was accepted as number `index`.
    pub(crate) fn spy(&self, index: usize) -> Spy {
        eventually("a connection is accepted", || {
            self.spies.lock().unwrap().len() > index
        });
        self.spies.lock().unwrap()[index].clone()
    }

    /// Closes each connection once its current response is sent.
    pub(crate) fn close_gracefully(&self) {
        self.close.send(()).unwrap();
    }

    /// Ends the event loop with everything that runs in it, as the end of the process would.
    pub(crate) fn crash(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

async fn serve_one(
    setup: Setup,
    tcp: TcpStream,
    peer: SocketAddr,
    spy: Spy,
    service: Service,
    mut close: watch::Receiver<()>,
) {
    let io = Armed::with_socket(spy.wrap(tcp), Some(peer))
        .write_stall(setup.write_stall)
        .half_close(setup.half_close);
    let connection = io.connection();
    let service = service_fn(move |request: Request<Incoming>| {
        let (mut parts, _) = request.into_parts();
        parts.extensions.insert(connection.clone());
        let open = setup.counts.then(|| connection.open_request());
        let answer = service(Request::from_parts(parts, ()));
        async move {
            Ok::<_, Infallible>(match open {
                None => answer.await.map(BoxBody::new),
                Some(Some(open)) => open.count(answer.await).map(BoxBody::new),
                Some(None) => {
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    Problem::new(status, "too many have stalled")
                        .into_response::<DownloadBody>()
                        .map(BoxBody::new)
                }
            })
        }
    });
    // The client and the spy report how a connection ended.
    if setup.http2 {
        let served = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(io), service);
        let mut served = std::pin::pin!(served);
        tokio::select! {
            _ = served.as_mut() => return,
            _ = close.changed() => served.as_mut().graceful_shutdown(),
        }
        let _ = served.await;
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .keep_alive(setup.keep_alive);
        if let Some(bytes) = setup.http1_buffer_bytes {
            builder.max_buf_size(bytes);
        }
        let served = builder.serve_connection(TokioIo::new(io), service);
        let mut served = std::pin::pin!(served);
        tokio::select! {
            _ = served.as_mut() => return,
            _ = close.changed() => served.as_mut().graceful_shutdown(),
        }
        let _ = served.await;
    }
}
