//! Calls the callers' code that the core holds: wakers, and values to drop.
//!
//! Its panic must neither keep others from being called nor unwind the thread that calls (a source's,
//! the watchdog, an event loop). It is called while nothing is locked.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::Waker,
};

pub(crate) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        run_quietly(|| waker.wake());
    }
}

pub(crate) fn drop_quietly<T>(value: T) {
    run_quietly(|| drop(value));
}

pub(crate) fn run_quietly(run: impl FnOnce()) {
    let _panicked = catch_unwind(AssertUnwindSafe(run));
}
