//! The handle on a production: what is known of it, its length, its end, and its readers.

use std::{fmt, future::Future, sync::Arc, time::SystemTime};

use datastreamer::{ChunkReader, ETag, Piece, Record, StreamOptions};

use crate::{
    digests::Digests,
    error::{Error, ErrorKind, Failure},
    inner::Inner,
    key::Key,
    names::ProductionId,
    progress::{Phase, Sight, Wants},
    reader,
    shared::Shared,
    user::User,
};

/// A production that somebody wants: it is neither stopped nor evicted while a handle or a reader is
/// there. Keep a [`ProductionId`] to name one without holding it.
#[derive(Clone)]
pub struct Production {
    user: User,
}

/// How far a production is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Its source runs, or its bytes are not yet on the storage.
    Running,
    /// All bytes are there, and unless it is [`Keep::WhileRunning`](crate::Keep::WhileRunning) they
    /// are on the storage with their manifest, so they survive a restart with this ETag.
    Complete,
    /// It has failed. Readers get the bytes before the failure, then the failure as an abort.
    Failed(Failure),
}

impl Production {
    /// Makes the handle of a user that the table has counted.
    pub(crate) fn new(inner: &Arc<Inner>, shared: Arc<Shared>) -> Self {
        Self {
            user: User::counted(inner, shared),
        }
    }

    /// Returns the identity.
    pub fn id(&self) -> ProductionId {
        self.shared().id
    }

    /// Returns the key.
    pub fn key(&self) -> &Key {
        &self.shared().key
    }

    /// Returns the strong entity tag: productions of one key with the same tag have the same bytes.
    pub fn etag(&self) -> &ETag {
        &self.shared().etag
    }

    /// Returns the media type.
    pub fn media_type(&self) -> &str {
        &self.shared().media_type
    }

    /// Returns the name under which the file is saved.
    pub fn file_name(&self) -> Option<&str> {
        self.shared().file_name.as_deref()
    }

    /// Returns the client on whose account the bytes are.
    pub fn client(&self) -> &str {
        &self.shared().client
    }

    /// Returns when it began.
    pub fn created(&self) -> SystemTime {
        self.shared().created
    }

    /// Returns how far it is.
    pub fn state(&self) -> State {
        self.look(|sight| match sight.phase() {
            Phase::Running | Phase::Produced => State::Running,
            Phase::Unverified | Phase::Verifying | Phase::Complete => State::Complete,
            Phase::Failed(failure) => State::Failed(failure.clone()),
        })
    }

    /// Returns the length in bytes, once it is promised or final.
    pub fn length(&self) -> Option<u64> {
        self.look(Sight::length)
    }

    /// Returns how many bytes there are.
    pub fn bytes_so_far(&self) -> u64 {
        self.look(Sight::bytes)
    }

    /// Returns the rows (or members) that the source has reported.
    pub fn rows(&self) -> u64 {
        let is_running = self.look(|sight| matches!(sight.phase(), Phase::Running));
        match &self.shared().source {
            Some(source) if is_running => source.record().rows,
            _ => self.look(Sight::rows),
        }
    }

    /// Returns what [`Beginning::note`](crate::Beginning::note) knows: at this moment, or, of a production
    /// that was found after a restart, when it was complete.
    pub fn note(&self) -> Option<String> {
        self.shared().note()
    }

    /// Returns the checksums of all bytes, once they are there.
    pub fn digests(&self) -> Option<Digests> {
        self.look(Sight::digests)
    }

    /// Returns the record of the source's stream; `None` after a restart. Its consumer is the spool.
    pub fn source_record(&self) -> Option<Record> {
        self.shared().source.as_ref().map(|source| source.record())
    }

    /// Stops the source with a reason, which becomes the failure of the production; does nothing if
    /// the source has ended.
    pub fn stop(&self, reason: datastreamer::Error) {
        if let Some(source) = &self.shared().source {
            self.user.inner().table().retire(&self.shared().id);
            source.stop(reason);
        }
    }

    /// Waits until the length is known: it is promised or final. A production that was found after a
    /// restart is checked first, which reads all of it.
    ///
    /// # Errors
    /// Why the production has failed before.
    pub fn known_length(&self) -> impl Future<Output = Result<u64, Failure>> + Send + use<> {
        let user = self.user.clone();
        async move {
            user.verify();
            let known = |sight: &Sight| match sight.phase() {
                Phase::Failed(failure) => Some(Err(failure.clone())),
                Phase::Unverified | Phase::Verifying => None,
                _ => sight.length().map(Ok),
            };
            let progress = &user.shared().progress;
            progress.wait(Wants::Length, known).await
        }
    }

