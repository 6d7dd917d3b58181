//! The promises of this crate, tested by clients over real sockets.
//!
//! This file only lists the subjects. `support` has what they share: a server that records what
//! happens to its sockets, a raw client that sees every byte and how the connection ended, an HTTP/2
//! client that controls its windows.

// Helpers of tests may panic, too; clippy allows it only in the test functions.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod arming;
#[cfg(feature = "axum")]
mod axum_serve;
mod codings;
mod commit_window;
mod early_failures;
mod half_closes;
mod hang_ups;
mod http_1_0;
mod http_1_1_failures;
mod http_2;
mod keep_alive;
mod planning;
#[cfg(feature = "spool")]
mod productions;
mod ranges;
mod records;
#[cfg(feature = "axum")]
mod serve;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod trailers;
