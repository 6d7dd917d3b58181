//! The parts of an upload before they are an object: the one being filled, those in flight, and
//! the multipart upload to which they belong.
//!
//! `upload.rs` writes, and finishes or aborts; this file calls `multipart.rs` and the store. It
//! holds at most `parts_in_flight` parts and the one being filled.

use std::{future::Future, mem, pin::pin};

use datastreamer::Error;
use futures_util::{
    future::{Either, select},
    stream::{FuturesUnordered, StreamExt},
};
use object_store::{ObjectStore, PutOptions, PutPayloadMut, PutResult, UploadPart, path::Path};

use crate::{
    multipart::Multipart,
    options::{PARTS_MAX, Settings},
    uploaded::Uploaded,
};

/// Memory for a part is allocated in blocks of 1 MiB, so that a small file does not cost the memory
/// of a full part.
const BLOCK_BYTES: usize = 1024 * 1024;

pub(crate) struct Staging<'a> {
    store: &'a dyn ObjectStore,
    path: &'a Path,
    settings: &'a Settings,
    filling: PutPayloadMut,
    bytes: u64,
    /// Parts sent so far.
    parts: usize,
    // Declared before the upload to which they belong: parts in flight are dropped before it is
    // aborted.
    in_flight: FuturesUnordered<UploadPart>,
    /// Begun with the first full part.
    multipart: Option<Multipart>,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(store: &'a dyn ObjectStore, path: &'a Path, settings: &'a Settings) -> Self {
        Self {
            store,
            path,
            settings,
            filling: empty_part(settings),
            bytes: 0,
            parts: 0,
            in_flight: FuturesUnordered::new(),
            multipart: None,
        }
    }

    /// Refuses a file of known length that would need too many parts: otherwise it would fail after
    /// hours.
    pub(crate) fn check_room_for(&self, bytes: Option<u64>) -> Result<(), Error> {
        let part_bytes = self.settings.part_bytes as u64;
        match bytes {
            Some(bytes) if bytes.div_ceil(part_bytes) > PARTS_MAX as u64 => {
                Err(Error::consumer_failed(format!(
                    "{bytes} bytes are more than {PARTS_MAX} parts of {part_bytes} bytes: \
                     parts of {} bytes are needed",
                    bytes.div_ceil(PARTS_MAX as u64)
                )))
            }
            _ => Ok(()),
        }
    }

    /// Awaits a future while the parts in flight are being sent.
    ///
    /// # Errors
    /// The store's error if a part fails.
    pub(crate) async fn while_sending<T>(
        &mut self,
        awaited: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let mut awaited = pin!(awaited);
        while !self.in_flight.is_empty() {
            match select(self.in_flight.next(), awaited.as_mut()).await {
                Either::Left((Some(sent), _)) => sent.map_err(Error::consumer_failed)?,
                Either::Left((None, _)) => break,
                Either::Right((value, _)) => return Ok(value),
            }
        }
        Ok(awaited.await)
    }

    /// Takes bytes. Waits for the store while `parts_in_flight` parts are in flight and the next
    /// one is full.
    pub(crate) async fn write(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let room = self.settings.part_bytes - self.filling.content_length();
            let (fits, rest) = data.split_at(data.len().min(room));
            // A copy: chunks that are kept count against the stream's buffer, which is smaller
            // than a part.
            self.filling.extend_from_slice(fits);
            self.bytes += fits.len() as u64;
            data = rest;
            if self.filling.content_length() == self.settings.part_bytes {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), Error> {
        self.wait_until_in_flight(self.settings.parts_in_flight - 1)
            .await?;
        if self.parts == PARTS_MAX {
            return Err(Error::consumer_failed(format!(
                "more than {PARTS_MAX} parts of {} bytes: larger parts are needed",
                self.settings.part_bytes
            )));
        }
        let part = mem::replace(&mut self.filling, empty_part(self.settings)).freeze();
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            None => {
                let begun = Multipart::begin(self.store, self.path, self.settings).await;
                self.multipart
                    .insert(begun.map_err(Error::consumer_failed)?)
            }
        };
        self.in_flight.push(multipart.put_part(part));
        self.parts += 1;
        Ok(())
    }

    async fn wait_until_in_flight(&mut self, parts: usize) -> Result<(), Error> {
        while self.in_flight.len() > parts {
            if let Some(sent) = self.in_flight.next().await {
                sent.map_err(Error::consumer_failed)?;
            }
        }
        Ok(())
    }

    /// Makes the object visible.
    pub(crate) async fn finish(&mut self) -> Result<Uploaded, Error> {
        if self.multipart.is_some() && !self.filling.is_empty() {
            self.send_part().await?;
        }
        self.wait_until_in_flight(0).await?;
        let put = match &mut self.multipart {
            Some(multipart) => multipart.complete().await,
            None => self.put_at_once().await,
        };
        let PutResult { e_tag, version, .. } = put.map_err(Error::consumer_failed)?;
        Ok(Uploaded {
            bytes: self.bytes,
            parts: self.parts,
            e_tag,
            version,
        })
    }

    async fn put_at_once(&mut self) -> object_store::Result<PutResult> {
        let options = PutOptions {
            attributes: self.settings.attributes.clone(),
            ..PutOptions::default()
        };
        let all = mem::take(&mut self.filling).freeze();
        self.store.put_opts(self.path, all, options).await
    }

    /// Removes the parts from the store.
    pub(crate) async fn abort(mut self) -> object_store::Result<()> {
        self.in_flight.clear();
        match self.multipart {
            Some(multipart) => multipart.abort().await,
            None => Ok(()),
        }
    }
}

fn empty_part(settings: &Settings) -> PutPayloadMut {
    PutPayloadMut::new().with_block_size(settings.part_bytes.min(BLOCK_BYTES))
}