    /// Returns whether its file can be opened and has its length, or need not be: it runs, or others read it.
    /// One whose file is gone or cut is given up, so that the next of its key is a new one. It is asked before
    /// the head of a response, because a reader finds out behind it.
    pub fn is_there(&self) -> impl Future<Output = bool> + Send + use<> {
        let user = self.user.clone();
        async move {
            let (shared, inner) = (Arc::clone(user.shared()), Arc::clone(user.inner()));
            let is_running = |sight: &Sight| matches!(sight.phase(), Phase::Running);
            if shared.file().is_some() || shared.progress.look(is_running) {
                return true;
            }
            let bytes = shared.progress.look(Sight::bytes);
            let open = move || {
                let file = shared.open_file(&inner.folder)?;
                let found = file.metadata().map(|file| file.len());
                match found {
                    Ok(found) if found < bytes => {
                        let text = format!("its file has {found} of {bytes} bytes");
                        Err(Error::new(ErrorKind::Damaged, text))
                    }
                    // A reader finds out.
                    _ => Ok(()),
                }
            };
            match user.inner().reads.run(open).await.and_then(|opened| opened) {
                Ok(()) => true,
                Err(error) => {
                    user.give_up(error);
                    false
                }
            }
        }
    }

    /// Waits until there are so many bytes, or the production has ended before.
    pub fn reached(&self, bytes: u64) -> impl Future<Output = ()> + Send + use<> {
        let user = self.user.clone();
        async move {
            user.verify();
            let reached = |sight: &Sight| match sight.phase() {
                Phase::Unverified | Phase::Verifying => None,
                Phase::Failed(_) | Phase::Complete | Phase::Produced => Some(()),
                Phase::Running => (sight.bytes() >= bytes).then_some(()),
            };
            let progress = &user.shared().progress;
            let last = bytes.saturating_sub(1);
            progress.wait(Wants::Byte(last), reached).await;
        }
    }

    /// Waits for the end. It never says [`State::Running`].
    pub fn finished(&self) -> impl Future<Output = State> + Send + use<> {
        let user = self.user.clone();
        async move {
            user.verify();
            let ended = |sight: &Sight| match sight.phase() {
                Phase::Complete => Some(State::Complete),
                Phase::Failed(failure) => Some(State::Failed(failure.clone())),
                _ => None,
            };
            user.shared().progress.wait(Wants::End, ended).await
        }
    }

    /// Starts a reader of some pieces, one after the other; returns its stream. Never blocks.
    ///
    /// The stream needs no thread, but a place of the pool in its options: see the crate's
    /// documentation. Whatever the buffer in its options is, it holds one piece at a time: 16 KiB until
    /// the consumer has shown that it reads, and if it becomes slow, otherwise [`READ_BYTES`]. It begins
    /// the next only when the consumer asks for it. Fast readers of a production share what is read from
    /// its file: 64 MiB of all productions are kept for those that follow. If the length of all pieces is
    /// known, the stream promises it.
    ///
    /// [`READ_BYTES`]: crate::READ_BYTES
    ///
    /// A range that is ahead of the source waits. What bounds the wait is the
    /// [`source_stall`](StreamOptions::source_stall) of these options: the reader's source is the
    /// production. A caller that sets it to `None` relies on the deadlines of the source's own stream.
    ///
    /// Readers get every byte that there is, then the failure of the production as an abort: that of
    /// the source as it is, one of the spool as a cause ([`Error::find_in`](crate::Error::find_in)). A range that ends behind
    /// the end of the production fails with [`OutOfRange`](crate::ErrorKind::OutOfRange).
    pub fn open(&self, pieces: Vec<Piece>, options: StreamOptions) -> ChunkReader {
        reader::open(self.user.clone(), pieces, options)
    }

    fn shared(&self) -> &Shared {
        self.user.shared()
    }

    fn look<T>(&self, look: impl FnOnce(&Sight) -> T) -> T {
        self.shared().progress.look(look)
    }
}

impl fmt::Debug for Production {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Production")
            .field("id", &self.id())
            .field("key", &self.key())
            .field("state", &self.state())
            .field("bytes", &self.bytes_so_far())
            .finish_non_exhaustive()
    }
}
