//! Where the async source of a stream waits between two polls.
//!
//! `async_source.rs` takes it to poll it and puts it back; a stop takes it for good
//! (`stream_core.rs`). Uses nothing of the stream.

use std::{future::Future, pin::Pin};

use crate::{
    error::Error,
    foreign::drop_quietly,
    sync::{Mutex, lock},
};

type Writing = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The async source of a stream; empty for a source on a thread.
pub(crate) struct AsyncSource(Mutex<State>);

impl Default for AsyncSource {
    fn default() -> Self {
        Self(Mutex::new(State::None))
    }
}

enum State {
    None,
    /// Nobody polls it at this moment.
    Parked(Parked),
    /// The reader polls it.
    Polled,
    /// It was dropped, or will be by the reader that polls it.
    Dismissed,
}

pub(crate) struct Parked {
    pub(crate) writing: Writing,
    /// The runtime in which the stream was started: a source may need it when it is dropped, which
    /// may happen on any thread.
    #[cfg(feature = "tokio")]
    runtime: Option<tokio::runtime::Handle>,
}

impl Parked {
    pub(crate) fn discard(self) {
        #[cfg(feature = "tokio")]
        let _entered = self.runtime.as_ref().map(tokio::runtime::Handle::enter);
        drop_quietly(self.writing);
    }
}

impl AsyncSource {
    /// Whether the stream has or had one.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(*lock(&self.0), State::None)
    }

    /// Takes the source of a stream that has not begun.
    pub(crate) fn park(&self, writing: impl Future<Output = Result<(), Error>> + Send + 'static) {
        *lock(&self.0) = State::Parked(Parked {
            writing: Box::pin(writing),
            #[cfg(feature = "tokio")]
            runtime: tokio::runtime::Handle::try_current().ok(),
        });
    }

    /// Takes the source to poll it.
    pub(crate) fn take(&self) -> Option<Parked> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Polled) {
            State::Parked(parked) => Some(parked),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Puts the source back after a poll; returns it if it was dismissed meanwhile.
    pub(crate) fn put_back(&self, parked: Parked) -> Option<Parked> {
        let mut state = lock(&self.0);
        if matches!(*state, State::Dismissed) {
            return Some(parked);
        }
        *state = State::Parked(parked);
        None
    }

    /// Takes the source for good. `None`: there is none, or whoever polls it will find it dismissed.
    pub(crate) fn take_dismissed(&self) -> Option<Parked> {
        let mut state = lock(&self.0);
        match std::mem::replace(&mut *state, State::Dismissed) {
            State::Parked(parked) => Some(parked),
            State::None => {
                *state = State::None;
                None
            }
            State::Polled | State::Dismissed => None,
        }
    }
}
