//! The server: it accepts connections (`serve.rs`, `connection.rs`, `framing.rs`), answers requests with the
//! current site (`respond.rs`, `sending.rs`, `versions.rs`, `rerun.rs`; `posted.rs` reads queries from bodies, `index.rs` makes the index
//! page in the frame of `page.rs`), tells clients apart (`client.rs`), records transfers (`transfers.rs`) and productions
//! (`produced.rs`), shows their receipts (`receipt.rs`, `receipts.rs`, `events.rs`), logs refusals
//! (`refused.rs`), shows browsers what is wrong with a table's page (`mistaken.rs`) and knows which routes work (`health.rs`).

mod client;
pub(crate) mod connection;
mod cors;
pub(crate) mod deliveries;
mod events;
pub(crate) mod health;
pub(crate) mod index;
mod journal;
#[cfg(feature = "tables")]
mod mistaken;
mod not_found;
mod page;
pub(crate) mod posted;
mod produced;
mod receipt;
mod receipts;
mod refused;
mod rerun;
pub(crate) mod respond;
mod sending;
pub(crate) mod serve;
pub(crate) mod spool;
mod spooled;
pub(crate) mod transfers;
mod versions;
