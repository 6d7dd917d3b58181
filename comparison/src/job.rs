//! What one request asks a server to do, as the path of its URL.

use std::fmt;

/// What a server does for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// What the source does.
    pub way: Way,
    /// How many bytes the source passes to each write.
    pub write_bytes: usize,
    /// How many bytes the source writes before it ends.
    pub total_bytes: u64,
    /// How the handler reports a failure to the peer.
    pub ending: Ending,
    /// Where the handler runs the source.
    pub place: Place,
}

/// What a source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Writes everything and returns success.
    Complete,
    /// Writes `total_bytes` of a longer file and returns an error.
    Fails,
    /// Writes `total_bytes` of a longer file and panics.
    Panics,
    /// Writes `total_bytes` of a longer file and returns success.
    Quits,
    /// Returns an error before its first byte.
    FailsEarly,
    /// Writes, and sleeps for a millisecond after each write.
    Paced,
    /// Writes `total_bytes`, then nothing, and asks again and again whether the client is there.
    Silent,
}

/// How a handler reports that its source has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It drops the writer, or returns the error where the peer takes one.
    Default,
    /// It calls what the peer has for errors.
    Explicit,
}

/// Where a handler runs its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `spawn_blocking`.
    Blocking,
    /// On a thread that the runtime does not know.
    Thread,
    /// In a task of the event loop: a mistake, but one that compiles.
    Task,
}

const WAYS: [(&str, Way); 7] = [
    ("complete", Way::Complete),
    ("fails", Way::Fails),
    ("panics", Way::Panics),
    ("quits", Way::Quits),
    ("fails-early", Way::FailsEarly),
    ("paced", Way::Paced),
    ("silent", Way::Silent),
];

const ENDINGS: [(&str, Ending); 2] = [("default", Ending::Default), ("explicit", Ending::Explicit)];

const PLACES: [(&str, Place); 3] = [
    ("blocking", Place::Blocking),
    ("thread", Place::Thread),
    ("task", Place::Task),
];

impl Job {
    /// Makes a job whose source runs in `spawn_blocking` and whose failures end in the default way.
    pub fn new(way: Way, write_bytes: usize, total_bytes: u64) -> Self {
        Self {
            way,
            write_bytes,
            total_bytes,
            ending: Ending::Default,
            place: Place::Blocking,
        }
    }

    /// Reads the path of a URL; `None` if it is no job.
    pub fn parse(path: &str) -> Option<Self> {
        let mut words = path.strip_prefix('/')?.split('/');
        Some(Self {
            way: find(&WAYS, words.next()?)?,
            write_bytes: words.next()?.parse().ok()?,
            total_bytes: words.next()?.parse().ok()?,
            ending: find(&ENDINGS, words.next()?)?,
            place: find(&PLACES, words.next()?)?,
        })
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "/{}/{}/{}/{}/{}",
            name(&WAYS, self.way),
            self.write_bytes,
            self.total_bytes,
            name(&ENDINGS, self.ending),
            name(&PLACES, self.place)
        )
    }
}

fn find<T: Copy>(all: &[(&str, T)], word: &str) -> Option<T> {
    all.iter()
        .find(|(name, _)| *name == word)
        .map(|(_, it)| *it)
}

fn name<T: PartialEq>(all: &[(&'static str, T)], it: T) -> &'static str {
    all.iter()
        .find(|(_, other)| *other == it)
        .map_or("", |(name, _)| name)
}
