//! A multipart upload that is removed from the store unless it is completed.
//!
//! `staging.rs` begins it, sends its parts, completes or aborts it. A drop before that is an
//! upload whose future nobody polls any more: the removal then needs a task of its own.

use object_store::{
    Error, MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload, PutResult, Result,
    UploadPart, path::Path,
};
use tokio::runtime::Handle;

use crate::options::Settings;

pub(crate) struct Multipart {
    /// `None` once there is nothing to remove.
    unfinished: Option<Box<dyn MultipartUpload>>,
    /// Where it was begun: the drop may come from any thread.
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

    /// Makes the object appear; every part must have been sent. After an error the parts are
    /// still to be removed; after a success nothing else may be called.
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
            // Completed after all, its answer was lost; or removed by somebody else.
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    fn upload(&mut self) -> &mut dyn MultipartUpload {
        match &mut self.unfinished {
            Some(upload) => upload.as_mut(),
            None => unreachable!("what ends it takes it"),
        }
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if let (Some(mut upload), Some(runtime)) = (self.unfinished.take(), self.runtime.take()) {
            runtime.spawn(async move {
                // Nobody is left to be told; the store's own rules clean up after this.
                let _left_behind = upload.abort().await;
            });
        }
    }
}
