//! A response of a route with `resume = "rerun"`: nothing is stored, and a client that resumes gets the
//! rest of another run, once that run has proved to begin with the same bytes.
//!
//! `sending.rs` calls it with the source's stream. Of every run the digests of its blocks are remembered.
//! Where they are known, no byte is sent before its block is compared. So whoever has a tag has bytes
//! that the digests vouch for, and what a client joins is one run, whatever the data have become.

use std::{
    future::poll_fn,
    mem,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use axum::http::StatusCode;
use bytes::Bytes;
use datastreamer::{AsyncStreamWriter, ChunkReader};
use datastreamer_http::{BareRanges, ETag, Piece, PlanReport, Planned, StatusError};
use lru::LruCache;
use ring::{
    digest::{Context, SHA256},
    rand::{SecureRandom, SystemRandom},
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    http::{deliveries::Delivery, versions::Lengths},
    sources::{RowFacts, SourceError},
};

/// 1 MiB: what a response that resumes holds back at most, besides a chunk, until it is proved.
const BLOCK_BYTES: u64 = 1 << 20;
/// The first 64 GiB of a run can be resumed, for 1 MiB of digests.
const BLOCKS_MAX: usize = 1 << 16;
/// Versions whose digests are remembered: at most 64 MiB, and 1 MiB if each has 1 GiB.
const RUNS_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// 128 bits: no other bytes have the same ones by accident.
const DIGEST_BYTES: usize = 16;

type Digest = [u8; DIGEST_BYTES];

/// What is remembered of runs, by the names of their versions. Clones share it.
#[derive(Clone)]
pub(crate) struct Runs(Arc<Mutex<LruCache<Arc<str>, Remembered>>>);

/// What is remembered of the runs of one version.
#[derive(Clone)]
struct Remembered {
    /// That of the state of its data; otherwise drawn when the first of the runs began, so that whoever
    /// knows it has bytes of one of these runs.
    tag: ETag,
    run: Arc<Mutex<Run>>,
}

/// The digests of what runs of one version have begun with.
#[derive(Default)]
struct Run {
    /// Of the blocks, in their order.
    blocks: Vec<Digest>,
    /// Where the longest run ended within the block behind them, and the digest up to there.
    end: Option<(u64, Digest)>,
    /// A client has bytes under the tag that no digest vouches for.
    is_void: bool,
}

impl Runs {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(RUNS_MAX))))
    }

    /// Returns what is remembered of a version, whose data may have a tag. `None`: there is no tag.
    fn of(&self, name: &Arc<str>, tag: Option<&ETag>) -> Option<Remembered> {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = runs.get(name)
            && tag.is_none_or(|tag| *tag == known.tag)
        {
            return Some(known.clone());
        }
        let begun = Remembered {
            tag: tag.cloned().or_else(drawn)?,
            run: Arc::default(),
        };
        runs.put(Arc::clone(name), begun.clone());
        Some(begun)
    }

    /// Forgets a version whose runs were not alike: its tag is never given again.
    fn forget(&self, name: &Arc<str>) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.pop(name);
    }
}

/// Draws a tag that nothing else has.
fn drawn() -> Option<ETag> {
    let mut bytes = [0; DIGEST_BYTES];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(ETag::hex(&bytes))
}

impl Run {
    /// Returns how many bytes from the beginning are proved by the digests.
    fn proves(&self) -> u64 {
        let blocks = self.blocks.len() as u64 * BLOCK_BYTES;
        self.end.map_or(blocks, |(end, _)| end)
    }
}

/// What a source has planned.
pub(crate) struct Plan {
    pub(crate) planned: Planned,
    pub(crate) changed: Option<SystemTime>,
}

/// One response, beside the stream of its source.
pub(crate) struct Rerun {
    pub(crate) runs: Runs,
    /// That of the version.
    pub(crate) name: Arc<str>,
    /// Whether its tag is that of the state of its data, and there is none while that is not settled.
    pub(crate) is_of_data: bool,
    /// Whether the client asks for the file only if it has changed: that is known once it has run.
    pub(crate) asks_for_change: bool,
    pub(crate) lengths: Lengths,
    /// What is known of the rows of this run.
    pub(crate) facts: Option<Arc<RowFacts>>,
    pub(crate) delivery: Delivery,
    /// How long the head of a response that resumes waits until its run is proved.
    pub(crate) wait: Duration,
}

