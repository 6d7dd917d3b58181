//! `/transfers/ID/events`: a receipt as server-sent events, one a second while something changes, and
//! `end`.
//!
//! Each listener has a small task, which holds neither the transfer nor its memory: it looks the receipt
//! up. The task ends with the transfer, when the listener leaves, and at its deadline.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
    response::{
        IntoResponse, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    http::{
        client::{Client, ClientKey},
        connection::Open,
        receipts::{name_in, unknown},
        respond::{App, client_of, refuse},
        transfers::{Name, Transfers, lock},
    },
    refusal::Refusal,
};

static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A second: more often than people look.
const EVERY: Duration = Duration::from_secs(1);
/// Comments in between: half of the shortest usual time-out of proxies (30 s).
const HEARTBEAT: Duration = Duration::from_secs(15);
/// An hour: a listener that wants more asks again, as browsers do.
const LISTENING_MAX: Duration = Duration::from_secs(60 * 60);
/// 256 listeners at once: a sixteenth of the connections, some 4 KiB each.
const LISTENERS_MAX: usize = 256;
/// 8 of one client: more than the connections that a browser opens to one server.
const LISTENERS_PER_CLIENT_MAX: usize = 8;
/// The name and the identity of the last event. A browser that connects again sends the identity.
const END: &str = "end";

/// Who listens, for the limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listeners(Arc<Mutex<HashMap<Option<ClientKey>, usize>>>);

/// A place of a listener, until it is dropped.
struct Seat {
    listeners: Listeners,
    client: Option<ClientKey>,
}

impl Listeners {
    fn sit(&self, client: Option<ClientKey>) -> Result<Seat, Refusal> {
        let mut counts = lock(&self.0);
        if counts.values().sum::<usize>() >= LISTENERS_MAX {
            let text = "there are too many listeners: try again later";
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text));
        }
        let count = counts.entry(client).or_default();
        if *count >= LISTENERS_PER_CLIENT_MAX {
            let text = format!("a client may listen {LISTENERS_PER_CLIENT_MAX} times at once");
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, text));
        }
        *count += 1;
        drop(counts);
        Ok(Seat {
            listeners: self.clone(),
            client,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = lock(&self.listeners.0);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Answers with the events of a transfer.
pub(crate) async fn listen(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    let client = client_of(&app.site(), &request);
    let name = name_in(request.uri().path());
    let Some(receipt) = app.transfers.receipt(&name, client) else {
        return refuse(unknown());
    };
    let last = request.headers().get(&LAST_EVENT_ID);
    if last.is_some_and(|last| last == END) {
        // Then browsers do not connect again (HTML, 9.2.3).
        return StatusCode::NO_CONTENT.into_response();
    }
    let seat = match app.listeners.sit(client.map(|client| client.key())) {
        Ok(seat) => seat,
        Err(refusal) => return refuse(refusal),
    };
    let (events, mut received) = mpsc::channel(1);
    let listener = Listener {
        transfers: app.transfers.clone(),
        name,
        client,
        events,
        _seat: seat,
        _open: request.extensions().get::<Open>().cloned(),
    };
    tokio::spawn(listener.run(receipt.running));
    let events = stream::poll_fn(move |cx| received.poll_recv(cx));
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(HEARTBEAT))
        .into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(&X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

struct Listener {
    transfers: Transfers,
    name: Name,
    client: Option<Client>,
    /// One event waits for a client that does not read.
    events: mpsc::Sender<Result<Event, Infallible>>,
    _seat: Seat,
    /// The connection is not idle. Not in the body, or a client that reads nothing would hold it.
    _open: Option<Open>,
}

impl Listener {
    async fn run(self, running: Option<watch::Receiver<()>>) {
        let deadline = sleep_until(Instant::now() + LISTENING_MAX);
        tokio::select! {
            () = self.tell(running) => {}
            () = self.events.closed() => {}
            () = deadline => {}
        }
    }

    async fn tell(&self, mut running: Option<watch::Receiver<()>>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            match &mut running {
                None => {}
                Some(running) => tokio::select! {
                    _ = ticks.tick() => {}
                    // The first one waits for no tick, and the end does not either.
                    _ended = running.changed() => {}
                },
            }
            let Some(receipt) = self.transfers.receipt(&self.name, self.client) else {
                return;
            };
            let has_ended = receipt.running.is_none();
            let now = progress(&receipt.value);
            if !has_ended && told.as_ref() == Some(&now) {
                continue;
            }
            let event = Event::default().data(receipt.value.to_string());
            let event = match has_ended {
                true => event.event(END).id(END),
                false => event,
            };
            if self.events.send(Ok(event)).await.is_err() || has_ended {
                return;
            }
            told = Some(now);
            running = receipt.running;
        }
    }
}

/// What of a receipt must change for an event: its times always do.
fn progress(value: &Value) -> [Value; 4] {
    ["state", "bytes", "rows", "members"].map(|name| value[name].clone())
}
