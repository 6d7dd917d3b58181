//! What is to be done on the sweep's thread, because callers must not wait for it: files to remove,
//! and files to close.
//!
//! Anybody adds to it; `sweep.rs` works it off. It holds each production once at most, so the limit of
//! productions bounds it.

use std::{
    collections::VecDeque,
    fs::File,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::{shared::Shared, table::Victim};

pub(crate) struct Chores {
    state: Mutex<State>,
    wanted: Condvar,
}

#[derive(Default)]
struct State {
    now: Work,
    /// What could not be removed.
    later: Vec<Victim<Shared>>,
    /// Something may be due sooner than before.
    look_again: bool,
    over: bool,
}

/// What can be done at once.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) victims: VecDeque<Victim<Shared>>,
    pub(crate) files: Vec<Arc<File>>,
}

impl Chores {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            wanted: Condvar::new(),
        })
    }

    /// Removes a production, elsewhere.
    pub(crate) fn remove(&self, victim: Victim<Shared>) {
        self.lock().now.victims.push_back(victim);
        self.wanted.notify_one();
    }

    /// Removes a production later, because it could not be removed now.
    pub(crate) fn retry(&self, victim: Victim<Shared>) {
        let mut state = self.lock();
        state.later.push(victim);
        state.look_again = true;
        drop(state);
        self.wanted.notify_one();
    }

    /// Closes a file, elsewhere: the last close of a file without a name frees its blocks.
    pub(crate) fn close_file(&self, file: Arc<File>) {
        self.lock().now.files.push(file);
        self.wanted.notify_one();
    }

    /// Something may have become due.
    pub(crate) fn look_again(&self) {
        self.lock().look_again = true;
        self.wanted.notify_one();
    }

    /// Ends the thread.
    pub(crate) fn end(&self) {
        self.lock().over = true;
        self.wanted.notify_one();
    }

    // ---- the sweep's side ----

    pub(crate) fn take(&self) -> Work {
        let mut state = self.lock();
        state.look_again = false;
        std::mem::take(&mut state.now)
    }

    pub(crate) fn take_later(&self) -> Vec<Victim<Shared>> {
        std::mem::take(&mut self.lock().later)
    }

    pub(crate) fn has_later(&self) -> bool {
        !self.lock().later.is_empty()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Waits until there is something to do, at most until something is due.
    pub(crate) fn wait(&self, due: Option<Instant>) {
        let mut state = self.lock();
        while state.is_idle() {
            state = match due {
                None => {
                    let waited = self.wanted.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    let waited = self.wanted.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        let now = &self.now;
        now.victims.is_empty() && now.files.is_empty() && !self.look_again && !self.over
    }
}
