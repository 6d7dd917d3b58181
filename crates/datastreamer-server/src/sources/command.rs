//! A program's standard output: argv as a list, never a shell.
//!
//! The program runs in a process group of its own. When the stream is stopped, the group is ended
//! at once, and not at the next write: a program may be silent for hours. Any exit status but 0
//! fails the stream and ends the group as well. If the server is killed, so is the group.
//!
//! A process that has left the group (`setsid`) may hold the pipes open for ever. No read waits for
//! it.

use std::{
    ffi::OsString,
    io::{self, Read},
    os::{
        fd::AsFd,
        unix::{fs::PermissionsExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{self, ChildStderr, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use datastreamer::{StreamId, StreamWriter};
use datastreamer_http::StatusError;
use datastreamer_process::{Group, Leader, Signal};
use http::StatusCode;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Job, SourceError};
use crate::refusal::Concealed;

/// What is read from the program at a time: a pipe's usual capacity.
const READ_BYTES: usize = 64 * 1024;
/// How long a stopped program has to clean up before it is killed.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// Lines of standard error that reach the log: enough to see what is wrong, too few to fill a
/// disk.
const STDERR_LINES_MAX: usize = 100;
/// A line of standard error is cut here.
const STDERR_LINE_BYTES_MAX: usize = 1000;
/// How often a silent program is checked: four wake-ups a second cost nothing, and a stop is
/// noticed soon enough even if the program ignores it.
const CHECK_EVERY: Duration = Duration::from_millis(250);
/// How long processes that outlive the program may be silent and hold its pipes. The last process
/// of a pipeline has written by then; a daemon would hold them for ever.
const REST_GRACE: Duration = Duration::from_secs(3);
/// How often a program is checked that has closed its output and has not ended.
const EXIT_CHECK_EVERY: Duration = Duration::from_millis(20);

/// The source of a program's output.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    argv: Vec<OsString>,
    folder: PathBuf,
}

impl Command {
    /// Checks that the program can be found.
    pub(crate) fn new(argv: Vec<String>, folder: &Path) -> Result<Self, String> {
        let program = argv.first().ok_or("`argv` is empty")?;
        if program.is_empty() || argv.iter().any(|arg| arg.contains('\0')) {
            return Err("`argv` has an empty program or a NUL character".into());
        }
        if !is_there(program, folder) {
            return Err(format!("there is no program `{program}`"));
        }
        Ok(Self {
            argv: argv.into_iter().map(OsString::from).collect(),
            folder: folder.to_owned(),
        })
    }

    pub(crate) fn job(&self) -> Job {
        let command = self.clone();
        let write = Box::new(move |out: &mut StreamWriter| command.write(out));
        Job::unplanned(None, write)
    }

    fn write(&self, out: &mut StreamWriter) -> Result<(), SourceError> {
        let (mut child, group) = self.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let log = thread::Builder::new().name("stderr".into()).spawn({
            let id = out.id();
            let group = Arc::clone(&group);
            move || log_stderr(stderr, &group, id)
        });
        let _ends = out.on_stop({
            let group = Arc::clone(&group);
            move |_| group.end(TERM_GRACE)
        });
        let copied = stdout.map_or(Ok(()), |stdout| copy(stdout, &group, out));
        let status = wait(&mut child, &group, || copied.is_err() || out.is_stopped());
        // Standard error may end later than the program: the log is not waited for.
        drop(log);
        copied?;
        check(status?)
    }

    fn spawn(&self) -> Result<(process::Child, Arc<Group>), SourceError> {
        let (program, args) = self.argv.split_first().ok_or("`argv` is empty")?;
        let mut command = process::Command::new(program);
        if !self.folder.as_os_str().is_empty() {
            command.current_dir(&self.folder);
        }
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Group::spawn(&mut command).map_err(|error| {
            let text = format!("cannot start {}: {error}", program.display());
            Concealed::telling("the program cannot be started", text)
        })
    }
}

fn is_there(program: &str, folder: &Path) -> bool {
    if program.contains('/') {
        return is_program(&folder.join(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}

fn is_program(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn copy(
    mut stdout: impl Read + AsFd,
    group: &Group,
    out: &StreamWriter,
) -> Result<(), SourceError> {
    let mut buffer = vec![0; READ_BYTES];
    let mut looked = Instant::now();
    let mut written = Instant::now();
    loop {
        let readable = is_readable(&stdout)?;
        if readable {
            match stdout.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => out.write_slice(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            written = Instant::now();
        }
        if readable && looked.elapsed() < CHECK_EVERY {
            continue;
        }
        looked = Instant::now();
        if out.is_stopped() {
            return Err("the stream was stopped".into());
        }
        match group.leader()? {
            Leader::Runs => written = looked,
            Leader::Failed => {
                group.signal(Signal::KILL); // What is left of it must not go on writing.
                if !readable {
                    return Ok(()); // The exit says what was wrong.
                }
            }
            Leader::EndedWell if written.elapsed() < REST_GRACE => {}
            // Whether more was to come is unknown.
            Leader::EndedWell => {
                return Err(failed(
                    "the program has ended, but a process that it started keeps its standard \
                     output open",
                ));
            }
        }
    }
}

/// Waits for something to read or the end, and no longer than [`CHECK_EVERY`].
fn is_readable(pipe: &impl AsFd) -> io::Result<bool> {
    let timeout = Timespec::try_from(CHECK_EVERY).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits for the program, which has closed its output or lost its reader. Ends the group if the
/// rest is not wanted.
fn wait(
    child: &mut process::Child,
    group: &Group,
    unwanted: impl Fn() -> bool,
) -> Result<ExitStatus, SourceError> {
    let mut ending_since = None;
    loop {
        let leader = group.leader()?;
        if leader != Leader::Runs {
            if unwanted() || leader == Leader::Failed {
                group.signal(Signal::KILL); // Whoever outlives the leader.
            }
            group.forget();
            return Ok(child.wait()?);
        }
        if unwanted() {
            let now = Instant::now();
            let since = *ending_since.get_or_insert_with(|| {
                group.signal(Signal::TERM);
                now
            });
            if now - since > TERM_GRACE {
                group.signal(Signal::KILL);
            }
        }
        thread::sleep(EXIT_CHECK_EVERY);
    }
}

fn check(status: ExitStatus) -> Result<(), SourceError> {
    let text = match (status.code(), status.signal()) {
        (Some(0), _) => return Ok(()),
        (Some(code), _) => format!("the program ended with exit code {code}"),
        (None, Some(signal)) => format!("the program was killed by signal {signal}"),
        (None, None) => format!("the program ended with {status}"),
    };
    Err(failed(text))
}

/// An error that says nothing of the program.
fn failed(text: impl Into<String>) -> SourceError {
    Box::new(StatusError::new(StatusCode::INTERNAL_SERVER_ERROR, text))
}

/// Reads all of standard error, so that the program never blocks on it, and logs its beginning.
fn log_stderr(stderr: Option<ChildStderr>, group: &Group, id: StreamId) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = vec![0; READ_BYTES];
    let mut complaints = Complaints::new(id);
    let mut over_since = None;
    loop {
        if group.is_forgotten() {
            let since = *over_since.get_or_insert_with(Instant::now);
            if since.elapsed() > REST_GRACE {
                break; // A daemon has it: its complaints are its own affair.
            }
        }
        match is_readable(&stderr) {
            Ok(false) => {}
            Ok(true) => match stderr.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => complaints.add(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            },
            Err(_) => break,
        }
    }
    complaints.end_line();
}

/// The lines of standard error on their way to the log.
struct Complaints {
    id: StreamId,
    line: Vec<u8>,
    lines: usize,
}

impl Complaints {
    fn new(id: StreamId) -> Self {
        Self {
            id,
            line: Vec::new(),
            lines: 0,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = STDERR_LINE_BYTES_MAX - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return;
        }
        let id = self.id;
        self.lines = self.lines.saturating_add(1);
        if self.lines <= STDERR_LINES_MAX {
            let text = String::from_utf8_lossy(&line);
            tracing::warn!(%id, stderr = text.trim_end(), "the program says");
        } else if self.lines == STDERR_LINES_MAX + 1 {
            tracing::warn!(%id, "the program says more; it is not logged");
        }
    }
}
