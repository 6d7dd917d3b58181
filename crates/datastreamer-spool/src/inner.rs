//! What all parts of a spool share: its folder, its table, its threads for reads, and its chores.
//!
//! `spool.rs` makes it. It does what the table has decided: nothing is locked while files are
//! touched or sources are stopped.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use datastreamer::ErrorKind as StreamErrorKind;

use crate::{
    chores::Chores,
    error::{Error, ErrorKind},
    folder::Folder,
    key::Key,
    options::SpoolOptions,
    reads::Reads,
    recent::Recent,
    shared::Shared,
    table::{Admission, Left, Reserved, Table, Victim},
};

/// Ten seconds for another request to begin the same production. Its closure only starts a stream,
/// which takes microseconds.
const BEGIN_WAIT: Duration = Duration::from_secs(10);

/// How long room that others are about to give back is waited for, and how often it is asked for.
pub(crate) const ROOM_WAIT: Duration = Duration::from_secs(10);
const ROOM_INTERVAL: Duration = Duration::from_millis(2);

pub(crate) struct Inner {
    pub(crate) folder: Folder,
    pub(crate) reads: Reads,
    pub(crate) recent: Arc<Recent>,
    pub(crate) chores: Arc<Chores>,
    pub(crate) options: SpoolOptions,
    table: Mutex<Table<Shared>>,
    /// A production has begun, or has not.
    begun: Condvar,
}

impl Inner {
    pub(crate) fn new(
        folder: Folder,
        options: SpoolOptions,
        table: Table<Shared>,
    ) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            folder,
            reads: Reads::new()?,
            recent: Arc::default(),
            chores: Chores::new(),
            options,
            table: Mutex::new(table),
            begun: Condvar::new(),
        }))
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table<Shared>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins; `None`: the caller has claimed the key.
    pub(crate) fn join_or_claim(&self, key: &Key) -> Result<Option<Arc<Shared>>, Error> {
        let until = Instant::now() + BEGIN_WAIT;
        let mut table = self.table();
        loop {
            match table.join_or_claim(key)? {
                Admission::Join(shared) => return Ok(Some(shared)),
                Admission::Begin => return Ok(None),
                Admission::Wait => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text = format!("another request begins it for {BEGIN_WAIT:?}");
                return Err(Error::new(ErrorKind::Busy, text));
            }
            let waited = self.begun.wait_timeout(table, left);
            table = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends a claim.
    pub(crate) fn unclaim(&self, key: &Key) {
        self.table().unclaim(key);
        self.begun.notify_all();
    }

    /// Makes room for one more production. The files of one that must go for it are removed
    /// elsewhere, because the caller may be an event loop.
    pub(crate) fn reserve_entry(&self) -> Result<(), Error> {
        let reserved = self.table().reserve_entry();
        match reserved {
            Reserved::Done => Ok(()),
            Reserved::AfterRemoving(victims) => {
                victims.into_iter().for_each(|it| self.chores.remove(it));
                Ok(())
            }
            Reserved::Refused(error) => Err(error),
        }
    }

    /// Removes productions; without any, waits for a moment for those that others remove. Blocks.
    pub(crate) fn make_room(
        &self,
        victims: Vec<Victim<Shared>>,
        until: Instant,
    ) -> Result<(), Error> {
        if victims.is_empty() {
            if Instant::now() >= until {
                let text = "what was evicted is not removed";
                return Err(Error::new(ErrorKind::Full, text));
            }
            thread::sleep(ROOM_INTERVAL);
        }
        victims.into_iter().for_each(|it| self.remove(it));
        Ok(())
    }

    /// Removes the files of a production, and gives its room back. Blocks.
    pub(crate) fn remove(&self, victim: Victim<Shared>) {
        drop(victim.shared.take_file());
        victim.shared.progress.forget_tail();
        self.recent.forget(&victim.id);
        match self.folder.remove(&victim.id) {
            Ok(()) => self.table().removed(&victim.id),
            // The room is not free. The sweep tries again.
            Err(_error) => {
                #[cfg(feature = "tracing")]
                tracing::warn!(target: "datastreamer_spool", id = %victim.id, "not removed: {_error}");
                self.chores.retry(victim);
            }
        }
    }

    /// Does what follows when a user has left, or a production is complete. Never blocks.
    pub(crate) fn follow(&self, left: Left<Shared>) {
        match left {
            Left::Nothing => {}
            Left::Stop(shared) => {
                stop(&shared, StreamErrorKind::HangUp, "the last reader has left");
            }
            Left::Idle(shared) => {
                shared.progress.forget_tail();
                self.recent.forget(&shared.id);
                shared
                    .take_file()
                    .into_iter()
                    .for_each(|it| self.chores.close_file(it));
                self.chores.look_again();
            }
            Left::Remove(victim) => self.chores.remove(victim),
        }
    }
}

pub(crate) fn stop(shared: &Shared, kind: StreamErrorKind, reason: &str) {
    if let Some(source) = &shared.source {
        source.stop(datastreamer::Error::new(kind, reason));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.chores.end();
    }
}
