//! Observes a source from outside: whether it has started, was notified of the stop, and has ended.

use std::{
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Instant,
};

use crate::{Error, StreamWriter};

use super::{
    sources::{BoxError, Source},
    wait::DEADLINE,
};

/// The observed state of a source. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Probe {
    shared: Arc<(Mutex<Seen>, Condvar)>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    started: Option<Instant>,
    thread_name: Option<String>,
    told: Option<(Instant, Error)>,
    ended: Option<Instant>,
}

impl Probe {
    /// Creates a probe that has observed nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wraps the source with the probe. A guard records the end, so also when the source panics.
    pub fn wrap<F>(&self, source: F) -> Source
    where
        F: FnOnce(&mut StreamWriter) -> Result<(), BoxError> + Send + 'static,
    {
        let probe = self.clone();
        Box::new(move |out| {
            probe.note(|seen| {
                seen.started = Some(Instant::now());
                seen.thread_name = thread::current().name().map(str::to_owned);
            });
            let _ended = NoteEnd(probe.clone());
            out.on_stop(move |why| {
                probe.note(|seen| seen.told = Some((Instant::now(), why.clone())));
            })
            .keep();
            source(out)
        })
    }

    /// Returns whether the source has started.
    pub fn has_started(&self) -> bool {
        self.look().started.is_some()
    }

    /// Returns whether the source was notified of a stop.
    pub fn was_told(&self) -> bool {
        self.look().told.is_some()
    }

    /// Returns whether the source has ended and its guards have run.
    pub fn has_ended(&self) -> bool {
        self.look().ended.is_some()
    }

    /// Returns the name of the source's thread.
    pub fn thread_name(&self) -> Option<String> {
        self.look().thread_name
    }

    /// Waits for the source's start.
    ///
    /// # Panics
    /// If it does not start within [`DEADLINE`]; the same holds for the other waits.
    pub fn wait_started(&self) -> Instant {
        self.wait("the source's start", |seen| seen.started)
    }

    /// Waits until the source is notified of the stop; returns the time and the reason.
    ///
    /// # Panics
    /// See [`Probe::wait_started`].
    pub fn wait_told(&self) -> (Instant, Error) {
        self.wait("the stop callback", |seen| seen.told.clone())
    }

    /// Waits for the source's end.
    ///
    /// # Panics
    /// See [`Probe::wait_started`].
    pub fn wait_ended(&self) -> Instant {
        self.wait("the source's end", |seen| seen.ended)
    }

    fn look(&self) -> Seen {
        self.shared.0.lock().unwrap().clone()
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.shared.0.lock().unwrap());
        self.shared.1.notify_all();
    }

    fn wait<T>(&self, what: &str, get: impl Fn(&Seen) -> Option<T>) -> T {
        let (seen, changed) = &*self.shared;
        let (seen, _) = changed
            .wait_timeout_while(seen.lock().unwrap(), DEADLINE, |seen| get(seen).is_none())
            .unwrap();
        get(&seen).unwrap_or_else(|| panic!("never came: {what}"))
    }
}

struct NoteEnd(Probe);

impl Drop for NoteEnd {
    fn drop(&mut self) {
        self.0.note(|seen| seen.ended = Some(Instant::now()));
    }
}