impl Rerun {
    /// Sends what the request wants of a run. The source's stream is dropped with this future, which ends
    /// the source.
    ///
    /// # Errors
    /// That of the source; 412 if the run does not begin with the bytes that the client has.
    pub(crate) async fn send(
        self,
        mut source: ChunkReader,
        plan: oneshot::Receiver<Plan>,
        report: PlanReport,
        mut out: AsyncStreamWriter,
    ) -> Result<(), SourceError> {
        let Ok(plan) = plan.await else {
            return Err(failure(&mut source, &out).await);
        };
        let of_data = plan.planned.known_etag().cloned();
        let mut remembered = self.remembered(of_data.as_ref());
        let mut begun = Begun::default();
        if !report.is_head_only() && !report.has_ranges() {
            let known = remembered.clone();
            (remembered, begun) = self
                .begin(&mut source, of_data.as_ref(), known, &out)
                .await?;
        }
        let planned = self.planned(plan.planned, &report, remembered.as_ref());
        let pieces = self
            .delivery
            .report(report, planned, BareRanges::Bounded, plan.changed);
        let Some(pieces) = pieces else {
            return Ok(());
        };
        self.delivery.recorded().await;
        if let Some(length) = pieces.length() {
            out.promise_length(length)?;
        }
        let (from, end) = match pieces.as_slice() {
            [Piece::Range(bytes)] => (bytes.start, bytes.end),
            [Piece::From(from)] => (*from, u64::MAX),
            _ => return Err("a run anew has one range".into()),
        };
        let run = remembered.as_ref().map(|known| Arc::clone(&known.run));
        let mut check = begun
            .check
            .unwrap_or_else(|| Check::new(run.unwrap_or_default(), from, end));
        let (mut sent, mut is_over) = (begun.sent, begun.is_over);
        loop {
            for bytes in sent {
                out.write_bytes(bytes).await?;
            }
            if is_over || check.is_done() {
                break;
            }
            let next = next_of(&mut source, &out).await?;
            is_over = next.is_none();
            sent = match check.next(next) {
                Ok(sent) => sent,
                Err(Differs) => {
                    self.forget(remembered.as_ref());
                    if from > 0 {
                        return Err(Box::new(differs()));
                    }
                    // A run of its own, complete in itself; no other one goes on with it.
                    check.end_comparison()
                }
            };
        }
        if is_over && let Some(known) = &remembered {
            // Before the client sees the end: its next request may ask for a range.
            let is_cut = self.facts.as_ref().and_then(|facts| facts.is_cut());
            self.lengths.note(&known.tag, check.position, is_cut);
        }
        out.add_rows(source.handle().record().rows);
        Ok(())
    }

    /// Compares the begin of a complete run before its head is made, so that one that differs there has
    /// another tag. Waits for so long at most as a response that resumes does.
    ///
    /// # Errors
    /// That of the source.
    async fn begin(
        &self,
        source: &mut ChunkReader,
        of_data: Option<&ETag>,
        remembered: Option<Remembered>,
        out: &AsyncStreamWriter,
    ) -> Result<(Option<Remembered>, Begun), SourceError> {
        let Some(known) = remembered.clone() else {
            return Ok((None, Begun::default()));
        };
        let complete = self.lengths.get(&known.tag, None);
        if lock(&known.run).proves() == 0 && complete != Some(0) {
            return Ok((remembered, Begun::default()));
        }
        let mut begun = Begun::default();
        let check = begun.check.insert(Check::new(known.run, 0, u64::MAX));
        let until = Instant::now() + self.wait;
        // Behind the end of a complete run another byte makes another file.
        while !begun.is_over && (begun.sent.is_empty() || complete == Some(check.position)) {
            let Ok(next) = timeout_at(until, next_of(source, out)).await else {
                break;
            };
            let next = next?;
            begun.is_over = next.is_none();
            let taken = check.next(next);
            let at = check.position;
            let is_alike = taken.is_ok()
                && match begun.is_over {
                    true => complete.is_none_or(|end| at == end) && lock(&check.run).proves() <= at,
                    false => complete.is_none_or(|end| at <= end),
                };
            begun.sent.extend(taken.unwrap_or_default());
            if is_alike {
                continue;
            }
            self.forget(remembered.as_ref());
            let remembered = self.remembered(of_data);
            let run = remembered.as_ref().map(|known| Arc::clone(&known.run));
            begun.sent.extend(check.end_comparison());
            *check = Check::new(run.unwrap_or_default(), 0, u64::MAX);
            let mut sent = Vec::with_capacity(begun.sent.len());
            for bytes in mem::take(&mut begun.sent) {
                // Other requests may have run in the meantime.
                let taken = check.next(Some(bytes));
                sent.extend(taken.unwrap_or_else(|_| check.end_comparison()));
            }
            begun.sent = sent;
            return Ok((remembered, begun));
        }
        Ok((remembered, begun))
    }

