//! A push consumer that records every call, and misbehaves on request.

use std::{
    io,
    sync::{Arc, Condvar, Mutex},
    thread::{self, ThreadId},
};

use bytes::Bytes;
use datastreamer::push::{AlreadyRegistered, Consumer, HangUp, Producer, ProducerSlot};
use datastreamer::{Error, ErrorKind};

use crate::DEADLINE;

/// A call that a consumer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `register_producer`
    Register,
    /// `notify_hang_up`
    NotifyHangUp,
    /// `write`, of so many bytes
    Write(usize),
    /// `unregister_producer`
    Unregister,
    /// `finish`
    Finish,
    /// `abort`, with an error of this kind
    Abort(ErrorKind),
}

type OnRegister = Box<dyn FnMut(&dyn Producer) + Send>;
type OnUnregister = Box<dyn FnMut() + Send>;
type OnWrite = Box<dyn FnMut(&Log, usize) -> io::Result<()> + Send>;

/// A push consumer that records its calls in a [`Log`]. It behaves correctly unless one of its
/// methods is called before the start.
pub struct Recorder {
    log: Log,
    slot: ProducerSlot,
    gone: Option<String>,
    on_register: OnRegister,
    on_unregister: OnUnregister,
    on_write: OnWrite,
    finish_fails: bool,
    keeps_chunks: bool,
    kept: Vec<Bytes>,
}

impl Recorder {
    /// Creates a recorder and the log of its calls.
    pub fn new() -> (Self, Log) {
        let log = Log::default();
        let recorder = Self {
            log: log.clone(),
            slot: ProducerSlot::default(),
            gone: None,
            on_register: Box::new(|_| {}),
            on_unregister: Box::new(|| {}),
            on_write: Box::new(|_, _| Ok(())),
            finish_fails: false,
            keeps_chunks: false,
            kept: Vec::new(),
        };
        (recorder, log)
    }

    /// Makes it disconnected before the start.
    #[must_use]
    pub fn gone(mut self, why: &str) -> Self {
        self.gone = Some(why.to_owned());
        self
    }

    /// Gives it a producer before the start.
    #[must_use]
    pub fn taken(mut self, producer: Arc<dyn Producer>) -> Self {
        self.slot.register(producer).unwrap();
        self
    }

    /// Lets its connection end before the start, without reporting it when asked.
    #[must_use]
    pub fn disconnected(mut self) -> Self {
        self.slot.disconnect();
        self
    }

    /// Sets a function that gets the producer, called from inside the registration.
    #[must_use]
    pub fn on_register(mut self, act: impl FnMut(&dyn Producer) + Send + 'static) -> Self {
        self.on_register = Box::new(act);
        self
    }

    /// Sets a function that is called from inside the unregistration, after it was recorded.
    #[must_use]
    pub fn on_unregister(mut self, act: impl FnMut() + Send + 'static) -> Self {
        self.on_unregister = Box::new(act);
        self
    }

    /// Sets a function that is called from inside each write, after it was recorded, with the log
    /// and the write's index.
    #[must_use]
    pub fn on_write(
        mut self,
        act: impl FnMut(&Log, usize) -> io::Result<()> + Send + 'static,
    ) -> Self {
        self.on_write = Box::new(act);
        self
    }

    /// Makes `finish` fail.
    #[must_use]
    pub fn finish_fails(mut self) -> Self {
        self.finish_fails = true;
        self
    }

    /// Makes it keep every chunk instead of dropping it.
    #[must_use]
    pub fn keeps_chunks(mut self) -> Self {
        self.keeps_chunks = true;
        self
    }
}

impl Consumer for Recorder {
    fn disconnected(&self) -> Option<String> {
        self.gone.clone()
    }

    fn register_producer(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
        self.slot.register(Arc::clone(&producer))?;
        self.log.note(Call::Register, &[]);
        (self.on_register)(&*producer);
        self.log.change(|seen| seen.producer = Some(producer));
        Ok(())
    }

