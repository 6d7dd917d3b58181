//! One process of a query, as the server sees it: started, asked, listened to, and ended. It ends
//! with its [`QueryProcess`].

use std::{
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use datastreamer_process::{Group, Leader, Signal};
use serde::Serialize;
use socket2::SockRef;

use super::{
    ROLE, ROLE_VARIABLE,
    protocol::{Limits, Tag, answered, order},
};
use crate::error::{EngineError, EngineErrorKind};

/// The program, even if its file has been replaced since it was started.
const PROGRAM: &str = "/proc/self/exe";
/// What it is called in lists of processes.
const NAME: &str = "datastreamer-query";
/// A minute to take a message: it waits for nothing else.
const TAKES_MAX: Duration = Duration::from_secs(60);
/// 1 MiB of rows that the process may be ahead of the server, in the system's memory: three times the
/// usual batch, so that neither waits for each.
const ANSWERS_AHEAD_BYTES: usize = 1 << 20;
/// What cannot be waited for longer than a millisecond is not waited for by the system at all.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// What is told of a process that ends by itself: it was refused memory or stack.
const OUTGROWN: &str =
    "the query needs more memory than one query may have, or is nested too deeply";

/// A process that was started for one query.
pub(super) struct QueryProcess {
    connection: UnixStream,
    end: Arc<ProcessEnd>,
}

/// Ends a process from any thread.
#[derive(Debug)]
pub(super) struct ProcessEnd {
    group: Arc<Group>,
    /// `None` once it has been waited for.
    child: Mutex<Option<Child>>,
    /// Nobody wants more of it.
    is_stopped: AtomicBool,
}

impl QueryProcess {
    /// Starts a process, which gets ready.
    ///
    /// # Errors
    /// The system refuses it.
    pub(super) fn start(limits: &Limits) -> io::Result<Self> {
        let (mut connection, other) = UnixStream::pair()?;
        connection.set_write_timeout(Some(TAKES_MAX))?;
        // The system may allow less.
        let _ = SockRef::from(&other).set_send_buffer_size(ANSWERS_AHEAD_BYTES);
        let mut command = Command::new(PROGRAM);
        command
            .arg0(NAME)
            .env_clear()
            // Of glibc, which reserves 64 MiB of addresses for each thread otherwise.
            .env("MALLOC_ARENA_MAX", "1")
            // Of jemalloc: a new process touches all of its memory for the first time, 4 KiB a time
            // otherwise. It takes a fifth less of the system's time.
            .env("_RJEM_MALLOC_CONF", "thp:always")
            .env(ROLE_VARIABLE, ROLE)
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(other)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (child, group) = Group::spawn(&mut command)?;
        let process = Self {
            end: Arc::new(ProcessEnd {
                group,
                child: Mutex::new(Some(child)),
                is_stopped: AtomicBool::new(false),
            }),
            connection: connection.try_clone()?,
        };
        order(&mut connection, limits)?;
        Ok(process)
    }

    pub(super) fn end(&self) -> &Arc<ProcessEnd> {
        &self.end
    }

    /// Sends a message. **Blocks** until the process takes it.
    ///
    /// # Errors
    /// It has ended.
    pub(super) fn tell(&mut self, message: &impl Serialize) -> Result<(), EngineError> {
        let told = order(&mut self.connection, message);
        told.map_err(|error| self.why(&error))
    }

    /// Waits for the next message. **Blocks**, until the deadline at most; without one, until the
    /// process ends.
    ///
    /// # Errors
    /// The process has ended, was stopped, or is late.
    pub(super) fn listen(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<(Tag, Vec<u8>), EngineError> {
        let answered = match deadline {
            Some(deadline) => answered(&mut Timed {
                connection: &self.connection,
                deadline,
            }),
            // Straight from the connection, which fills memory that nobody has cleared before.
            None => {
                let waits = self.connection.set_read_timeout(None);
                waits.and_then(|()| answered(&mut &self.connection))
            }
        };
        answered.map_err(|error| self.why(&error))
    }

    /// Returns the reason why nothing comes, and ends the process.
    fn why(&self, error: &io::Error) -> EngineError {
        if error.kind() == io::ErrorKind::TimedOut {
            self.end.kill();
            return EngineError::new(EngineErrorKind::TimedOut, "the query took too long");
        }
        let status = self.end.now();
        if self.end.is_stopped.load(Ordering::Acquire) {
            return EngineError::new(EngineErrorKind::Stopped, "the rows were stopped");
        }
        let signal = status.and_then(|status| status.signal());
        tracing::warn!(signal, %error, "the process of a query has ended");
        let is = |wanted: Signal| signal == Some(wanted.as_raw());
        match [Signal::ABORT, Signal::SEGV, Signal::BUS]
            .into_iter()
            .any(is)
        {
            true => EngineError::new(EngineErrorKind::Computation, OUTGROWN),
            false => EngineError::data("the process of the query has been ended"),
        }
    }
}

impl Drop for QueryProcess {
    fn drop(&mut self) {
        self.end.kill();
        let end = Arc::clone(&self.end);
        let reap = move || end.wait();
        // A process that waits for a disk ends late, and nobody is to wait for that.
        let reaper = thread::Builder::new().name("reaper".into());
        if reaper.spawn(reap).is_err() {
            self.end.wait();
        }
    }
}

impl ProcessEnd {
    /// Ends the process because nobody wants more of it. Never blocks for long.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.kill();
    }

    fn kill(&self) {
        self.group.signal(Signal::KILL);
    }

    /// Kills the process unless it ends soon by itself, and returns how it ended; `None` if that
    /// takes longer.
    fn now(&self) -> Option<ExitStatus> {
        let deadline = Instant::now() + SOON;
        while self
            .group
            .leader()
            .is_ok_and(|leader| leader == Leader::Runs)
        {
            if Instant::now() > deadline {
                self.kill();
                return None;
            }
            thread::sleep(WAIT_MIN);
        }
        self.wait()
    }

    /// Waits for the end of a process that was killed, or has ended. **Blocks.**
    fn wait(&self) -> Option<ExitStatus> {
        let child = self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.group.forget();
        child?.wait().ok()
    }
}

/// A tenth of a second: a process that closes its connection is about to end.
const SOON: Duration = Duration::from_millis(100);

/// A connection that is read until a deadline.
struct Timed<'a> {
    connection: &'a UnixStream,
    deadline: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = Some(left.max(WAIT_MIN));
        self.connection.set_read_timeout(timeout)?;
        self.connection
            .read(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                _ => error,
            })
    }
}