    /// Forgets what is remembered of the version: a run differs from it.
    fn forget(&self, remembered: Option<&Remembered>) {
        self.runs.forget(&self.name);
        if let Some(known) = remembered {
            self.lengths.note_failure(&known.tag);
        }
    }

    /// Returns what is remembered of the version. Runs that failed, or had two lengths, are forgotten.
    fn remembered(&self, of_data: Option<&ETag>) -> Option<Remembered> {
        if self.is_of_data && of_data.is_none() {
            return None;
        }
        let known = self.runs.of(&self.name, of_data)?;
        let is_trusted = self.lengths.trusted(Some(known.tag.clone())).is_some();
        if is_trusted && !lock(&known.run).is_void {
            return Some(known);
        }
        self.runs.forget(&self.name);
        match of_data {
            Some(_) => None,
            None => self.runs.of(&self.name, None),
        }
    }

    /// Completes what is planned. A range is honoured if it begins in what is remembered of a run.
    fn planned(
        &self,
        planned: Planned,
        report: &PlanReport,
        remembered: Option<&Remembered>,
    ) -> Planned {
        let is_of_data = planned.known_etag().is_some();
        let tag = remembered.map(|known| known.tag.clone());
        // A complete run may have another length than the one before: that is no failure.
        let length = tag.as_ref().filter(|_| report.has_ranges());
        let facts = self.facts.as_deref();
        let length = length.and_then(|tag| self.lengths.get(tag, facts));
        let length = planned.known_length().or(length);
        let planned = planned.length(length).etag(tag);
        if !report.has_ranges() {
            let planned = planned.ranges(true);
            return match self.asks_for_change && !is_of_data {
                true => planned.etag(None),
                false => planned,
            };
        }
        // Of several ranges, and of the last bytes, the complete file is the answer.
        let Some(start) = report.range_start() else {
            return planned.ranges(false);
        };
        let is_proved = remembered.is_some_and(|known| start <= lock(&known.run).proves());
        match is_proved || start == 0 {
            true => planned.ranges(true).commit_after(self.wait),
            // The complete file for `If-Range`, and 412 without it.
            false => planned.ranges(true).etag(None),
        }
    }
}

/// Gives the next bytes of a source; its failure is that of the response.
async fn next_of(
    source: &mut ChunkReader,
    out: &AsyncStreamWriter,
) -> Result<Option<Bytes>, SourceError> {
    let next = poll_fn(|cx| source.poll_chunk(cx)).await.transpose();
    Ok(next.map_err(|error| out.fail(error))?)
}

/// Gives the error with which a source has ended before its plan.
async fn failure(source: &mut ChunkReader, out: &AsyncStreamWriter) -> SourceError {
    loop {
        match next_of(source, out).await {
            Ok(Some(_)) => {}
            Ok(None) => return "the source has ended without a plan".into(),
            Err(error) => return error,
        }
    }
}

fn differs() -> StatusError {
    let text = "the file is no longer the one that was sent before: begin anew";
    StatusError::new(StatusCode::PRECONDITION_FAILED, text)
}

/// A run does not begin as an earlier one.
#[derive(Debug, PartialEq, Eq)]
struct Differs;

/// What was read of a run before its head.
#[derive(Default)]
struct Begun {
    check: Option<Check>,
    /// What can be sent of it.
    sent: Vec<Bytes>,
    is_over: bool,
}

/// Compares a run with what is remembered, and remembers the rest of it. Holds back what is not compared
/// yet, where it can be.
struct Check {
    run: Arc<Mutex<Run>>,
    /// The first byte that is sent, and the one behind the last.
    from: u64,
    end: u64,
    position: u64,
    /// Of the block at the position.
    digest: Context,
    /// Bytes that are to be sent: a block at most, and a chunk.
    held: Vec<Bytes>,
    /// Up to where the run has been compared, or is remembered.
    known: u64,
    /// Whether bytes behind that place were sent.
    is_ahead: bool,
    compares: bool,
}

