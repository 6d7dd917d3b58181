//! The thread that writes: it takes bytes of any place of the file, in a bounded queue, keeps the
//! state file behind them, computes the digest, and gives the file its name. The event loop never
//! waits for the disk; `download.rs` is its only caller.

use std::{
    io::{self, Write},
    mem,
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ring::digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    digest::Algorithm,
    failure::{Exit, Failure},
    part_file::{PartFile, disk},
    ranges::Ranges,
    state::State,
};

/// What may wait for the disk: 5 ms of a fast network, and a few of the largest reads of hyper.
const QUEUE_BYTES: u32 = 4 << 20;

/// What a crash of the machine may cost, in time and in bytes. A kill costs the same, because what
/// the state file does not name is not trusted.
const SAVE_EVERY: Duration = Duration::from_secs(1);
const SAVE_EVERY_BYTES: u64 = 256 << 20;

/// What is read at once to compute a digest.
const READ_BYTES: usize = 256 * 1024;

/// Where the bytes go.
#[derive(Debug)]
pub(crate) enum Out {
    Part(PartFile),
    /// The file has its name, or is removed.
    Over(PartFile),
    /// In order, from the first byte; nothing can be taken back.
    Stdout,
}

type Answer<T> = oneshot::Sender<Result<T, Failure>>;
type Change = Box<dyn FnOnce(&mut State) + Send>;

enum Job {
    Bytes {
        at: u64,
        bytes: Bytes,
        _permit: OwnedSemaphorePermit,
    },
    StartOver(Box<State>, Answer<()>),
    Update(Change),
    Save(Answer<u64>),
    Finish(Answer<Finished>),
    Digest(Algorithm, Answer<Vec<u8>>),
    Commit(Answer<()>),
    Discard(Answer<()>),
}

/// A file whose bytes are on the disk.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) bytes: u64,
    pub(crate) sha256: Vec<u8>,
}

/// The handle of the thread, which ends when all of them are dropped.
#[derive(Clone)]
pub(crate) struct Writer {
    /// Its length is bounded by `budget`.
    jobs: mpsc::Sender<Job>,
    /// In bytes of the queue; closed when writing has failed.
    budget: Arc<Semaphore>,
    failure: Arc<Mutex<Option<Failure>>>,
}

impl Writer {
    /// Starts the thread. `state` is what is there: only its bytes are trusted.
    pub(crate) fn start(out: Out, state: State) -> Result<Self, Failure> {
        let (jobs, queue) = mpsc::channel();
        let writer = Self {
            jobs,
            budget: Arc::new(Semaphore::new(QUEUE_BYTES as usize)),
            failure: Arc::default(),
        };
        let (budget, failure) = (writer.budget.clone(), writer.failure.clone());
        let mut disk = Disk::new(out, state);
        let work = move || {
            if let Err(wrong) = disk.work(&queue) {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(wrong);
            }
            budget.close();
        };
        let spawned = thread::Builder::new().name("writer".into()).spawn(work);
        match spawned {
            Ok(_) => Ok(writer),
            Err(error) => Err(Failure::last(
                Exit::Other,
                format!("no thread can be started: {error}"),
            )),
        }
    }

    /// Writes bytes at a place of the file; waits while the queue is full.
    pub(crate) async fn write(&self, at: u64, bytes: Bytes) -> Result<(), Failure> {
        let permits = u32::try_from(bytes.len())
            .unwrap_or(QUEUE_BYTES)
            .min(QUEUE_BYTES);
        let permit = self.budget.clone().acquire_many_owned(permits).await;
        let Ok(permit) = permit else {
            return Err(self.failed());
        };
        let job = Job::Bytes {
            at,
            bytes,
            _permit: permit,
        };
        self.jobs.send(job).map_err(|_| self.failed())
    }

    /// Forgets all bytes, and begins with another version.
    pub(crate) async fn start_over(&self, state: State) -> Result<(), Failure> {
        self.ask(|answer| Job::StartOver(Box::new(state), answer))
            .await
    }

