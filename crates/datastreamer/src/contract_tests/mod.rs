//! The tests that every consumer of a stream passes, for the authors of consumers.
//!
//! [`consumer_contract`] streams to a consumer ([`Push`]), to a way of reading a [`crate::ChunkReader`]
//! ([`Pull`]), or to anything else that implements [`WayOut`]: complete and empty files, failures and
//! panics at and beside the borders of chunks, promised lengths, stops, refusals, and clients that
//! leave. It panics with the name of the case in which an incomplete file looks complete, bytes are
//! missing or wrong, or something is left behind. It takes about a second.
//!
//! For tests only: what is here panics, and every wait panics after [`DEADLINE`].
//!
//! ```
//! use std::{io, sync::{Arc, Mutex}};
//! use datastreamer::Record;
//! use datastreamer::contract_tests::{Push, Received, consumer_contract};
//! use datastreamer::push::{AlreadyRegistered, Consumer, Producer, ProducerSlot};
//!
//! /// Keeps a file in memory; `complete` once it is.
//! #[derive(Default)]
//! struct Kept { producer: ProducerSlot, bytes: Vec<u8>, complete: bool }
//!
//! impl Consumer for Kept {
//!     fn register_producer(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
//!         self.producer.register(producer)
//!     }
//!     fn unregister_producer(&mut self) {
//!         self.producer.unregister();
//!     }
//!     fn write(&mut self, chunk: bytes::Bytes) -> io::Result<()> {
//!         self.bytes.extend_from_slice(&chunk);
//!         Ok(())
//!     }
//!     fn finish(&mut self) -> io::Result<()> {
//!         self.complete = true;
//!         Ok(())
//!     }
//!     fn abort(&mut self, _why: &datastreamer::Error) {}
//! }
//!
//! consumer_contract(&Push {
//!     name: "a file in memory",
//!     make: || (Kept::default(), ()),
//!     inspect: |kept, (), _record: &Record| Received {
//!         bytes: kept.bytes,
//!         verdict: kept.complete.then_some(()).ok_or("incomplete".into()),
//!     },
//! });
//! ```

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows them in tests, and nothing but tests calls this"
)]

mod contract;
mod noise;
mod probe;
mod sources;
mod wait;
mod ways;

pub use contract::{Received, WayOut, consumer_contract};
pub use noise::{NOISE_PERIOD, NoiseCheck, fill_noise, noise, noise_at};
pub use probe::Probe;
pub use sources::{
    BoxError, FAILURE, Source, deaf, endless, fails_after, noise_source, panics_after,
    silent_until_stopped, swallows_stop, writes,
};
pub use wait::{DEADLINE, eventually, promptly, within};
pub use ways::{Pull, Push};
