//! The promises of this crate, seen from the other end of real sockets.
//!
//! This file owns the list of subjects. What they share is in `support`: a server whose sockets
//! are spied on, a raw client that sees every byte and how the connection ended, an HTTP/2 client
//! that decides about its windows.

// What tests call may fail as tests do; clippy knows only the test functions.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod arming;
#[cfg(feature = "axum")]
mod axum_serve;
mod codings;
mod commit_window;
mod early_failures;
mod hang_ups;
mod http_1_0;
mod http_1_1_failures;
mod http_2;
mod keep_alive;
mod planning;
mod records;
mod support;