    /// Changes what is known about the file.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State) + Send + 'static) {
        // A writer that has failed says so at the next write.
        let _ = self.jobs.send(Job::Update(Box::new(change)));
    }

    /// Makes what was written durable; returns how many bytes a later run can use.
    pub(crate) async fn save(&self) -> Result<u64, Failure> {
        self.ask(Job::Save).await
    }

    /// Makes all durable, and computes the digest.
    pub(crate) async fn finish(&self) -> Result<Finished, Failure> {
        self.ask(Job::Finish).await
    }

    /// Computes another digest, of the whole file.
    pub(crate) async fn digest(&self, algorithm: Algorithm) -> Result<Vec<u8>, Failure> {
        self.ask(|answer| Job::Digest(algorithm, answer)).await
    }

    /// Gives the file its name.
    pub(crate) async fn commit(&self) -> Result<(), Failure> {
        self.ask(Job::Commit).await
    }

    /// Removes the file.
    pub(crate) async fn discard(&self) -> Result<(), Failure> {
        self.ask(Job::Discard).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        if self.jobs.send(job(answer)).is_err() {
            return Err(self.failed());
        }
        answered.await.unwrap_or_else(|_| Err(self.failed()))
    }

    fn failed(&self) -> Failure {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure
            .clone()
            .unwrap_or_else(|| Failure::last(Exit::Other, "the thread that writes has ended"))
    }
}

/// What the thread has.
struct Disk {
    out: Out,
    state: State,
    written: Ranges,
    /// Of the first bytes of the file.
    sha256: digest::Context,
    hashed: u64,
    saved_at: Instant,
    unsaved_bytes: u64,
}

impl Disk {
    fn new(out: Out, state: State) -> Self {
        Self {
            out,
            written: state.ranges().unwrap_or_default(),
            state,
            sha256: digest::Context::new(Algorithm::Sha256.ring()),
            hashed: 0,
            saved_at: Instant::now(),
            unsaved_bytes: 0,
        }
    }

    fn work(&mut self, jobs: &mpsc::Receiver<Job>) -> Result<(), Failure> {
        while let Some(job) = self.next(jobs)? {
            match job {
                Job::Bytes { at, bytes, .. } => self.write(at, &bytes)?,
                Job::StartOver(state, answer) => reply(answer, self.start_over(*state))?,
                Job::Update(change) => change(&mut self.state),
                Job::Save(answer) => reply(answer, self.save())?,
                Job::Finish(answer) => reply(answer, self.finish())?,
                Job::Digest(algorithm, answer) => reply(answer, self.digest(algorithm))?,
                Job::Commit(answer) => reply(answer, self.close(PartFile::commit))?,
                Job::Discard(answer) => reply(answer, self.close(PartFile::discard))?,
            }
        }
        Ok(())
    }

