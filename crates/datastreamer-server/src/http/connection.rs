//! One connection, from its acceptance to its end. A client that requests nothing is disconnected.
//!
//! `serve.rs` accepts it, `respond.rs` answers its requests. On HTTP/1.1 hyper has a deadline for
//! each head, including the next one on an idle connection. The deadlines here are those of HTTP/2
//! and of clients that have not sent enough to show which version they use.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::Request, http::Version};
use datastreamer_http::{Armed, framing_first};
use futures_util::TryFutureExt;
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
        let (version, method) = (request.version(), request.method().clone());
        let answered = tower::Service::call(&mut router.clone(), request);
        answered.map_ok(move |response| framing_first(response, version, &method))
    });
    let served = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    let mut served = pin!(served);
    let mut is_closing = false;
    loop {
        tokio::select! {
            ended = served.as_mut() => {
                // The failure of a transfer is in its record.
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection broke");
                }
                return;
            }
            _ = stop.changed(), if !is_closing => {}
            () = idle(demanded.clone()) => {
                // A client that has requested nothing gets no graceful shutdown. One that has
                // been offered it and is still there has had its time.
                if is_closing || !demanded.borrow().has_asked {
                    return tracing::debug!("connection without a request");
                }
            }
        }
        served.as_mut().graceful_shutdown();
        is_closing = true;
    }
}

/// The requests of a connection at the moment.
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

/// Returns once the connection has been without a request for too long.
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

/// Marks a request as being answered, for as long as a clone exists. A stream has deadlines of its
/// own, so its body holds a clone. A page holds none: a client that does not read it is idle.
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
