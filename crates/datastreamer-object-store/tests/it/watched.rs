//! A store that records its requests, and can be delayed and made to fail.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures_util::{FutureExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
    path::Path,
};
use tokio::sync::Semaphore;

/// The error that the store returns instead of doing its work.
pub(crate) const REFUSAL: &str = "the store is on fire";

/// Which request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fails {
    Never,
    Put,
    Begin,
    /// The nth part, counted from 0.
    Part(usize),
    /// The nth part, by a panic in the store's code.
    PartPanics(usize),
    Complete,
}

/// Passes requests on, records them, and fails where the test wants it.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    inner: Arc<dyn ObjectStore>,
    fails: Fails,
    abort_fails: Option<fn() -> Error>,
    gate: Arc<Semaphore>,
    abort_gate: Arc<Semaphore>,
    seen: Arc<Mutex<Seen>>,
}

/// The requests that the store has received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) puts: usize,
    pub(crate) begun: usize,
    pub(crate) completed: usize,
    pub(crate) aborted: usize,
    pub(crate) part_bytes: Vec<usize>,
    pub(crate) in_flight: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) in_flight_at_abort: usize,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, fails: Fails) -> Self {
        Self {
            inner,
            fails,
            abort_fails: None,
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            abort_gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            seen: Arc::default(),
        }
    }

    pub(crate) fn whose_abort_fails(mut self, with: fn() -> Error) -> Self {
        self.abort_fails = Some(with);
        self
    }

    /// Holds every request that carries bytes, and the completion, until [`Watched::let_through`].
    pub(crate) fn held_back(mut self) -> Self {
        self.gate = Arc::new(Semaphore::new(0));
        self
    }

    /// Holds the removal, until [`Watched::let_aborts_through`].
    pub(crate) fn whose_abort_waits(mut self) -> Self {
        self.abort_gate = Arc::new(Semaphore::new(0));
        self
    }

    pub(crate) fn let_aborts_through(&self) {
        self.abort_gate.close();
    }

    pub(crate) fn let_through(&self, requests: usize) {
        self.gate.add_permits(requests);
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
    }

    async fn pass(&self) {
        self.gate.acquire().await.unwrap().forget();
    }

    fn check(&self, request: Fails) -> Result<()> {
        if self.fails == request {
            return Err(refusal());
        }
        Ok(())
    }
}

pub(crate) fn refusal() -> Error {
    Error::Generic {
        store: "Watched",
        source: REFUSAL.into(),
    }
}

pub(crate) fn not_found() -> Error {
    Error::NotFound {
        path: "the upload".into(),
        source: REFUSAL.into(),
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, to: &Path, payload: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.note(|seen| seen.puts += 1);
        self.pass().await;
        self.check(Fails::Put)?;
        self.inner.put_opts(to, payload, how).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check(Fails::Begin)?;
        let upload = self.inner.put_multipart_opts(to, how).await?;
        self.note(|seen| seen.begun += 1);
        Ok(Box::new(WatchedUpload {
            inner: upload,
            store: self.clone(),
        }))
    }

    async fn get_opts(&self, from: &Path, how: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(from, how).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(from, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.inner)
    }
}

#[derive(Debug)]
struct WatchedUpload {
    inner: Box<dyn MultipartUpload>,
    store: Watched,
}

/// Counts a part as in flight from its first poll until it is done or dropped.
struct InFlight(Watched);

impl InFlight {
    fn begin(store: Watched) -> Self {
        store.note(|seen| {
            seen.in_flight += 1;
            seen.in_flight_max = seen.in_flight_max.max(seen.in_flight);
        });
        Self(store)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.note(|seen| seen.in_flight -= 1);
    }
}

#[async_trait]
impl MultipartUpload for WatchedUpload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let store = self.store.clone();
        let nth = store.seen().part_bytes.len();
        store.note(|seen| seen.part_bytes.push(part.content_length()));
        let sent = self.inner.put_part(part);
        async move {
            let _in_flight = InFlight::begin(store.clone());
            store.pass().await;
            store.check(Fails::Part(nth))?;
            if store.fails == Fails::PartPanics(nth) {
                // Without a message on standard error: the test wants this panic.
                std::panic::resume_unwind(Box::new(REFUSAL));
            }
            sent.await
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.pass().await;
        self.store.check(Fails::Complete)?;
        let put = self.inner.complete().await?;
        self.store.note(|seen| seen.completed += 1);
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.note(|seen| {
            seen.aborted += 1;
            seen.in_flight_at_abort += seen.in_flight;
        });
        let _permit_or_closed = self.store.abort_gate.acquire().await;
        if let Some(error) = self.store.abort_fails {
            return Err(error());
        }
        self.inner.abort().await
    }
}
