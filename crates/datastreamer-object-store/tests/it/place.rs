//! The stores to which tests upload, and what they contain afterwards.

use std::{sync::Arc, time::Duration};

use datastreamer::ChunkReader;
use datastreamer_object_store::{UploadError, UploadOptions, Uploaded, upload};
use datastreamer_testkit::DEADLINE;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, local::LocalFileSystem, memory::InMemory, path::Path,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Small parts, so that a few kilobytes make many of them.
pub(crate) const PART_BYTES: usize = 1000;

/// A store that only one test uses.
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

    /// Returns the object's bytes.
    pub(crate) async fn object(&self) -> Option<Vec<u8>> {
        match self.store.get(&path()).await {
            Ok(got) => Some(got.bytes().await.unwrap().into()),
            Err(Error::NotFound { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Checks that there is neither an object nor, in a directory, a temporary file of one.
    pub(crate) async fn assert_empty(&self) {
        assert!(self.object().await.is_none(), "{}: an object", self.store);
        assert_eq!(self.files(), [""; 0], "{}", self.store);
    }

    /// Returns the names in the directory, including temporary files.
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

/// Uploads in small parts; panics if that hangs.
pub(crate) async fn upload_to(
    store: &dyn ObjectStore,
    chunks: ChunkReader,
) -> Result<Uploaded, UploadError> {
    timeout(DEADLINE, upload(chunks, store, &path(), options()))
        .await
        .expect("the upload hangs")
}

/// Waits until a condition holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, waiting).await.expect("it never came");
}
