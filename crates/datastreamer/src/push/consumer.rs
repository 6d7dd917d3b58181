//! The contract of a push consumer, and the two helpers that a consumer holds: [`HangUp`] reports
//! its disconnection, [`ProducerSlot`] keeps its producer.
//!
//! `delivery.rs` calls the consumer; nothing here calls it.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::producer::Producer;
use crate::{
    error::{Error, ErrorKind},
    stream_core::StreamCore,
};

/// Receives a stream: it is registered, written to, then finished or aborted, exactly once.
///
/// Calls come one at a time and in order, in the context that drives the
/// [`Delivery`](crate::push::Delivery). After a hang-up there are no more calls.
///
/// ```
/// use std::{io, sync::Arc};
/// use bytes::Bytes;
/// use datastreamer::Error;
/// use datastreamer::push::{AlreadyRegistered, Consumer, DataStreamer, Producer, ProducerSlot};
///
/// #[derive(Default)]
/// struct Lines { producer: ProducerSlot, lines: usize, whole: bool }
///
/// impl Consumer for Lines {
///     fn register_producer(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
///         self.producer.register(producer)
///     }
///     fn unregister_producer(&mut self) {
///         self.producer.unregister();
///     }
///     fn write(&mut self, chunk: Bytes) -> io::Result<()> {
///         self.lines += chunk.iter().filter(|byte| **byte == b'\n').count();
///         if let (true, Some(producer)) = (self.lines >= 10, self.producer.get()) {
///             producer.stop_producing(); // what is queued still arrives, then the abort
///         }
///         Ok(())
///     }
///     fn finish(&mut self) -> io::Result<()> {
///         self.whole = true;
///         Ok(())
///     }
///     fn abort(&mut self, _why: &Error) {}
/// }
///
/// let source = |out: &mut datastreamer::StreamWriter| out.write_slice(b"a\nb\n");
/// let (_record, consumer) = DataStreamer::new(source, Lines::default()).start()?.wait_for_consumer();
/// assert!(consumer.whole && consumer.lines == 2);
/// # Ok::<(), datastreamer::push::StartError>(())
/// ```
pub trait Consumer {
    /// Returns why the consumer has disconnected, if it has. Then nothing is registered or started.
    fn disconnected(&self) -> Option<String> {
        None
    }

    /// Receives the producer's controls. [`ProducerSlot`] implements the rules.
    ///
    /// # Errors
    /// [`AlreadyRegistered`] if the consumer already has a producer.
    fn register_producer(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered>;

    /// Releases the producer; called after the last write.
    fn unregister_producer(&mut self);

    /// Receives a chunk. May pause the producer. May block if the context that drives the delivery
    /// may block.
    ///
    /// # Errors
    /// Whatever keeps the consumer from accepting the chunk; the source is stopped with this error.
    fn write(&mut self, chunk: Bytes) -> std::io::Result<()>;

    /// Receives the end of a complete file.
    ///
    /// # Errors
    /// Whatever keeps the consumer from finishing; the error is in the record.
    fn finish(&mut self) -> std::io::Result<()>;

    /// Receives the end of an incomplete stream: what was written must not be taken for a complete
    /// file.
    fn abort(&mut self, error: &Error);

    /// Receives the handle to call when the connection ends. Optional: without it a hang-up is
    /// noticed at the next write that fails.
    fn notify_hang_up(&mut self, hang_up: HangUp) {
        drop(hang_up);
    }
}

/// The consumer already has a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyRegistered;

impl fmt::Display for AlreadyRegistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the consumer already has a producer")
    }
}

impl std::error::Error for AlreadyRegistered {}

/// Reports to a stream that its consumer has disconnected; callable from any thread, more than
/// once.
#[derive(Clone)]
pub struct HangUp {
    pub(super) core: Arc<StreamCore>,
}

impl HangUp {
    /// Stops the source at once. Neither writes nor an end reach the consumer afterwards.
    pub fn notify(&self, reason: impl Into<String>) {
        self.core.stop(Error::new(ErrorKind::HangUp, reason));
    }
}

impl fmt::Debug for HangUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HangUp").field(&self.core.id).finish()
    }
}

/// Holds a consumer's producer and implements the rules: registering a second producer is an error;
/// a producer registered after the disconnection is stopped at once and not attached.
#[derive(Default)]
pub struct ProducerSlot {
    producer: Option<Arc<dyn Producer>>,
    disconnected: bool,
}

impl ProducerSlot {
    /// Attaches a producer.
    ///
    /// # Errors
    /// [`AlreadyRegistered`] if a producer is attached.
    pub fn register(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
        if self.producer.is_some() {
            return Err(AlreadyRegistered);
        }
        if self.disconnected {
            producer.stop_producing();
        } else {
            self.producer = Some(producer);
        }
        Ok(())
    }

    /// Detaches the producer, if there is one.
    pub fn unregister(&mut self) {
        self.producer = None;
    }

    /// Stops and detaches the producer; a producer registered later is stopped at once.
    pub fn disconnect(&mut self) {
        self.disconnected = true;
        if let Some(producer) = self.producer.take() {
            producer.stop_producing();
        }
    }

    /// Returns the producer, to pause or resume it.
    pub fn get(&self) -> Option<&Arc<dyn Producer>> {
        self.producer.as_ref()
    }
}

impl fmt::Debug for ProducerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerSlot")
            .field("attached", &self.producer.is_some())
            .field("disconnected", &self.disconnected)
            .finish()
    }
}
