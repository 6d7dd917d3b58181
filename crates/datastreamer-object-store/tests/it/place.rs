//! Where tests upload to, and what is to be seen there after.

use std::{sync::Arc, time::Duration};

use datastreamer::ChunkReader;
use datastreamer_object_store::{UploadError, UploadOptions, Uploaded, upload};
use datastreamer_testkit::DEADLINE;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, local::LocalFileSystem, memory::InMemory, path::Path,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Small parts, so that a few kilobytes already make many.
pub(crate) const PART_BYTES: usize = 1000;

/// A store of its own.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) directory: Option<TempDir>,
}

impl Place {
    pub(crate) fn memory() -> Self {
        Self {
            store: Arc::new(InMemory::new()),
            directory: None,
        }
    }

    pub(crate) fn local() -> Self {
        let directory = TempDir::new().unwrap();
        Self {
            store: Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap()),
            directory: Some(directory),
        }
    }

    pub(crate) fn both() -> [Self; 2] {
        [Self::memory(), Self::local()]
    }

    pub(crate) async fn upload(&self, chunks: ChunkReader) -> Result<Uploaded, UploadError> {
        upload_to(self.store.as_ref(), chunks).await
    }

    /// The object's bytes.
    pub(crate) async fn object(&self) -> Option<Vec<u8>> {
        match self.store.get(&path()).await {
            Ok(got) => Some(got.bytes().await.unwrap().into()),
            Err(Error::NotFound { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Neither an object nor, in a directory, a staged part of one.
    pub(crate) async fn assert_empty(&self) {
        assert!(self.object().await.is_none(), "{}: an object", self.store);
        assert_eq!(self.files(), [""; 0], "{}", self.store);
    }

    /// What lies in the directory, staged parts included.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = self.directory.iter().flat_map(|directory| {
            let entries = directory.path().read_dir().unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
        });
        entries.collect()
    }
}

pub(crate) fn path() -> Path {
    Path::from("stars.csv")
}

pub(crate) fn options() -> UploadOptions {
    UploadOptions::new().part_bytes(PART_BYTES)
}

/// Uploads in small parts; loud if that hangs.
pub(crate) async fn upload_to(
    store: &dyn ObjectStore,
    chunks: ChunkReader,
) -> Result<Uploaded, UploadError> {
    timeout(DEADLINE, upload(chunks, store, &path(), options()))
        .await
        .expect("the upload hangs")
}

/// Waits until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, waiting).await.expect("it never came");
}
