//! The push side: a consumer is registered, written to, and then finished or aborted.
//!
//! [`DataStreamer`] (`start.rs`) joins a source and a [`Consumer`] (`consumer.rs`); [`Delivery`]
//! (`delivery.rs`) is the loop between them, and `turn.rs` runs that loop in a foreign event loop.
//! `producer.rs` has the controls that a consumer receives, `write_consumer.rs` a consumer for any
//! `io::Write`. This file only re-exports.

mod consumer;
mod delivery;
pub(crate) mod producer;
mod start;
pub(crate) mod turn;
mod write_consumer;

pub use consumer::{AlreadyRegistered, Consumer, HangUp, ProducerSlot};
pub use delivery::Delivery;
pub use producer::Producer;
pub use start::{DataStreamer, StartError};
pub use write_consumer::WriteConsumer;
