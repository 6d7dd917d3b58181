//! Drains a running production: one thread each, which the source's pace alone holds up.
//!
//! Started by `spool.rs`. For each chunk it reserves room, appends to the file, publishes, and only
//! then updates the checksums, so that readers do not wait for them.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use datastreamer::ChunkReader;

use crate::{
    blocks::BlockHasher,
    digests::{Digests, Hasher},
    error::{Error, ErrorKind, Failure},
    folder,
    inner::{Inner, ROOM_WAIT},
    shared::Shared,
    table::Reserved,
};

/// 256 KiB for a piece of the newest bytes, as for a read of a file: a reader that stalls holds one at
/// most, however large the chunks of the source are.
const PIECE_BYTES: usize = 256 * 1024;

/// A promise of the length is noticed within 50 ms: 20 looks a second, until there is a byte.
const PROMISE_INTERVAL: Duration = Duration::from_millis(50);

/// Starts the thread. If there is none, the production fails.
pub(crate) fn start(
    inner: &Arc<Inner>,
    shared: Arc<Shared>,
    reader: ChunkReader,
) -> Result<(), Error> {
    let name = format!("spool-{}", &shared.id.to_string()[..8]);
    let pump = Pump {
        inner: Arc::clone(inner),
        shared: Arc::clone(&shared),
    };
    let spawned = thread::Builder::new()
        .name(name)
        .spawn(move || pump.run(reader));
    spawned.map(drop).map_err(|error| {
        let text = format!("no thread can be started ({:?})", error.kind());
        let error = Error::new(ErrorKind::System, text);
        // The caller's handle is a user, so nothing is removed here.
        let _held = inner.table().fail(&shared.id);
        // Not logged: it is the caller's.
        let _first = shared.progress.fail(error.clone().into());
        error
    })
}

/// What a stream yields: `None` is the clean end.
type NextChunk = Option<Result<Bytes, datastreamer::Error>>;

/// Wakes the thread of a pump.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

struct Pump {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
}

impl Pump {
    fn run(self, mut reader: ChunkReader) {
        let run = AssertUnwindSafe(|| self.run_to_the_end(&mut reader));
        let result = catch_unwind(run).unwrap_or_else(|_panic| {
            let text = "a panic while the production was written";
            Err(Error::new(ErrorKind::System, text).into())
        });
        // Before the production is over for others: the source's place is free then.
        drop(reader);
        if let Err(failure) = result {
            self.fail(failure);
        }
    }

    fn run_to_the_end(&self, reader: &mut ChunkReader) -> Result<(), Failure> {
        let file = Arc::new(self.inner.folder.create(&self.shared.id)?);
        if self.shared.keep.is_none() {
            self.inner.folder.unname(&self.shared.id)?;
        }
        self.shared.set_file(Arc::clone(&file));
        let digests = self.drain(reader, &file)?;
        let rows = reader.handle().record().rows;
        self.shared.progress.produced(rows, digests);
        self.complete(&file, digests)
    }

    /// Takes every chunk; returns the checksums after the clean end.
    fn drain(&self, reader: &mut ChunkReader, file: &File) -> Result<Digests, Failure> {
        let mut hasher = Hasher::default();
        let mut blocks = BlockHasher::default();
        let mut at = 0;
        let mut next = self.first_chunk(reader)?;
        loop {
            let Some(chunk) = next.transpose().map_err(Failure::Source)? else {
                return Ok(hasher.finish()?);
            };
            self.reserve(at + chunk.len() as u64)?;
            self.write(file, &chunk, at)?;
            at += chunk.len() as u64;
            for part in chunk.chunks(PIECE_BYTES) {
                let sums = blocks.update(part);
                // A copy: the chunk's memory is the source's buffer.
                let piece = Bytes::copy_from_slice(part);
                self.shared.progress.publish(piece.clone(), sums);
                hasher.update(&piece)?;
            }
            drop(chunk);
            next = reader.next_chunk_blocking();
        }
    }

    /// Waits for the first chunk or the end. A source may promise its length until then, and readers
    /// want to know it before the first byte, which may take minutes.
    fn first_chunk(&self, reader: &mut ChunkReader) -> Result<NextChunk, Failure> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut is_promised = false;
        loop {
            let polled = reader.poll_chunk(&mut cx);
            let taken = match &polled {
                Poll::Ready(Some(Ok(chunk))) => chunk.len() as u64,
                // The failure of the source counts, not one of its promise.
                Poll::Ready(Some(Err(error))) => return Err(Failure::Source(error.clone())),
                _ => 0,
            };
            if !is_promised {
                is_promised = self.promise(reader, taken)?;
            }
            match (polled, is_promised) {
                (Poll::Ready(next), _) => return Ok(next),
                (Poll::Pending, true) => thread::park(),
                (Poll::Pending, false) => thread::park_timeout(PROMISE_INTERVAL),
            }
        }
    }

    /// Reserves room for the promised length, so that a production for which there is none fails
    /// before its first byte. Returns whether a length is promised.
    fn promise(&self, reader: &ChunkReader, taken: u64) -> Result<bool, Failure> {
        let Some(left) = reader.bytes_left() else {
            return Ok(false);
        };
        let length = taken + left;
        self.reserve(length)?;
        self.shared.progress.promise_length(length);
        Ok(true)
    }

    /// Appends to the file. If the disk is full before the spool is, others are evicted as well.
    fn write(&self, file: &File, data: &[u8], at: u64) -> Result<(), Failure> {
        let until = Instant::now() + ROOM_WAIT;
        while let Err(error) = folder::write_at(file, data, at) {
            let is_full = error.is_out_of_room();
            match is_full.then(|| self.inner.table().evict_one()) {
                Some(Reserved::AfterRemoving(victims)) => self.inner.make_room(victims, until)?,
                _ => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reserves room for so many bytes in all, evicting what nobody reads.
    fn reserve(&self, bytes: u64) -> Result<(), Failure> {
        let until = Instant::now() + ROOM_WAIT;
        loop {
            let reserved = self.inner.table().reserve(&self.shared.id, bytes);
            match reserved {
                Reserved::Done => return Ok(()),
                Reserved::Refused(error) => return Err(error.into()),
                Reserved::AfterRemoving(victims) => self.inner.make_room(victims, until)?,
            }
        }
    }

    /// Makes the production durable, if it is kept.
    fn complete(&self, file: &File, digests: Digests) -> Result<(), Failure> {
        let shared = &self.shared;
        if let Some(keep) = shared.keep {
            let manifest = shared.manifest(keep, digests);
            self.inner.folder.complete(file, &manifest)?;
        }
        let bytes = shared.progress.look(|sight| sight.bytes());
        let left = {
            let mut table = self.inner.table();
            table.complete(&shared.id, bytes, Instant::now())
        };
        // After the table: whoever hears of the end finds a production that may be evicted.
        shared.progress.complete();
        match left {
            Some(left) => self.inner.follow(left),
            None => self.inner.folder.remove(&shared.id)?,
        }
        self.inner.chores.look_again();
        Ok(())
    }

    fn fail(&self, failure: Failure) {
        // The names go first: what has failed is no longer on the disk when others hear of it.
        // Readers have the file open, and the last of them tries again what has failed here.
        let _removed_later = self.inner.folder.remove(&self.shared.id);
        // Nobody joins it any more when others hear of the failure.
        let victim = self.inner.table().fail(&self.shared.id);
        self.shared.fail(failure);
        victim.into_iter().for_each(|it| self.inner.remove(it));
    }
}