    fn unregister_producer(&mut self) {
        self.slot.unregister();
        self.log.note(Call::Unregister, &[]);
        (self.on_unregister)();
    }

    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        let index = self.log.note(Call::Write(chunk.len()), &chunk);
        if self.keeps_chunks {
            self.kept.push(chunk);
        }
        (self.on_write)(&self.log, index)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.log.note(Call::Finish, &[]);
        if self.finish_fails {
            return Err(io::Error::other("the disk is full"));
        }
        Ok(())
    }

    fn abort(&mut self, error: &Error) {
        self.log
            .change(|seen| seen.aborted_with = Some(error.clone()));
        self.log.note(Call::Abort(error.kind()), &[]);
    }

    fn notify_hang_up(&mut self, hang_up: HangUp) {
        self.log.note(Call::NotifyHangUp, &[]);
        self.log.change(|seen| seen.hang_up = Some(hang_up));
    }
}

/// The calls that a [`Recorder`] has received; readable while the stream runs. Clones share it.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<Seen>, Condvar)>,
}

#[derive(Default)]
struct Seen {
    calls: Vec<Call>,
    threads: Vec<ThreadId>,
    bytes: Vec<u8>,
    writes: usize,
    producer: Option<Arc<dyn Producer>>,
    hang_up: Option<HangUp>,
    aborted_with: Option<Error>,
}

impl Log {
    /// Returns all calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.look(|seen| seen.calls.clone())
    }

    /// Returns all calls so far except the writes.
    pub fn calls_but_writes(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| !matches!(call, Call::Write(_)));
        calls
    }

    /// Returns the bytes of all writes.
    pub fn bytes(&self) -> Vec<u8> {
        self.look(|seen| seen.bytes.clone())
    }

    /// Returns the number of writes.
    pub fn writes(&self) -> usize {
        self.look(|seen| seen.writes)
    }

    /// Returns the threads that the consumer was called from, one per call.
    pub fn threads(&self) -> Vec<ThreadId> {
        self.look(|seen| seen.threads.clone())
    }

    /// Returns the error of the abort.
    pub fn aborted_with(&self) -> Option<Error> {
        self.look(|seen| seen.aborted_with.clone())
    }

    /// Returns the producer that was registered.
    ///
    /// # Panics
    /// If none was.
    pub fn producer(&self) -> Arc<dyn Producer> {
        self.look(|seen| seen.producer.clone()).unwrap()
    }

    /// Returns the handle to call when the connection ends.
    ///
    /// # Panics
    /// If the consumer did not receive one.
    pub fn hang_up(&self) -> HangUp {
        self.look(|seen| seen.hang_up.clone()).unwrap()
    }

    /// Waits until this many bytes have been written.
    ///
    /// # Panics
    /// If that does not happen within [`DEADLINE`].
    pub fn wait_bytes(&self, bytes: usize) {
        self.wait(&format!("{bytes} bytes"), |seen| seen.bytes.len() >= bytes);
    }

    /// Waits for a call.
    ///
    /// # Panics
    /// If it does not come within [`DEADLINE`].
    pub fn wait_call(&self, call: Call) {
        self.wait(&format!("{call:?}"), |seen| seen.calls.contains(&call));
    }

    fn look<T>(&self, get: impl FnOnce(&Seen) -> T) -> T {
        get(&self.shared.0.lock().unwrap())
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.shared.0.lock().unwrap());
        self.shared.1.notify_all();
    }

    /// Records a call; returns the index of the write, if it is one.
    fn note(&self, call: Call, bytes: &[u8]) -> usize {
        let mut seen = self.shared.0.lock().unwrap();
        seen.calls.push(call);
        seen.threads.push(thread::current().id());
        seen.bytes.extend_from_slice(bytes);
        let index = seen.writes;
        seen.writes += usize::from(matches!(call, Call::Write(_)));
        drop(seen);
        self.shared.1.notify_all();
        index
    }

    fn wait(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let (seen, changed) = &*self.shared;
        let (seen, _) = changed
            .wait_timeout_while(seen.lock().unwrap(), DEADLINE, |seen| !holds(seen))
            .unwrap();
        let holds = holds(&seen);
        let calls = seen.calls.clone();
        drop(seen);
        assert!(holds, "never came: {what}; got {calls:?}");
    }
}
