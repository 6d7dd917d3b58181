//! A user of a production: while there is one, it is neither stopped nor evicted.
//!
//! Handles (`production.rs`) and readers (`reader.rs`) each have one.

use std::{sync::Arc, time::Instant};

use datastreamer::ErrorKind as StreamErrorKind;

use crate::{
    error::Error,
    inner::{Inner, stop},
    progress::Sight,
    shared::Shared,
};

/// A place among the users that the table counts.
pub(crate) struct User {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
}

impl User {
    /// Takes the place of a user that the table has counted.
    pub(crate) fn counted(inner: &Arc<Inner>, shared: Arc<Shared>) -> Self {
        Self {
            inner: Arc::clone(inner),
            shared,
        }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Begins the check of a production that was found at the start, unless it has begun.
    pub(crate) fn verify(&self) {
        if !self.shared.progress.begin_verifying() {
            return;
        }
        let user = self.clone();
        let started = self.inner.reads.start(move || user.check());
        if let Err(error) = started {
            self.give_up(error);
        }
    }

    fn check(&self) {
        let shared = &self.shared;
        let look = |sight: &Sight| (sight.bytes(), sight.digests());
        let (bytes, digests) = shared.progress.look(look);
        let blake3 = digests.map_or([0; 32], |digests| digests.blake3);
        match self.inner.folder.check(&shared.id, bytes, &blake3) {
            Ok((file, sums)) => {
                shared.set_file(Arc::new(file));
                shared.progress.verified(sums);
            }
            Err(error) => self.give_up(error),
        }
    }

    /// Gives up a production whose file cannot be read: the next request begins a new one. If it runs,
    /// its source is stopped.
    pub(crate) fn give_up(&self, error: Error) {
        self.inner.recent.forget(&self.shared.id);
        // This is a user, so nothing is removed before it is dropped.
        let _held = self.inner.table().fail(&self.shared.id);
        self.shared.fail(error.into());
        stop(
            &self.shared,
            StreamErrorKind::Stopped,
            "the spool cannot read it",
        );
    }
}

impl Clone for User {
    fn clone(&self) -> Self {
        self.inner.table().add_user(&self.shared.id);
        Self::counted(&self.inner, Arc::clone(&self.shared))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let left = self.inner.table().leave(&self.shared.id, Instant::now());
        self.inner.follow(left);
    }
}