impl Check {
    fn new(run: Arc<Mutex<Run>>, from: u64, end: u64) -> Self {
        Self {
            run,
            from,
            end,
            position: 0,
            digest: Context::new(&SHA256),
            held: Vec::new(),
            known: 0,
            is_ahead: false,
            compares: true,
        }
    }

    /// Takes the next bytes of the run, or its end; returns those that can be sent.
    fn next(&mut self, chunk: Option<Bytes>) -> Result<Vec<Bytes>, Differs> {
        match chunk {
            Some(chunk) => self.take(chunk),
            None => self.finish(),
        }
    }

    /// Takes the next bytes of the run; returns those that can be sent.
    fn take(&mut self, mut chunk: Bytes) -> Result<Vec<Bytes>, Differs> {
        while !chunk.is_empty() {
            let to_place = self.next_place() - self.position;
            let part = chunk.split_to(
                usize::try_from(to_place)
                    .unwrap_or(usize::MAX)
                    .min(chunk.len()),
            );
            if self.compares {
                self.digest.update(&part);
            }
            self.hold(part);
            if let Err(differs) = self.compare() {
                self.hold(chunk);
                return Err(differs);
            }
        }
        if self.compares && self.position > self.known {
            // A digest will tell, or nobody has been as far.
            if self.known < self.from || self.position < lock(&self.run).proves() {
                return Ok(Vec::new());
            }
            self.is_ahead |= !self.held.is_empty();
        }
        Ok(mem::take(&mut self.held))
    }

    /// Ends the run: it must not end before one that is remembered, nor before the first byte that is sent.
    fn finish(&mut self) -> Result<Vec<Bytes>, Differs> {
        match self.held.is_empty() && self.position >= self.from {
            true => Ok(Vec::new()),
            false => Err(Differs),
        }
    }

    /// Moves on by some bytes, and holds those that are to be sent.
    fn hold(&mut self, part: Bytes) {
        let start = self.position;
        self.position += part.len() as u64;
        let in_part = |place: u64| place.saturating_sub(start).min(part.len() as u64) as usize;
        let (from, end) = (in_part(self.from), in_part(self.end));
        let sent = part.slice(from.min(end)..end);
        if !sent.is_empty() {
            self.held.push(sent);
        }
    }

    /// Compares and remembers nothing from now on; returns what was held back.
    fn end_comparison(&mut self) -> Vec<Bytes> {
        self.compares = false;
        mem::take(&mut self.held)
    }

    fn is_done(&self) -> bool {
        self.position >= self.end && self.held.is_empty()
    }

    /// The next place at which the digest is compared: the end of the block, or where a run ended in it.
    fn next_place(&self) -> u64 {
        let block = self.position / BLOCK_BYTES;
        let end = lock(&self.run).end.map(|(end, _)| end);
        let end = end.filter(|end| end / BLOCK_BYTES == block && *end > self.position);
        end.unwrap_or((block + 1) * BLOCK_BYTES)
    }

    fn compare(&mut self) -> Result<(), Differs> {
        if !self.compares {
            return Ok(());
        }
        let mut run = lock(&self.run);
        if let Some((end, digest)) = run.end
            && end == self.position
        {
            if digest_of(&self.digest) != digest {
                return Err(Differs);
            }
            self.known = self.position;
            self.is_ahead = false;
        }
        if !self.position.is_multiple_of(BLOCK_BYTES) {
            return Ok(());
        }
        let block = (self.position / BLOCK_BYTES) as usize - 1;
        let digest = digest_of(&mem::replace(&mut self.digest, Context::new(&SHA256)));
        match run.blocks.get(block) {
            Some(known) if *known != digest => return Err(Differs),
            Some(_) => {}
            None if run.blocks.len() == block && block < BLOCKS_MAX => {
                run.blocks.push(digest);
                run.end = run.end.filter(|(end, _)| *end > self.position);
            }
            // Too far to be remembered, and to be resumed.
            None => return Ok(()),
        }
        self.known = self.position;
        self.is_ahead = false;
        Ok(())
    }
}

