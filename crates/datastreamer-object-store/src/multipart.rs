//! A multipart upload that is removed from the store unless it is completed.
//!
//! `staging.rs` begins it, sends its parts, and completes or aborts it; this file calls the store.
//! If it is dropped before that, nothing polls the upload's future any more, so the removal runs
//! in a task of its own.

use object_store::{
    Error, MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload, PutResult, Result,
    UploadPart, path::Path,
};
use tokio::runtime::Handle;

use crate::options::Settings;

pub(crate) struct Multipart {
    /// `None` once there is nothing to remove.
    unfinished: Option<Box<dyn MultipartUpload>>,
    /// The runtime on which it was begun: it may be dropped on any thread.
    runtime: Option<Handle>,
}

impl Multipart {
    pub(crate) async fn begin(
        store: &dyn ObjectStore,
        path: &Path,
        settings: &Settings,
    ) -> Result<Self> {
        let options = PutMultipartOptions {
            attributes: settings.attributes.clone(),
            ..PutMultipartOptions::default()
        };
        let upload = store.put_multipart_opts(path, options).await?;
        Ok(Self {
            unfinished: Some(upload),
            runtime: Handle::try_current().ok(),
        })
    }

    /// Returns the request that sends a part.
    pub(crate) fn put_part(&mut self, part: PutPayload) -> UploadPart {
        self.upload().put_part(part)
    }

    /// Makes the object visible; every part must have been sent. After an error the parts must
    /// still be removed. After a success no other method may be called.
    pub(crate) async fn complete(&mut self) -> Result<PutResult> {
        let put = self.upload().complete().await?;
        self.unfinished = None;
        Ok(put)
    }

    /// Removes the parts.
    pub(crate) async fn abort(mut self) -> Result<()> {
        let aborted = self.upload().abort().await;
        self.unfinished = None;
        match aborted {
            // It was completed and only the response was lost, or something else removed it.
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    fn upload(&mut self) -> &mut dyn MultipartUpload {
        match &mut self.unfinished {
            Some(upload) => upload.as_mut(),
            None => unreachable!("used after it was completed or aborted"),
        }
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if let (Some(mut upload), Some(runtime)) = (self.unfinished.take(), self.runtime.take()) {
            runtime.spawn(async move {
                // Nobody is left to report to; a failure is left to the store's lifecycle rules.
                let _left_behind = upload.abort().await;
            });
        }
    }
}
