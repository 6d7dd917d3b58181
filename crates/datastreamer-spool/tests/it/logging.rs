//! What the spool logs: each of its failures once.

use std::{
    fs,
    sync::{Mutex, OnceLock},
    thread,
};

use datastreamer::stream_out;
use datastreamer_spool::{Beginning, Key, Production, Spool, SpoolOptions, State};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::common::{
    KEPT, all, beginning, complete, finished, folder, open, read, spool, wait_until,
};

/// The least subscriber that keeps the events of the spool.
struct Keeping;

/// The level of an event, and its fields as one text.
static EVENTS: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

impl Subscriber for Keeping {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "datastreamer_spool"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = *event.metadata().level();
        EVENTS.lock().unwrap().push((level, text.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

/// The events of a production.
fn events_of(production: &Production) -> Vec<(Level, String)> {
    let id = production.id().to_string();
    let events = EVENTS.lock().unwrap();
    let of_it = events.iter().filter(|(_, text)| text.contains(&id));
    of_it.cloned().collect()
}

/// The same once there is one: readers may see a failure a moment before it is logged.
fn events_once(production: &Production) -> Vec<(Level, String)> {
    wait_until("it is logged", || !events_of(production).is_empty());
    events_of(production)
}

fn subscribe() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| tracing::subscriber::set_global_default(Keeping).unwrap());
}

fn begin(spool: &Spool, beginning: Beginning) -> Production {
    spool.begin(Key::new("a"), beginning).unwrap().0
}

/// Has four readers at once, which all get a failure.
fn read_by_four(production: &Production) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(read(all(production)).1.is_err()));
        }
    });
}

#[test]
fn a_production_without_room_is_one_warning_however_many_read_it() {
    subscribe();
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().production_bytes_max(100_000));
    let large = begin(&spool, beginning(100_001));
    read_by_four(&large);
    let events = events_once(&large);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, Level::WARN);
    assert!(events[0].1.contains("too large"), "{events:?}");
}

#[test]
fn a_production_that_cannot_be_read_is_one_error_however_many_read_it() {
    subscribe();
    let folder = folder();
    let spool = spool(&folder);
    let production = begin(&spool, beginning(3_000_000));
    complete(&production);
    let path = folder.path().join(format!("{}.data", production.id()));
    let mut data = fs::read(&path).unwrap();
    data[1000] ^= 1;
    fs::write(&path, data).unwrap();
    read_by_four(&production);
    let events = events_once(&production);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0].0, Level::ERROR);
    assert!(events[0].1.contains("damaged"), "{events:?}");
}

#[test]
fn a_source_that_fails_is_not_logged_by_the_spool() {
    subscribe();
    let folder = folder();
    let spool = spool(&folder);
    let failing = stream_out(|_| Err::<(), _>("no such table"));
    let production = begin(&spool, Beginning::new(failing).keep(KEPT));
    assert!(matches!(finished(&production), State::Failed(_)));
    assert_eq!(events_of(&production), []);
}