impl Drop for Check {
    /// Remembers where the run has ended.
    fn drop(&mut self) {
        if !self.compares {
            return;
        }
        let mut run = lock(&self.run);
        let is_behind_blocks = self.position / BLOCK_BYTES == run.blocks.len() as u64;
        if is_behind_blocks && self.position > run.proves() {
            run.end = Some((self.position, digest_of(&self.digest)));
        } else if self.is_ahead && self.position > self.known && run.proves() > self.known {
            // Another run was as far in the meantime, and this one was not compared with it.
            run.is_void = true;
        }
    }
}

fn digest_of(context: &Context) -> Digest {
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(&context.clone().finish().as_ref()[..DIGEST_BYTES]);
    digest
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs bytes through a check in chunks of a size, up to a number of them; returns what is sent.
    fn run(
        known: &Arc<Mutex<Run>>,
        bytes: &[u8],
        from: u64,
        chunk: usize,
    ) -> Result<Vec<u8>, Differs> {
        let mut check = Check::new(Arc::clone(known), from, u64::MAX);
        let mut sent = Vec::new();
        for chunk in bytes.chunks(chunk) {
            for bytes in check.take(Bytes::copy_from_slice(chunk))? {
                sent.extend_from_slice(&bytes);
            }
        }
        Ok(sent)
    }

    fn file(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn a_run_goes_on_behind_every_place_that_another_one_has_reached() {
        let block = BLOCK_BYTES as usize;
        let all = file(3 * block + 500);
        for cut in [
            1,
            1000,
            block - 1,
            block,
            block + 1,
            2 * block + 77,
            all.len(),
        ] {
            let known = Arc::default();
            assert_eq!(run(&known, &all[..cut], 0, 70_000), Ok(all[..cut].to_vec()));
            assert_eq!(lock(&known).proves(), cut as u64);
            for from in [1, cut / 2, cut] {
                let resumed = run(&known, &all, from as u64, 33_333);
                assert_eq!(resumed, Ok(all[from..].to_vec()), "{cut} {from}");
            }
            assert_eq!(lock(&known).proves(), all.len() as u64);
        }
    }

    #[test]
    fn a_run_that_begins_with_another_byte_is_never_sent() {
        let block = BLOCK_BYTES as usize;
        let all = file(2 * block + 500);
        let cut = block + 1000;
        for wrong in [0, 500, block - 1, block, block + 999] {
            let known = Arc::default();
            run(&known, &all[..cut], 0, 70_000).unwrap();
            let mut other = all.clone();
            other[wrong] ^= 1;
            let mut check = Check::new(Arc::clone(&known), cut as u64, u64::MAX);
            let mut differs = false;
            for chunk in other.chunks(10_000) {
                match check.take(Bytes::copy_from_slice(chunk)) {
                    Ok(sent) => assert!(sent.is_empty(), "{wrong}"),
                    Err(Differs) => {
                        differs = true;
                        break;
                    }
                }
            }
            assert!(differs, "{wrong}");
        }
    }

    #[test]
    fn a_complete_run_that_differs_loses_no_byte() {
        let all = file(3 * BLOCK_BYTES as usize);
        let known = Arc::default();
        run(&known, &all, 0, 70_000).unwrap();
        let mut other = all.clone();
        other[1_500_000] ^= 1;
        let mut check = Check::new(known, 0, u64::MAX);
        let mut sent = Vec::new();
        for chunk in other.chunks(70_000) {
            let taken = check.take(Bytes::copy_from_slice(chunk));
            let taken = taken.unwrap_or_else(|Differs| {
                // Under the tag of the other runs it has none but their bytes.
                assert!(all.starts_with(&sent));
                check.end_comparison()
            });
            taken.iter().for_each(|bytes| sent.extend_from_slice(bytes));
        }
        assert!(sent == other);
        assert_eq!(check.position, other.len() as u64);
    }

    #[test]
    fn a_run_beside_another_one_that_was_not_compared_makes_the_tag_void() {
        let all = file(500_000);
        let known = Arc::default();
        let mut other = all.clone();
        other[1000] ^= 1;
        let mut beside = Check::new(Arc::clone(&known), 0, u64::MAX);
        // Nobody has been as far.
        let sent = beside.take(Bytes::copy_from_slice(&other[..2000])).unwrap();
        assert_eq!(sent.len(), 1);
        run(&known, &all[..4000], 0, 70_000).unwrap();
        assert!(!lock(&known).is_void);
        drop(beside);
        assert!(lock(&known).is_void);
    }
}
