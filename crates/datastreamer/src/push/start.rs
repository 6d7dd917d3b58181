//! Starts a push stream: registers with the consumer, then starts the source. `delivery.rs` drives
//! it from there.

use std::{fmt, sync::Arc};

use super::{
    consumer::{AlreadyRegistered, Consumer, HangUp},
    delivery::Delivery,
};
use crate::{
    config::StreamOptions,
    handle::StreamHandle,
    reader::ChunkReader,
    streamer::{self, SourceResult},
    writer::StreamWriter,
};

/// Why a push stream did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The consumer had disconnected before the start; the text is the consumer's.
    Disconnected(String),
    /// The consumer already has a producer.
    AlreadyRegistered,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected(why) => write!(f, "the consumer has disconnected: {why}"),
            Self::AlreadyRegistered => AlreadyRegistered.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// A source and a consumer that are joined and not yet started.
///
/// ```
/// use datastreamer::push::{DataStreamer, WriteConsumer};
/// let file = WriteConsumer::new(Vec::new());
/// let (record, file) = DataStreamer::new(|out| out.write_slice(b"abc"), file)
///     .start()?
///     .wait_for_consumer();
/// assert_eq!(record.bytes_delivered, 3);
/// assert_eq!(file.into_complete().as_deref(), Some(b"abc".as_slice()));
/// # Ok::<(), datastreamer::push::StartError>(())
/// ```
pub struct DataStreamer<F, C> {
    source: F,
    consumer: C,
    options: StreamOptions,
}

impl<F, C, T> DataStreamer<F, C>
where
    F: FnOnce(&mut StreamWriter) -> T + Send + 'static,
    T: SourceResult,
    C: Consumer,
{
    /// Joins a source and a consumer. Starts nothing.
    pub fn new(write_stream_to: F, consumer: C) -> Self {
        Self {
            source: write_stream_to,
            consumer,
            options: StreamOptions::new(),
        }
    }

    /// Sets the stream's options.
    #[must_use]
    pub fn options(mut self, options: StreamOptions) -> Self {
        self.options = options;
        self
    }

    /// Registers with the consumer, passes it the hang-up handle, then starts the source, in this
    /// order. The consumer may pause, resume or stop the source from inside the registration. Never
    /// blocks. The consumer is written to when the [`Delivery`] is driven.
    ///
    /// # Errors
    /// [`StartError`]: no thread was started and nothing is registered.
    pub fn start(self) -> Result<Delivery<C>, StartError> {
        let Self {
            source,
            mut consumer,
            options,
        } = self;
        if let Some(why) = consumer.disconnected() {
            return Err(StartError::Disconnected(why));
        }
        let core = options.new_stream();
        let handle = StreamHandle::new(Arc::clone(&core));
        consumer
            .register_producer(Arc::new(handle.clone()))
            .map_err(|AlreadyRegistered| StartError::AlreadyRegistered)?;
        consumer.notify_hang_up(HangUp {
            core: Arc::clone(&core),
        });
        streamer::start_source(&core, &options, source);
        let mut reader = ChunkReader::new(core);
        reader.hold_end();
        Ok(Delivery::new(reader, consumer, handle))
    }
}
