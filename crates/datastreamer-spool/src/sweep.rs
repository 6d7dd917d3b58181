//! The thread that removes files, closes them, and finds the productions whose time is over, so that
//! nobody else waits for it.
//!
//! Started by `spool.rs`; works off `chores.rs`.

use std::{
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::{
    chores::Chores,
    error::{Error, ErrorKind},
    inner::Inner,
};

/// Ten seconds until files that could not be removed are tried again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Starts the thread. It ends when the spool is gone.
pub(crate) fn start(inner: &Arc<Inner>) -> Result<(), Error> {
    let chores = Arc::clone(&inner.chores);
    let weak = Arc::downgrade(inner);
    let spawned = thread::Builder::new()
        .name("spool-sweep".into())
        .spawn(move || run(&chores, &weak));
    spawned.map(drop).map_err(|error| {
        let text = format!("no thread can be started ({:?})", error.kind());
        Error::new(ErrorKind::System, text)
    })
}

fn run(chores: &Chores, spool: &Weak<Inner>) {
    let mut retry_at = None;
    while !chores.is_over() {
        // Held only while there is work: the thread must not keep the spool alive.
        let Some(inner) = spool.upgrade() else {
            return;
        };
        let work = chores.take();
        drop(work.files);
        work.victims.into_iter().for_each(|it| inner.remove(it));
        let expired = inner.table().take_expired(Instant::now());
        expired.into_iter().for_each(|it| inner.remove(it));
        if retry_at.is_some_and(|at| at <= Instant::now()) {
            retry_at = None;
            let later = chores.take_later();
            later.into_iter().for_each(|it| inner.remove(it));
        }
        if retry_at.is_none() && chores.has_later() {
            retry_at = Some(Instant::now() + RETRY_AFTER);
        }
        let due = inner.table().next_due();
        drop(inner);
        chores.wait(due.into_iter().chain(retry_at).min());
    }
}
