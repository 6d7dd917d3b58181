//! Calls the callers' code that the core holds: wakers, callbacks, and values to drop.
//!
//! Its panic must neither keep others from being called nor unwind the thread that calls (a source's,
//! the watchdog, an event loop). It is called while nothing is locked.

use std::{
    ops::DerefMut,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    thread,
};

use crate::sync::std_lock;

/// Ready if `look` finds something in what `lock` guards; otherwise the task is woken with the others
/// of the list.
pub(crate) fn poll_or_wait<S, G: DerefMut<Target = S>, T>(
    cx: &mut Context<'_>,
    lock: impl FnOnce() -> G,
    look: impl FnOnce(&mut S) -> (Option<T>, &mut Vec<Waker>),
) -> Poll<T> {
    // Cloned and, if it is not needed, dropped while nothing is locked: both are foreign code.
    let mut waker = Some(cx.waker().clone());
    let mut guarded = lock();
    let (found, wakers) = look(&mut guarded);
    let is_kept = || wakers.iter().any(|kept| kept.will_wake(cx.waker()));
    if found.is_none() && !is_kept() {
        wakers.extend(waker.take());
    }
    drop(guarded);
    drop_quietly(waker);
    found.map_or(Poll::Pending, Poll::Ready)
}

/// Runs a job on a thread of its own: it may block, and whoever asks may be an event loop.
pub(crate) fn run_elsewhere(thread_name: &str, job: impl FnOnce() + Send + 'static) {
    if cfg!(loom) {
        // The models have threads of their own.
        return job();
    }
    let job = Arc::new(Mutex::new(Some(job)));
    let run = {
        let job = Arc::clone(&job);
        move || {
            let job = std_lock(&job).take();
            job.into_iter().for_each(|job| job());
        }
    };
    let spawned = thread::Builder::new().name(thread_name.into()).spawn(run);
    if spawned.is_err() {
        // No thread could be started: better here than not at all.
        let job = std_lock(&job).take();
        job.into_iter().for_each(|job| job());
    }
}

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
