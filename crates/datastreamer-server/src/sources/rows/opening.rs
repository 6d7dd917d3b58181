//! Tables whose files are still read for the types of their columns. Until that is done, a request for
//! one, or for a query that may read one, is refused with 503.
//!
//! `site/tables.rs` opens tables, and says here when it is done; it decides how long a start waits.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use datastreamer_engine::TableInfo;
use datastreamer_table::Format;
use http::StatusCode;
use indicatif::HumanBytes;

use crate::refusal::{Refusal, SOURCE_FAILED};

/// What is known of a table that is open.
pub(crate) struct Opened {
    pub(crate) info: TableInfo,
    /// The file that the table is, and its format, where nothing of the configuration is added to it.
    pub(crate) own_file: Option<(PathBuf, Format)>,
    /// The formats that hold its columns.
    pub(crate) formats: Vec<Format>,
}

/// A table that is open, or being opened.
#[derive(Clone)]
pub(crate) struct Opening(Arc<State>);

struct State {
    name: String,
    /// The bytes of the files, and how many were read of them.
    bytes: u64,
    read: Arc<AtomicU64>,
    ended: OnceLock<Ended>,
}

struct Ended {
    opened: Result<Opened, String>,
    at: SystemTime,
}

/// How far a table is.
pub(crate) enum Progress {
    Open,
    /// Bytes that were read, and those of the files.
    Reading(u64, u64),
    Failed(SystemTime),
}

impl Opening {
    pub(crate) fn new(name: &str, bytes: u64) -> Self {
        Self(Arc::new(State {
            name: name.to_owned(),
            bytes,
            read: Arc::default(),
            ended: OnceLock::new(),
        }))
    }

    /// Returns what counts the bytes that are read.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.read)
    }

    /// Says that the table is open, or cannot be opened. The first call counts.
    pub(crate) fn end(&self, opened: Result<Opened, String>) {
        let at = SystemTime::now();
        let _first = self.0.ended.set(Ended { opened, at });
    }

    /// Returns what is known of the table; `None` until it is open.
    pub(crate) fn opened(&self) -> Option<&Opened> {
        self.0.ended.get()?.opened.as_ref().ok()
    }

    /// Returns why the table cannot be opened.
    pub(crate) fn error(&self) -> Option<&str> {
        let ended = self.0.ended.get()?;
        ended.opened.as_ref().err().map(String::as_str)
    }

    pub(crate) fn progress(&self) -> Progress {
        match self.0.ended.get() {
            None => Progress::Reading(self.0.read.load(Ordering::Relaxed), self.0.bytes),
            Some(Ended { opened: Ok(_), .. }) => Progress::Open,
            Some(Ended { at, .. }) => Progress::Failed(*at),
        }
    }

    /// Returns what is known of the table.
    ///
    /// # Errors
    /// It is being opened (503), or cannot be opened.
    pub(crate) fn ready(&self) -> Result<&Opened, Refusal> {
        match self.0.ended.get() {
            Some(Ended {
                opened: Ok(opened), ..
            }) => Ok(opened),
            Some(Ended {
                opened: Err(text), ..
            }) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Err(Refusal::new(status, SOURCE_FAILED).caused_by(text))
            }
            None => {
                let text = format!("the table is not ready: {}", self.show());
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))
            }
        }
    }

    /// Says for people how far it is.
    pub(crate) fn show(&self) -> String {
        let read = HumanBytes(self.0.read.load(Ordering::Relaxed));
        let bytes = HumanBytes(self.0.bytes);
        format!("the types of its columns are inferred, {read} of {bytes} read")
    }
}

/// All tables of a site that are read as text, which queries may read.
#[derive(Clone, Default)]
pub(crate) struct Openings(Arc<Mutex<Vec<Opening>>>);

impl Openings {
    pub(crate) fn add(&self, opening: &Opening) {
        self.list().push(opening.clone());
    }

    /// Returns why a query cannot be planned that may read a table which is not open yet; `None` if all
    /// are open, or cannot be opened.
    pub(crate) fn not_ready(&self) -> Option<Refusal> {
        let openings = self.list();
        let mut openings = openings.iter();
        let first = openings.find(|opening| opening.0.ended.get().is_none())?;
        let text = format!("table {} is not ready: {}", first.0.name, first.show());
        Some(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text))
    }

    fn list(&self) -> MutexGuard<'_, Vec<Opening>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
