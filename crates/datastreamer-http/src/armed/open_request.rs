//! Counts the requests of a connection: only if it knows them all may an HTTP/2 connection be closed
//! because its downloads have stalled.
//!
//! A service or middleware counts them; `h2.rs` reads the number.

use std::task::{Context, Waker};

use datastreamer::ErrorKind;
use http::Response;

use crate::holding_body::HoldingBody;

use super::{connection::Connection, h2::why_stopped};

/// How many streams of one connection may have stalled before it gets no new ones: a few paused
/// downloads. hyper keeps its send buffer for each and cannot be asked to drop one.
const STALLED_STREAMS_MAX: usize = 4;

/// A request of a connection, from its arrival until its response was sent or dropped: see
/// [`Connection::open_request`].
#[derive(Debug)]
#[must_use = "the request counts as open for as long as this exists"]
pub struct OpenRequest {
    connection: Connection,
}

impl Connection {
    /// Counts a request as open until the returned value is dropped: [`OpenRequest::count`] puts it
    /// into the response. `None`: too many downloads of this connection have stalled, so the request
    /// should be refused with 503.
    ///
    /// Needed for HTTP/2 only, where hyper cannot drop one stream that the client does not read. If
    /// all requests of a connection are counted, it is closed once each of them is a download that was
    /// stopped. Otherwise it stays open until something else closes it, because a request that is not
    /// counted may live. The middleware `count_requests` (feature `axum`) counts those of a router.
    pub fn open_request(&self) -> Option<OpenRequest> {
        let mut state = self.state();
        let cx = &mut Context::from_waker(Waker::noop());
        let stopped = state.active.iter().filter_map(|one| why_stopped(one, cx));
        let stalled = stopped.filter(|kind| *kind == ErrorKind::ConsumerStalled);
        if stalled.count() > STALLED_STREAMS_MAX {
            return None;
        }
        *state.open_requests.get_or_insert(0) += 1;
        Some(OpenRequest {
            connection: self.clone(),
        })
    }
}

impl OpenRequest {
    /// Counts the request as open for as long as the body of its response exists.
    pub fn count<B>(self, response: Response<B>) -> Response<HoldingBody<B, Self>> {
        response.map(|body| HoldingBody::new(body, self))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if let Some(open) = &mut self.connection.state().open_requests {
            *open -= 1;
        }
    }
}
