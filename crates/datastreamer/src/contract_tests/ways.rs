//! The two kinds of [`WayOut`]: a push consumer, and a way of pulling from a reader.

use std::{io, sync::Arc, time::Instant};

use crate::push::{AlreadyRegistered, Consumer, DataStreamer, HangUp, Producer};
use crate::{ChunkReader, Error, Record, StreamOptions};
use bytes::Bytes;

use super::{
    contract::{Received, WayOut},
    sources::Source,
};

/// A way of pulling.
#[derive(Clone, Copy, Debug)]
pub struct Pull {
    /// Returns the way's name.
    pub name: &'static str,
    /// Pulls everything.
    pub drain: fn(ChunkReader) -> Received,
    /// Pulls at least this many bytes, then disconnects.
    pub leave_after: fn(ChunkReader, u64),
}

impl WayOut for Pull {
    fn name(&self) -> &str {
        self.name
    }

    fn receive(&self, options: StreamOptions, source: Source) -> Received {
        (self.drain)(options.stream_out(source))
    }

    fn leave_after(&self, options: StreamOptions, source: Source, bytes: u64) -> Instant {
        (self.leave_after)(options.stream_out(source), bytes);
        Instant::now()
    }
}

/// A push consumer, driven on the test's own thread.
#[derive(Clone, Copy, Debug)]
pub struct Push<C, W> {
    /// Returns the way's name.
    pub name: &'static str,
    /// Creates the consumer, and a witness of its calls.
    pub make: fn() -> (C, W),
    /// Returns what the client behind the consumer has received.
    pub inspect: fn(C, W, &Record) -> Received,
}

impl<C: Consumer, W> WayOut for Push<C, W> {
    fn name(&self) -> &str {
        self.name
    }

    fn receive(&self, options: StreamOptions, source: Source) -> Received {
        let (consumer, witness) = (self.make)();
        let (record, consumer) = DataStreamer::new(source, consumer)
            .options(options)
            .start()
            .unwrap()
            .wait_for_consumer();
        (self.inspect)(consumer, witness, &record)
    }

    fn leave_after(&self, options: StreamOptions, source: Source, bytes: u64) -> Instant {
        let consumer = Leaving {
            inner: (self.make)().0,
            bytes_left: bytes,
            hang_up: None,
            left: None,
        };
        let (_, consumer) = DataStreamer::new(source, consumer)
            .options(options)
            .start()
            .unwrap()
            .wait_for_consumer();
        consumer.left.unwrap()
    }
}

/// Passes everything on to a consumer, until its client has received enough.
struct Leaving<C> {
    inner: C,
    bytes_left: u64,
    hang_up: Option<HangUp>,
    left: Option<Instant>,
}

impl<C> Leaving<C> {
    fn is_still_there(&self, called: &str) {
        assert!(self.left.is_none(), "{called} after the hang-up");
    }
}

impl<C: Consumer> Consumer for Leaving<C> {
    fn register_producer(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
        self.inner.register_producer(producer)
    }

    fn unregister_producer(&mut self) {
        self.is_still_there("unregister");
        self.inner.unregister_producer();
    }

    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.is_still_there("write");
        self.bytes_left = self.bytes_left.saturating_sub(chunk.len() as u64);
        self.inner.write(chunk)?;
        if self.bytes_left == 0 {
            self.left = Some(Instant::now());
            self.hang_up.take().unwrap().notify("the client left");
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.is_still_there("finish");
        self.inner.finish()
    }

    fn abort(&mut self, error: &Error) {
        self.is_still_there("abort");
        self.inner.abort(error);
    }

    fn notify_hang_up(&mut self, hang_up: HangUp) {
        self.hang_up = Some(hang_up);
    }
}
