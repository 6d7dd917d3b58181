//! c26: a stream's log lines carry its identity and its caller's context.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    },
};

use datastreamer::{StreamOptions, stream_out};
use datastreamer_testkit::{BoxError, eventually, fails_after, noise, noise_source};
use futures_util::stream;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_core::span::Current;

type Fields = HashMap<String, String>;

/// The least subscriber that knows which span a thread is in, and keeps all events.
#[derive(Default)]
struct Keeping {
    spans: AtomicU64,
    known: Mutex<HashMap<u64, &'static Metadata<'static>>>,
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
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Gather(Fields::new());
        event.record(&mut fields);
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

#[test]
fn c26_the_source_runs_inside_its_callers_span() {
    subscribe();
    let (tell, told) = channel();
    let span = tracing::info_span!("request");
    let chunks = span.in_scope(|| {
        stream_out(move |_| {
            let here = tracing::Span::current()
                .metadata()
                .map(|metadata| metadata.name());
            tell.send((here, std::thread::current().id())).unwrap();
        })
    });
    chunks.read_to_vec().unwrap();
    let (name, thread) = told.recv().unwrap();
    assert_eq!(name, Some("request"));
    assert_ne!(thread, std::thread::current().id());
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
        let of_this_stream = || -> Vec<Fields> {
            let events = EVENTS.lock().unwrap();
            events
                .iter()
                .filter(|fields| fields.get("id") == Some(&id))
                .cloned()
                .collect()
        };
        eventually("the event", || !of_this_stream().is_empty());
        let events = of_this_stream();
        assert_eq!(events.len(), 1, "{events:?}");
        let fields = &events[0];
        assert_eq!(fields["message"], "stream ended");
        assert_eq!(fields["context"], "/tables/gaia");
        assert_eq!(fields["bytes"], "1000");
        assert_eq!(fields["outcome"], outcome);
        assert_eq!(fields.get("error").map(String::as_str), error);
    }
}
