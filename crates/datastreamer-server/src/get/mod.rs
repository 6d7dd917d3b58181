//! Downloads a file so that it is complete or visibly not. Called by `cli/get.rs`; knows nothing of
//! the server in this crate and works with every other.
//!
//! A byte's way: `connect.rs` and `request.rs` (a connection, one response and its end),
//! `download.rs` (what is asked for next) with `transfer.rs` (bodies into the file) and `parts.rs`
//! (who fetches which bytes), `writer.rs` (the thread that writes) with `part_file.rs` and `state.rs`
//! (what outlives this process). `plan.rs` decides what a response means, `retry.rs` when to try
//! again, `digest.rs`, `receipt.rs` and `rows.rs` what the file must be, `name.rs` what it is called.
//! `words.rs` says what went wrong with a connection.

mod connect;
mod digest;
mod download;
mod failure;
mod name;
mod options;
mod part_file;
mod parts;
mod plan;
mod ranges;
mod receipt;
mod refusal;
mod report;
mod request;
mod retry;
mod rows;
mod state;
mod tls;
mod transfer;
mod words;
mod writer;

pub(crate) use self::{
    download::{Download, Outcome},
    failure::{Exit, Failure},
    options::{Options, Output},
    part_file::Existing,
    report::{Detail, Report},
    request::is_own_header,
    words::of_url as words_of_url,
};

/// Behind the name of a file that is not complete.
const PART_SUFFIX: &str = ".part";
