//! Sources that tests control, and the responses made from them.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use datastreamer::{StreamHandle, StreamWriter};
use datastreamer_testkit::{BoxError, DEADLINE, Source, eventually, fill_noise};

/// Opens a gate. Dropping it opens the gate, too.
pub(crate) type Opener = Sender<()>;

/// A gate for which a source waits once.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Mutex<Receiver<()>>>);

pub(crate) fn gate() -> (Opener, Gate) {
    let (opener, receiver) = channel();
    (opener, Gate(Arc::new(Mutex::new(receiver))))
}

impl Gate {
    /// Blocks until the gate is opened.
    pub(crate) fn pass(&self) {
        let _opened_or_dropped = self.0.lock().unwrap().recv_timeout(DEADLINE);
    }
}

/// Writes `bytes` bytes of noise from `offset` on.
pub(crate) fn write_noise(out: &StreamWriter, offset: u64, bytes: usize) -> Result<(), BoxError> {
    let mut buffer = vec![0; bytes];
    fill_noise(offset, &mut buffer);
    Ok(out.write_slice(&buffer)?)
}

/// Writes some noise, flushes it, waits for the gate, then ends as requested.
pub(crate) fn writes_then_waits(bytes: usize, gate: Gate, then: Source) -> Source {
    Box::new(move |out| {
        write_noise(out, 0, bytes)?;
        out.flush_now()?;
        gate.pass();
        then(out)
    })
}

/// Ends successfully.
pub(crate) fn ends() -> Source {
    Box::new(|_| Ok(()))
}

/// The handles of the streams that a service has started.
#[derive(Clone, Default)]
pub(crate) struct Started(Arc<Mutex<Vec<StreamHandle>>>);

impl Started {
    pub(crate) fn note(&self, stream: StreamHandle) {
        self.0.lock().unwrap().push(stream);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Waits for the stream that was started as number `index`.
    pub(crate) fn handle(&self, index: usize) -> StreamHandle {
        eventually("the stream is started", || self.count() > index);
        self.0.lock().unwrap()[index].clone()
    }

    /// Waits for the end of stream number `index`; returns its record.
    pub(crate) fn record(&self, index: usize) -> datastreamer::Record {
        let handle = self.handle(index);
        datastreamer_testkit::within("the end of the stream", move || handle.wait())
    }
}

/// After this time, an event that must not happen would have happened, even on a busy machine.
pub(crate) const A_WHILE: Duration = Duration::from_millis(300);

/// Returns bytes that no encoder can compress (xorshift64, Marsaglia 2003).
pub(crate) fn incompressible(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut all = Vec::with_capacity(bytes + 8);
    while all.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend_from_slice(&state.to_le_bytes());
    }
    all.truncate(bytes);
    all
}
