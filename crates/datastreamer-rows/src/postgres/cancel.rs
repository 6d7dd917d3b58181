//! Stopping a query from another thread.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{runtime::Handle, task::AbortHandle};
use tokio_postgres::CancelToken;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::Session;

/// Cancels the query of one [`PostgresRows`](super::PostgresRows), from any thread.
#[derive(Clone)]
pub struct PostgresCanceller {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    is_cancelled: AtomicBool,
    /// Present while the query has its connection.
    running: Mutex<Option<Running>>,
}

struct Running {
    cancel: (CancelToken, MakeRustlsConnect),
    socket: AbortHandle,
}

impl PostgresCanceller {
    pub(super) fn new(session: &Session, handle: &Handle) -> Self {
        Self {
            shared: Arc::new(Shared {
                handle: handle.clone(),
                is_cancelled: AtomicBool::new(false),
                running: Mutex::new(Some(Running {
                    cancel: session.cancel(),
                    socket: session.socket(),
                })),
            }),
        }
    }

    /// Stops the statement in the server, and gives its connection up. Does not block, and does
    /// nothing when the last row was read already.
    ///
    /// A `next()` that waits in another thread ends with
    /// [`PostgresErrorKind::Cancelled`](super::PostgresErrorKind).
    pub fn cancel(&self) {
        let mut running = self.running();
        // Before the socket closes, so that whoever sees it closed knows why.
        self.shared
            .is_cancelled
            .fetch_or(running.is_some(), Ordering::AcqRel);
        let taken = running.take();
        drop(running);
        self.stop(taken);
    }

    /// Stops the statement because its reader has left.
    pub(super) fn abandon(&self) {
        let running = self.running().take();
        self.stop(running);
    }

    fn stop(&self, running: Option<Running>) {
        let Some(running) = running else {
            return;
        };
        // A server that waits until rows are taken looks at no request, but sees the socket close;
        // one that works sees the request.
        running.socket.abort();
        self.shared.handle.spawn(async move {
            let (token, tls) = running.cancel;
            // A server that cannot be reached is gone, and so is the statement.
            let _ = token.cancel_query(tls).await;
        });
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.shared.is_cancelled.load(Ordering::Acquire)
    }

    /// Says that the query no longer has the connection; false if it was cancelled before.
    pub(super) fn retire(&self) -> bool {
        self.running().take().is_some()
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        let running = self.shared.running.lock();
        running.unwrap_or_else(PoisonError::into_inner)
    }
}
