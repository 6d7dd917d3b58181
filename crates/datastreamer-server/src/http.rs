//! The server: it accepts connections (`serve.rs`, `connection.rs`), answers requests with the
//! current site (`respond.rs`; `posted.rs` reads queries from bodies, `index.rs` makes the index
//! page), tells clients apart (`client.rs`) and records transfers (`transfers.rs`).

mod client;
pub(crate) mod connection;
pub(crate) mod deliveries;
pub(crate) mod index;
mod journal;
pub(crate) mod posted;
pub(crate) mod respond;
pub(crate) mod serve;
pub(crate) mod spool;
mod spooled;
pub(crate) mod transfers;
