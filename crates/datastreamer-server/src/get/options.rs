//! What a download runs on, checked: made once by the command.

use std::{path::PathBuf, time::Duration};

use http::HeaderMap;
use url::Url;

use super::part_file::Existing;

/// One download.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// `http` or `https`, with a host.
    pub(crate) url: Url,
    pub(crate) output: Output,
    pub(crate) existing: Existing,
    /// Requests at once, at least 1.
    pub(crate) connections: usize,
    /// Whether bytes of an earlier run are used.
    pub(crate) resume: bool,
    /// Tries without progress, after the first.
    pub(crate) retries: u32,
    /// What is sent to the host of the URL, besides what the download sends itself.
    pub(crate) headers: HeaderMap,
    /// PEM files of authorities that are trusted besides those of the system.
    pub(crate) ca_files: Vec<PathBuf>,
    /// From a request to the head of its response.
    pub(crate) head_timeout: Duration,
    /// For a body: how long nothing may come.
    pub(crate) stall: Duration,
}

/// Where the file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// This file.
    File(PathBuf),
    /// The working directory, under the name that the server gives.
    Named,
    /// Standard output.
    Stdout,
}
