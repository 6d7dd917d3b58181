//! c26: a stream's log lines carry its identity and its caller's context.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    },
    task::Poll,
};

use bytes::Bytes;
use datastreamer::{PoolOptions, StreamOptions, StreamPool};
use datastreamer_testkit::{BoxError, eventually, fails_after, noise, noise_source};
use futures_util::stream;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_core::span::Current;

type Fields = HashMap<String, String>;

/// The least subscriber that knows which spans a thread is in, and keeps all events.
#[derive(Default)]
struct Keeping {
    spans: AtomicU64,
    known: Mutex<HashMap<u64, &'static Metadata<'static>>>,
}

/// A span that was made, and the one that it was made in.
#[derive(Clone, Debug)]
struct Made {
    name: &'static str,
    fields: Fields,
    parent: Option<u64>,
}

static SPANS: Mutex<BTreeMap<u64, Made>> = Mutex::new(BTreeMap::new());

/// The span that this thread is in.
fn span_here() -> Option<Made> {
    let id = INSIDE.with_borrow(|inside| inside.last().copied())?;
    Some(SPANS.lock().unwrap()[&id].clone())
}

thread_local! {
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

static EVENTS: Mutex<Vec<Fields>> = Mutex::new(Vec::new());

fn subscribe() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| tracing::subscriber::set_global_default(Keeping::default()).unwrap());
}

impl Subscriber for Keeping {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("datastreamer") || metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.spans.fetch_add(1, Ordering::Relaxed) + 1;
        self.known.lock().unwrap().insert(id, span.metadata());
        let mut fields = Gather(Fields::new());
        span.record(&mut fields);
        let parent = INSIDE.with_borrow(|inside| inside.last().copied());
        let made = Made {
            name: span.metadata().name(),
            fields: fields.0,
            parent: parent.filter(|_| span.is_contextual()),
        };
        SPANS.lock().unwrap().insert(id, made);
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Gather(Fields::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        fields
            .0
            .insert("LEVEL".into(), metadata.level().to_string());
        fields
            .0
            .insert("TARGET".into(), metadata.target().to_owned());
        EVENTS.lock().unwrap().push(fields.0);
    }

    fn enter(&self, span: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(span.into_u64()));
    }

    fn exit(&self, _: &Id) {
        INSIDE.with_borrow_mut(Vec::pop);
    }

    fn current_span(&self) -> Current {
        let current = INSIDE.with_borrow(|inside| inside.last().copied());
        current.map_or_else(Current::none, |id| {
            Current::new(Id::from_u64(id), self.known.lock().unwrap()[&id])
        })
    }
}

struct Gather(Fields);

impl Visit for Gather {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

/// The events that carry this identity.
fn events_of(id: &str) -> Vec<Fields> {
    let events = EVENTS.lock().unwrap();
    let of_it = events
        .iter()
        .filter(|fields| fields.get("id").is_some_and(|it| it == id));
    of_it.cloned().collect()
}

#[test]
fn c26_the_source_runs_in_its_streams_span_inside_its_callers() {
    subscribe();
    let (tell, told) = channel();
    let tell_too = tell.clone();
    let options = || StreamOptions::new().context("/tables/gaia");
    let pulled = stream::poll_fn(move |_| {
        tell_too.send(span_here()).unwrap();
        Poll::Ready(None::<Result<Bytes, BoxError>>)
    });
    let span = tracing::info_span!("request");
    let (threaded, pulled) = span.in_scope(|| {
        let threaded = options().stream_out(move |_| tell.send(span_here()).unwrap());
        (threaded, options().stream_out_async(pulled))
    });
    for chunks in [threaded, pulled] {
        let id = chunks.handle().id().to_string();
        chunks.read_to_vec().unwrap();
        let here = told.recv().unwrap().unwrap();
        assert_eq!(here.name, "stream");
        assert_eq!(here.fields["id"], id);
        assert_eq!(here.fields["context"], "/tables/gaia");
        let around = SPANS.lock().unwrap()[&here.parent.unwrap()].clone();
        assert_eq!(around.name, "request");
    }
    assert!(span_here().is_none(), "the poll has left the span");
}

#[test]
fn c26_the_end_of_each_stream_is_one_event_with_identity_and_context() {
    subscribe();
    let options = || StreamOptions::new().context("/tables/gaia");
    let pulled = stream::iter([Ok::<_, BoxError>(noise(1000).into())]);
    for (chunks, outcome, error) in [
        (
            options().stream_out(noise_source(1000, 100)),
            "complete",
            None,
        ),
        (options().stream_out_async(pulled), "complete", None),
        (
            options().stream_out(fails_after(1000, 100)),
            "source_error",
            Some("the source failed: row 7: no such column"),
        ),
    ] {
        let handle = chunks.handle();
        drop(chunks.read_to_vec());
        handle.wait();
        let id = handle.id().to_string();
        let of_this_stream = || events_of(&id);
        eventually("the event", || !of_this_stream().is_empty());
        let events = of_this_stream();
        assert_eq!(events.len(), 1, "{events:?}");
        let fields = &events[0];
        // A failure is logged without being asked for.
        let (message, level) = match outcome {
            "complete" => ("stream ended", "DEBUG"),
            _ => ("the source of a stream has failed", "ERROR"),
        };
        assert_eq!(fields["message"], message);
        assert_eq!(
            (fields["LEVEL"].as_str(), fields["TARGET"].as_str()),
            (level, "datastreamer")
        );
        assert_eq!(fields["context"], "/tables/gaia");
        assert_eq!(fields["bytes"], "1000");
        assert_eq!(fields["outcome"], outcome);
        assert_eq!(fields.get("error").map(String::as_str), error);
    }
}

#[test]
fn c26_a_pool_that_logs_no_ends_is_silent() {
    subscribe();
    let [silent, logging] = [false, true].map(|logs_ends| {
        let pool = StreamPool::new(PoolOptions::new().log_ends(logs_ends));
        let chunks = pool.stream_out(fails_after(1000, 100));
        let id = chunks.handle().id().to_string();
        assert!(chunks.read_to_vec().is_err());
        id
    });
    // The later one has an event, so the earlier one would have.
    eventually("the event", || !events_of(&logging).is_empty());
    assert!(events_of(&silent).is_empty());
}
