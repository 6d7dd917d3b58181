//! One connection, from its acceptance to its end: who asks for nothing does not stay.
//!
//! `serve.rs` accepts it, `respond.rs` answers its requests. On HTTP/1.1 hyper has a deadline for
//! each head, the next one on an idle connection too. For HTTP/2, and for who has not said yet
//! which of them he speaks, the deadlines are here.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::Request, http::Version};
use datastreamer_http::Armed;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpStream, sync::watch, time::timeout};

/// How long a connection may be without a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Before the first one.
    pub(crate) first: Duration,
    /// Between two on HTTP/2, and once more until it has closed in good order.
    pub(crate) idle: Duration,
}

/// Serves a connection until it ends; a change of `stop` ends it in good order.
pub(crate) async fn serve(
    io: Armed<TcpStream>,
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    patience: Patience,
    mut stop: watch::Receiver<()>,
) {
    let connection = io.connection();
    let (demand, demanded) = watch::channel(Demand::new(patience));
    let service = tower::service_fn(move |mut request: Request<hyper::body::Incoming>| {
        let open = Open::new(&demand, request.version(), patience);
        request.extensions_mut().insert(connection.clone());
        request.extensions_mut().insert(open);
        tower::Service::call(&mut router.clone(), request)
    });
    let served = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    let mut served = pin!(served);
    let mut is_closing = false;
    loop {
        tokio::select! {
            ended = served.as_mut() => {
                // What went wrong with a transfer stands in its record.
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection broke");
                }
                return;
            }
            _ = stop.changed(), if !is_closing => {}
            () = idle(demanded.clone()) => {
                // Who has never asked gets no goodbye; who does not take it has had the time.
                if is_closing || !demanded.borrow().has_asked {
                    return tracing::debug!("connection without a request");
                }
            }
        }
        served.as_mut().graceful_shutdown();
        is_closing = true;
    }
}

/// What is asked of a connection at the moment.
struct Demand {
    has_asked: bool,
    /// Requests that are being answered.
    open: usize,
    /// `None`: hyper has the deadline.
    patience: Option<Duration>,
}

impl Demand {
    fn new(patience: Patience) -> Self {
        Self {
            has_asked: false,
            open: 0,
            patience: Some(patience.first),
        }
    }
}

/// Returns when nothing has been asked for too long.
async fn idle(mut demanded: watch::Receiver<Demand>) {
    loop {
        let patience = {
            let now = demanded.borrow_and_update();
            now.patience.filter(|_| now.open == 0)
        };
        let changed = demanded.changed();
        let changed = match patience {
            Some(patience) => match timeout(patience, changed).await {
                Ok(changed) => changed,
                Err(_elapsed) => return,
            },
            None => changed.await,
        };
        if changed.is_err() {
            // The service is gone, and its connection with it.
            return std::future::pending().await;
        }
    }
}

/// A request that is being answered, as long as somebody holds a clone: a stream has deadlines of
/// its own and keeps one in its body; a page that the client does not take keeps none.
#[derive(Clone)]
pub(crate) struct Open {
    _held: Arc<Held>,
}

struct Held(watch::Sender<Demand>);

impl Open {
    fn new(demand: &watch::Sender<Demand>, version: Version, patience: Patience) -> Self {
        demand.send_modify(|demand| {
            demand.has_asked = true;
            demand.open += 1;
            demand.patience = (version >= Version::HTTP_2).then_some(patience.idle);
        });
        Self {
            _held: Arc::new(Held(demand.clone())),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_modify(|demand| demand.open -= 1);
    }
}
