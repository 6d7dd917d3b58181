//! The spool: finds productions, begins them, and says what there is.
//!
//! Called by whoever answers requests; calls `table.rs` for every decision, `pump.rs` to run what
//! begins, `sweep.rs` for what is to be removed.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use datastreamer::{ChunkReader, ETag, ErrorKind as StreamErrorKind};

use crate::{
    error::Error,
    folder::Folder,
    inner::{Inner, ROOM_WAIT, stop},
    key::Key,
    names::ProductionId,
    options::SpoolOptions,
    production::Production,
    pump,
    shared::{Described, Note, Shared},
    sweep,
    table::{Limits, NewEntry, Reserved, Table},
};

/// Bounded storage for productions, in a folder of its own. Clones refer to the same spool.
///
/// Productions that run go on when the last clone is dropped, for as long as they are wanted. The
/// folder is free for another process when all of them have ended and no [`Production`] and no reader
/// is left.
#[derive(Clone)]
pub struct Spool {
    inner: Arc<Inner>,
}

/// A run of a source that becomes a production; a builder.
#[must_use = "dropping it stops the source"]
pub struct Beginning {
    reader: ChunkReader,
    etag: Option<ETag>,
    media_type: String,
    file_name: Option<String>,
    client: Arc<str>,
    keep: Option<Keep>,
    note: Note,
}

/// How long a production is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// While somebody holds it: the source is stopped when the last [`Production`] and the last reader
    /// are gone, and a complete one is removed then. It does not survive a restart.
    WhileRunning,
    /// It runs to its end, also if nobody reads it, and is kept for this time after its last use.
    /// It survives a restart, which counts as a use.
    For(Duration),
}

/// Whether a request got a production that was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was there; nothing was begun.
    Joined,
    /// It has begun for this request.
    Begun,
}

/// What a spool holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes that are written, or reserved because they were promised.
    pub bytes: u64,
    /// Of these, those of temporary files of callers ([`Spool::take_room`]).
    pub temporary_bytes: u64,
    /// Productions in all.
    pub productions: usize,
    /// Productions whose source runs.
    pub running: usize,
    /// Handles on productions; each reader has one.
    pub readers: usize,
    /// Productions that had to go for others, since the spool was opened.
    pub evicted: u64,
    /// Productions whose time was over, since the spool was opened.
    pub expired: u64,
}

impl Spool {
    /// Opens a folder, makes it if it is not there (mode 0700), locks it, finds the complete
    /// productions, and removes what others have left. **Blocks**: it reads the folder and every
    /// manifest, but no data.
    ///
    /// Only files with the spool's own names are ever removed. What was completed first counts as the
    /// least recently used.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`](crate::ErrorKind::Locked) if another process uses the folder; [`ErrorKind::Storage`](crate::ErrorKind::Storage);
    /// [`ErrorKind::System`](crate::ErrorKind::System) if there are no threads.
    pub fn open(folder: impl Into<PathBuf>, options: SpoolOptions) -> Result<Self, Error> {
        let folder = Folder::open(folder.into())?;
        let found = folder.load()?;
        let limits = Limits {
            total_bytes: options.total_bytes_max,
            production_bytes: options.production_bytes_max,
            client_bytes: options.client_bytes_max,
            productions: options.productions_max,
        };
        let mut table = Table::new(limits);
        let now = Instant::now();
        for found in found {
            let manifest = found.manifest;
            let shared = Arc::new(Shared::found(&manifest));
            let entry = NewEntry {
                id: manifest.id,
                key: manifest.key,
                client: Arc::clone(&shared.client),
                keep: Some(manifest.keep),
                shared,
            };
            table.add_found(entry, manifest.bytes, now);
        }
        let inner = Inner::new(folder, options, table)?;
        sweep::start(&inner)?;
        let victims = inner.table().trim();
        victims.into_iter().for_each(|it| inner.remove(it));
        Ok(Self { inner })
    }

    /// Finds the newest production of a key that runs or is complete.
    pub fn find(&self, key: &Key) -> Option<Production> {
        let shared = self.inner.table().join(key)?;
        Some(Production::new(&self.inner, shared))
    }

    /// Joins the newest production of a key, or begins one. Of requests at the same time one
    /// begins, and the others join it.
    ///
    /// `begin` starts the source's stream and returns at once: equal requests wait for it, for at
    /// most ten seconds. It must not begin a production of the same key. Otherwise this method does
    /// not block.
    ///
    /// # Errors
    /// [`ErrorKind::TooMany`](crate::ErrorKind::TooMany) if there are as many productions as there may be, and all are used;
    /// [`ErrorKind::Busy`](crate::ErrorKind::Busy), [`ErrorKind::System`](crate::ErrorKind::System), [`ErrorKind::Closed`](crate::ErrorKind::Closed). What concerns only the
    /// production, such as its size, is its failure.
    pub fn join_or_begin(
        &self,
        key: Key,
        begin: impl FnOnce() -> Beginning,
    ) -> Result<(Production, How), Error> {
        if let Some(shared) = self.inner.join_or_claim(&key)? {
            return Ok((Production::new(&self.inner, shared), How::Joined));
        }
        let claim = Claim {
            inner: &self.inner,
            key: &key,
        };
        let production = self.begin_claimed(&key, begin());
        drop(claim);
        Ok((production?, How::Begun))
    }

