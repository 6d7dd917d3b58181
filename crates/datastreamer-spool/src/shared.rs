//! What handles, readers and the pump share of a production, and where its file is.

use std::{
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use datastreamer::{ETag, StreamHandle};

use crate::{
    digests::Digests,
    error::{Error, Failure},
    folder::Folder,
    key::Key,
    manifest::Manifest,
    names::ProductionId,
    progress::Progress,
};

/// A production, while anybody knows it.
pub(crate) struct Shared {
    pub(crate) id: ProductionId,
    pub(crate) key: Key,
    pub(crate) etag: ETag,
    pub(crate) media_type: String,
    pub(crate) file_name: Option<String>,
    pub(crate) client: Arc<str>,
    pub(crate) created: SystemTime,
    /// `None`: for as long as it runs or is read.
    pub(crate) keep: Option<Duration>,
    /// The stream of the source; `None` after a restart.
    pub(crate) source: Option<StreamHandle>,
    pub(crate) progress: Progress,
    note: Note,
    /// Open while the production runs, and while it is read.
    file: Mutex<Option<Arc<File>>>,
}

impl Shared {
    pub(crate) fn found(manifest: &Manifest) -> Self {
        Self {
            id: manifest.id,
            key: manifest.key.clone(),
            etag: manifest.etag.clone(),
            media_type: manifest.media_type.clone(),
            file_name: manifest.file_name.clone(),
            client: manifest.client.as_str().into(),
            created: manifest.created,
            keep: Some(manifest.keep),
            source: None,
            progress: Progress::found(manifest.bytes, manifest.rows, manifest.digests),
            note: Note::found(manifest.note.clone()),
            file: Mutex::new(None),
        }
    }

    pub(crate) fn begun(
        id: ProductionId,
        key: Key,
        etag: ETag,
        of: Described,
        source: StreamHandle,
        tail_bytes: usize,
    ) -> Self {
        Self {
            id,
            key,
            etag,
            media_type: of.media_type,
            file_name: of.file_name,
            client: of.client,
            created: SystemTime::now(),
            keep: of.keep,
            source: Some(source),
            progress: Progress::running(tail_bytes),
            note: of.note,
            file: Mutex::new(None),
        }
    }

    pub(crate) fn manifest(&self, keep: Duration, digests: Digests) -> Manifest {
        let (bytes, rows) = self.progress.look(|sight| (sight.bytes(), sight.rows()));
        Manifest {
            id: self.id,
            key: self.key.clone(),
            etag: self.etag.clone(),
            media_type: self.media_type.clone(),
            file_name: self.file_name.clone(),
            client: self.client.to_string(),
            created: self.created,
            keep,
            bytes,
            rows,
            note: self.note(),
            digests,
        }
    }

    /// Fails the production; the first failure counts. One of the spool is logged here and nowhere else:
    /// perhaps nobody reads the production, and of those who do each gets it. That of a source is in the
    /// record of its stream.
    pub(crate) fn fail(&self, failure: Failure) {
        #[cfg(feature = "tracing")]
        let of_spool = match &failure {
            Failure::Spool(error) => Some(error.clone()),
            Failure::Source(_) => None,
        };
        let _is_first = self.progress.fail(failure);
        #[cfg(feature = "tracing")]
        match of_spool.filter(|_| _is_first) {
            Some(error) if error.is_out_of_room() => {
                tracing::warn!(target: "datastreamer_spool", id = %self.id, "a production has failed: {error}");
            }
            Some(error) => {
                tracing::error!(target: "datastreamer_spool", id = %self.id, "a production has failed: {error}");
            }
            None => {}
        }
    }

    /// What the caller knows of the production, at this moment or at the end of an earlier process.
    pub(crate) fn note(&self) -> Option<String> {
        (self.note.0)()
    }

    /// The open file; opens that of a complete production, which blocks.
    pub(crate) fn open_file(&self, folder: &Folder) -> Result<Arc<File>, Error> {
        if let Some(file) = &*self.lock_file() {
            return Ok(Arc::clone(file));
        }
        let opened = Arc::new(folder.open_data(&self.id)?);
        Ok(Arc::clone(self.lock_file().get_or_insert(opened)))
    }

    /// The file, if it is open.
    pub(crate) fn file(&self) -> Option<Arc<File>> {
        self.lock_file().clone()
    }

    pub(crate) fn set_file(&self, file: Arc<File>) {
        *self.lock_file() = Some(file);
    }

    /// Takes the open file, to be closed: which blocks if it has no name any more.
    pub(crate) fn take_file(&self) -> Option<Arc<File>> {
        self.lock_file().take()
    }

    fn lock_file(&self) -> MutexGuard<'_, Option<Arc<File>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives what the caller knows of a production.
#[derive(Clone)]
pub(crate) struct Note(Arc<dyn Fn() -> Option<String> + Send + Sync>);

impl Note {
    pub(crate) fn new(note: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(note))
    }

    pub(crate) fn found(note: Option<String>) -> Self {
        Self::new(move || note.clone())
    }
}

/// What the caller says of a production that begins.
pub(crate) struct Described {
    pub(crate) media_type: String,
    pub(crate) file_name: Option<String>,
    pub(crate) client: Arc<str>,
    pub(crate) keep: Option<Duration>,
    pub(crate) note: Note,
}
