//! Drops what callers have passed in and what never ran: on a thread of its own, because a drop may
//! block, and whoever stops or refuses a stream may be an event loop or the watchdog.

use std::{collections::VecDeque, sync::Mutex, thread};

use crate::{foreign::run_quietly, sync::std_lock};

/// A drop that blocks holds up those behind it. A thousand of them is more than a pool refuses while
/// one value is dropped; beyond that the caller waits for its own.
const JOBS_MAX: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

struct Disposal {
    jobs: VecDeque<Job>,
    /// A thread takes the jobs; it ends when there are none.
    has_thread: bool,
}

static DISPOSAL: Mutex<Disposal> = Mutex::new(Disposal {
    jobs: VecDeque::new(),
    has_thread: false,
});

/// Runs a job that drops something, soon, on another thread. If there is none, or too much to do, it
/// runs here.
pub(crate) fn dispose(job: impl FnOnce() + Send + 'static) {
    // The models have threads of their own.
    #[cfg(loom)]
    return run_quietly(job);
    #[cfg(not(loom))]
    queue(job);
}

#[cfg(not(loom))]
fn queue(job: impl FnOnce() + Send + 'static) {
    let mut disposal = std_lock(&DISPOSAL);
    if disposal.jobs.len() >= JOBS_MAX {
        drop(disposal);
        return run_quietly(job);
    }
    disposal.jobs.push_back(Box::new(job));
    let starts_thread = !std::mem::replace(&mut disposal.has_thread, true);
    drop(disposal);
    if starts_thread {
        let thread = thread::Builder::new().name("datastreamer-drop".into());
        if thread.spawn(work).is_err() {
            work();
        }
    }
}

/// Takes jobs until there are none.
fn work() {
    loop {
        let mut disposal = std_lock(&DISPOSAL);
        let Some(job) = disposal.jobs.pop_front() else {
            disposal.has_thread = false;
            return;
        };
        drop(disposal);
        run_quietly(job);
    }
}