    /// Begins a production although there may be one of this key, which later requests no longer
    /// find by the key. If the caller gives the ETag of that one, its bytes are the same: then it is
    /// joined instead, and the new run is stopped.
    ///
    /// # Errors
    /// As [`Spool::join_or_begin`].
    pub fn begin(&self, key: Key, beginning: Beginning) -> Result<(Production, How), Error> {
        if let Some(etag) = &beginning.etag
            && let Some(same) = self.find(&key).filter(|found| found.etag() == etag)
        {
            return Ok((same, How::Joined));
        }
        let production = self.begin_claimed(&key, beginning)?;
        Ok((production, How::Begun))
    }

    /// Takes room for temporary files of the caller's, which count among all bytes of the spool; evicts
    /// what nobody reads. **Blocks** while that is removed, for at most ten seconds.
    ///
    /// # Errors
    /// [`ErrorKind::Full`](crate::ErrorKind::Full): there is no room.
    pub fn take_room(&self, bytes: u64) -> Result<Room, Error> {
        let until = Instant::now() + ROOM_WAIT;
        loop {
            let reserved = self.inner.table().reserve_temporary(bytes);
            match reserved {
                Reserved::Done => break,
                Reserved::Refused(error) => return Err(error),
                Reserved::AfterRemoving(victims) => self.inner.make_room(victims, until)?,
            }
        }
        Ok(Room {
            inner: Arc::clone(&self.inner),
            bytes,
        })
    }

    /// Returns what the spool holds now.
    pub fn usage(&self) -> Usage {
        let figures = self.inner.table().figures();
        Usage {
            bytes: figures.bytes,
            temporary_bytes: figures.temporary_bytes,
            productions: figures.productions,
            running: figures.running,
            readers: figures.users,
            evicted: figures.evicted,
            expired: figures.expired,
        }
    }

    /// Begins no more productions, and stops the sources of those that run. Complete ones can be
    /// read on. Does not wait.
    pub fn close(&self) {
        let running = self.inner.table().close();
        for shared in running {
            stop(&shared, StreamErrorKind::ShutDown, "the spool is closed");
        }
    }

    fn begin_claimed(&self, key: &Key, beginning: Beginning) -> Result<Production, Error> {
        self.inner.reserve_entry()?;
        let id = ProductionId::random()?;
        let keep = match beginning.keep.unwrap_or(Keep::For(self.inner.options.keep)) {
            Keep::WhileRunning => None,
            Keep::For(time) => Some(time),
        };
        let described = Described {
            media_type: beginning.media_type,
            file_name: beginning.file_name,
            client: Arc::clone(&beginning.client),
            keep,
            note: beginning.note,
        };
        let shared = Arc::new(Shared::begun(
            id,
            key.clone(),
            beginning.etag.unwrap_or_else(|| id.etag()),
            described,
            beginning.reader.handle(),
            self.inner.options.tail_bytes,
        ));
        let entry = NewEntry {
            id,
            shared: Arc::clone(&shared),
            key: key.clone(),
            client: beginning.client,
            keep,
        };
        self.inner.table().begin(entry, Instant::now());
        let production = Production::new(&self.inner, Arc::clone(&shared));
        pump::start(&self.inner, shared, beginning.reader)?;
        Ok(production)
    }
}

/// Room for temporary files of a caller; given back when it is dropped.
#[must_use = "dropping it gives the room back"]
pub struct Room {
    inner: Arc<Inner>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.inner.table().free_temporary(self.bytes);
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// The right to begin the production of a key.
struct Claim<'a> {
    inner: &'a Inner,
    key: &'a Key,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.inner.unclaim(self.key);
    }
}

impl Beginning {
    /// Takes a stream whose source has started. The spool drains it on a thread of its own, so its
    /// place in the pool is free when the source has ended.
    pub fn new(reader: ChunkReader) -> Self {
        Self {
            reader,
            etag: None,
            media_type: "application/octet-stream".into(),
            file_name: None,
            client: "".into(),
            keep: None,
            note: Note::found(None),
        }
    }

    /// Sets the ETag, for a caller that can promise equal bytes for equal tags; otherwise it is
    /// unique to this run.
    pub fn etag(mut self, etag: impl Into<Option<ETag>>) -> Self {
        self.etag = etag.into();
        self
    }

    /// Sets the media type; `application/octet-stream` otherwise.
    pub fn media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_type = media_type.into();
        self
    }

    /// Sets the name under which the file is saved.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// Names the client on whose account the bytes are; one account for all without a name.
    pub fn client(mut self, client: impl Into<Arc<str>>) -> Self {
        self.client = client.into();
        self
    }

    /// Keeps a text with a complete production, for the caller after a restart: `note` is asked for it once
    /// all bytes are there, and by [`Production::note`]. It must not block. A long one counts to the
    /// manifest, as the key does.
    pub fn note(mut self, note: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.note = Note::new(note);
        self
    }

    /// Sets how long the production is wanted; as the spool's options say otherwise.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = Some(keep);
        self
    }
}

impl fmt::Debug for Beginning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beginning")
            .field("reader", &self.reader)
            .field("etag", &self.etag)
            .field("client", &self.client)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}