    /// Waits for a job; `None` once there can be none. What was written is saved in time, also if nothing
    /// follows it: a source that stalls is when a user gives up.
    fn next(&mut self, jobs: &mpsc::Receiver<Job>) -> Result<Option<Job>, Failure> {
        while self.unsaved_bytes > 0 {
            let left = SAVE_EVERY.saturating_sub(self.saved_at.elapsed());
            match jobs.recv_timeout(left) {
                Ok(job) => return Ok(Some(job)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => self.save()?,
            };
        }
        Ok(jobs.recv().ok())
    }

    /// Ends the life of the unfinished file, which stays locked.
    fn close(&mut self, how: impl Fn(&PartFile) -> Result<(), Failure>) -> Result<(), Failure> {
        match mem::replace(&mut self.out, Out::Stdout) {
            Out::Part(part) => {
                let done = how(&part);
                self.out = Out::Over(part);
                done
            }
            other => {
                self.out = other;
                Ok(())
            }
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Failure> {
        match &self.out {
            Out::Part(part) => {
                let written = part.file.write_all_at(bytes, at);
                written.map_err(|error| disk(Exit::Incomplete, part.part(), "written", &error))?;
            }
            Out::Over(part) => return Err(over(part)),
            Out::Stdout => {
                let mut out = io::stdout().lock();
                let written = out.write_all(bytes).and_then(|()| out.flush());
                written.map_err(|error| stdout_failed(&error))?;
            }
        }
        let length = bytes.len() as u64;
        if at == self.hashed {
            self.sha256.update(bytes);
            self.hashed += length;
        }
        self.written.insert(at..at + length);
        self.unsaved_bytes += length;
        let is_due =
            self.unsaved_bytes >= SAVE_EVERY_BYTES || self.saved_at.elapsed() >= SAVE_EVERY;
        if is_due {
            self.save()?;
        }
        Ok(())
    }

    fn start_over(&mut self, state: State) -> Result<(), Failure> {
        match &self.out {
            Out::Part(part) => {
                let emptied = State::remove(part.part()).and_then(|()| part.file.set_len(0));
                emptied.map_err(|error| disk(Exit::Other, part.part(), "emptied", &error))?;
            }
            Out::Over(part) => return Err(over(part)),
            Out::Stdout if self.written.bytes() > 0 => {
                let text = "the download cannot start over on standard output";
                return Err(Failure::last(Exit::Incomplete, text));
            }
            Out::Stdout => {}
        }
        self.state = state;
        self.written = Ranges::default();
        self.sha256 = digest::Context::new(Algorithm::Sha256.ring());
        (self.hashed, self.unsaved_bytes, self.saved_at) = (0, 0, Instant::now());
        Ok(())
    }

    /// Without a validator nothing is saved: no later run could use it.
    fn save(&mut self) -> Result<u64, Failure> {
        (self.unsaved_bytes, self.saved_at) = (0, Instant::now());
        let Out::Part(part) = &self.out else {
            return Ok(0);
        };
        if self.state.validator.is_none() {
            return Ok(0);
        }
        // First the bytes, then the file that promises them.
        let synced = part.file.sync_data().and_then(|()| {
            self.state.synced = self.written.pairs();
            self.state.save(part.part())
        });
        synced.map_err(|error| disk(Exit::Incomplete, part.part(), "saved", &error))?;
        Ok(self.written.bytes())
    }

    fn finish(&mut self) -> Result<Finished, Failure> {
        let bytes = self.written.prefix();
        if bytes != self.written.end() {
            let text = "the download has gaps: this is an error of the program";
            return Err(Failure::last(Exit::Other, text));
        }
        // The digest of a large file takes minutes, in which this process may be killed.
        self.save()?;
        if let Out::Part(part) = &self.out {
            let length = part.file.set_len(bytes).and_then(|()| part.file.sync_all());
            length.map_err(|error| disk(Exit::Incomplete, part.part(), "saved", &error))?;
            let context = &mut self.sha256;
            hash(part, self.hashed..bytes, context)?;
            self.hashed = bytes;
        }
        let sha256 = self.sha256.clone().finish().as_ref().to_vec();
        Ok(Finished { bytes, sha256 })
    }

    fn digest(&self, algorithm: Algorithm) -> Result<Vec<u8>, Failure> {
        let mut context = digest::Context::new(algorithm.ring());
        match &self.out {
            Out::Part(part) => hash(part, 0..self.written.prefix(), &mut context)?,
            Out::Over(part) => return Err(over(part)),
            Out::Stdout => {
                let text = format!("{} of standard output cannot be checked", algorithm.name());
                return Err(Failure::last(Exit::Other, text));
            }
        }
        Ok(context.finish().as_ref().to_vec())
    }
}

/// Answers, and ends the thread after a failure: what follows would be worthless.
fn reply<T>(answer: Answer<T>, done: Result<T, Failure>) -> Result<(), Failure> {
    let failure = done.as_ref().err().cloned();
    // Whoever asked may have been stopped by a signal.
    let _ = answer.send(done);
    failure.map_or(Ok(()), Err)
}

fn over(part: &PartFile) -> Failure {
    let text = format!("{} is closed", part.part().display());
    Failure::last(Exit::Other, text)
}

fn hash(
    part: &PartFile,
    bytes: std::ops::Range<u64>,
    context: &mut digest::Context,
) -> Result<(), Failure> {
    let mut buffer = vec![0; READ_BYTES];
    let mut at = bytes.start;
    while at < bytes.end {
        let wanted = buffer
            .len()
            .min(usize::try_from(bytes.end - at).unwrap_or(READ_BYTES));
        let read = part.file.read_exact_at(&mut buffer[..wanted], at);
        read.map_err(|error| disk(Exit::Incomplete, part.part(), "read", &error))?;
        context.update(&buffer[..wanted]);
        at += wanted as u64;
    }
    Ok(())
}

fn stdout_failed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::last(Exit::OutputClosed, "the output was closed"),
        _ => Failure::last(
            Exit::Incomplete,
            format!("cannot write to standard output: {error}"),
        ),
    }
}
