//! The spool of a server: opened when the first production begins, or at the start if the configuration
//! names its folder.

use std::{
    env,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use datastreamer_spool::{Error, ErrorKind, Spool, SpoolOptions};
use rustix::fs::{Access, access};

use crate::{config::SpoolConfig, http::deliveries::Deliveries, temporary_room::TakeRoom};

/// Servers of one user on one machine, each with a folder of its own.
const FOLDERS_MAX: u32 = 1000;

/// 5 seconds for a process that was killed to give its folder back: a service manager starts the next one
/// at once, and the system first takes down what the old one was writing.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile.
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// The spool, or why there is none.
pub(crate) struct LazySpool {
    config: SpoolConfig,
    /// Kept in the folder that the configuration names.
    deliveries: Deliveries,
    opened: OnceLock<Result<Spool, String>>,
}

impl LazySpool {
    pub(crate) fn new(config: SpoolConfig, deliveries: Deliveries) -> Self {
        Self {
            config,
            deliveries,
            opened: OnceLock::new(),
        }
    }

    /// Opens it, the first time on a thread that may block.
    ///
    /// # Errors
    /// The folder cannot be used; for the operator.
    pub(crate) async fn get(self: &Arc<Self>) -> Result<&Spool, &str> {
        if self.opened.get().is_none() {
            let this = Arc::clone(self);
            let opening =
                tokio::task::spawn_blocking(move || this.get_blocking().map(drop).is_ok());
            // A panic is reported by whoever asks next.
            let _ended = opening.await;
        }
        self.get_blocking()
    }

    /// Opens it, the first time. **Blocks**.
    ///
    /// # Errors
    /// The folder cannot be used; for the operator.
    pub(crate) fn get_blocking(&self) -> Result<&Spool, &str> {
        let opened = self.opened.get_or_init(|| {
            let opened = open(&self.config);
            match &opened {
                Ok(_) => {
                    if let Some(folder) = &self.config.folder {
                        self.deliveries.remember(folder);
                    }
                }
                // Otherwise it ends the program before it serves.
                Err(error) if !self.has_own_folder() => {
                    tracing::error!(error, "there is no spool");
                }
                Err(_) => {}
            }
            opened
        });
        opened.as_ref().map_err(String::as_str)
    }

    /// Returns what takes room of the spool for temporary files; it opens the spool, and blocks.
    pub(crate) fn room(self: &Arc<Self>) -> TakeRoom {
        let this = Arc::clone(self);
        Box::new(move |bytes| {
            let spool = this.get_blocking().map_err(io::Error::other)?;
            let full = |error| io::Error::new(io::ErrorKind::StorageFull, error);
            spool.take_room(bytes).map_err(full)
        })
    }

    /// The spool, if it has been opened.
    pub(crate) fn opened(&self) -> Option<&Spool> {
        self.opened.get()?.as_ref().ok()
    }

    /// Returns whether the configuration names the folder.
    pub(crate) fn has_own_folder(&self) -> bool {
        self.config.folder.is_some()
    }
}

/// Checks that a spool could be opened in the folder that the configuration names, without making it.
/// **Blocks**.
///
/// # Errors
/// The folder cannot be made or written; for the operator.
pub(crate) fn check(config: &SpoolConfig) -> Result<(), String> {
    let Some(folder) = &config.folder else {
        return Ok(());
    };
    let there = folder.ancestors().find(|above| above.exists());
    let Some(there) = there else { return Ok(()) };
    let refuse = |error: io::Error| format!("spool.folder: {}: {error}", there.display());
    if !there.is_dir() {
        return Err(refuse(io::ErrorKind::NotADirectory.into()));
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| refuse(errno.into()))
}

fn open(config: &SpoolConfig) -> Result<Spool, String> {
    if let Some(folder) = &config.folder {
        let opened = open_when_free(folder, &config.options);
        return opened.map_err(|error| format!("{}: {error}", folder.display()));
    }
    for number in 0..FOLDERS_MAX {
        let folder = of_this_user(number);
        let folder = folder.map_err(|error| format!("no folder for temporary files: {error}"))?;
        match folder.map(|folder| Spool::open(folder, config.options.clone())) {
            Some(Ok(spool)) => return Ok(spool),
            Some(Err(error)) if error.kind() != ErrorKind::Locked => return Err(error.to_string()),
            Some(Err(_)) | None => {}
        }
    }
    Err("all folders for temporary files are in use".into())
}

/// Opens a folder, and waits for the process that had it before.
fn open_when_free(folder: &Path, options: &SpoolOptions) -> Result<Spool, Error> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match Spool::open(folder, options.clone()) {
            Err(error) if error.kind() == ErrorKind::Locked && Instant::now() < until => {
                thread::sleep(LOCK_LOOK);
            }
            opened => return opened,
        }
    }
}

/// A folder below that for temporary files; `None` if it is somebody else's.
fn of_this_user(number: u32) -> io::Result<Option<PathBuf>> {
    let user = rustix::process::geteuid().as_raw();
    let folder = env::temp_dir().join(format!("datastreamer-spool-{user}-{number}"));
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Not behind a link, which anybody may make there.
    let found = fs::symlink_metadata(&folder)?;
    let is_own = found.is_dir() && found.uid() == user;
    Ok(is_own.then_some(folder))
}
