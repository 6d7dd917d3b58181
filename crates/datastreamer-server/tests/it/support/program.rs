//! The program as a command: run to its end and judged by what it said, or started as a server
//! that can be signalled.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::scratch::Scratch;
use super::{tools, wait};

/// What every run gets; the longest take a second.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Returns a command for the program without any setting of the outside.
///
/// `DATASTREAMER_TEST_BINARY` names another program to test, for example an installed one.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let binary = std::env::var_os("DATASTREAMER_TEST_BINARY")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_datastreamer").into());
    let mut command = Command::new(binary);
    command.args(arguments).stdin(Stdio::null());
    without_settings(&mut command);
    // Nobody may see a backtrace, also who asks all Rust programs for them.
    command.env("RUST_BACKTRACE", "1");
    command
}

/// Keeps the settings of this process from a command: the program takes them for its own.
pub(crate) fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("DATASTREAMER_") || name == "RUST_LOG" {
            command.env_remove(&*name);
        }
    }
}

/// What a run said in the end.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Said {
    /// Returns standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("text")
    }

    /// Panics unless the program ended well, and without a word of trouble.
    #[track_caller]
    pub(crate) fn assert_good(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.stderr, "");
    }

    /// Panics unless the program refused in one line that says all of `words`.
    #[track_caller]
    pub(crate) fn assert_refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_no_backtrace(&self.stderr);
        let line = self.stderr.trim_end();
        assert_eq!(line.lines().count(), 1, "{line}");
        for word in words {
            assert!(line.contains(word), "no {word:?} in: {line}");
        }
    }
}

/// Panics when something on standard error is meant for Rust's programmers.
#[track_caller]
pub(crate) fn assert_no_backtrace(stderr: &str) {
    for word in [
        "panicked",
        "RUST_BACKTRACE",
        "stack backtrace",
        "src/main.rs",
    ] {
        assert!(!stderr.contains(word), "{word:?} in: {stderr}");
    }
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Said {
    finish(command(arguments))
}

/// Runs a prepared command to its end.
///
/// # Panics
/// When that has not come after a minute.
pub(crate) fn finish(command: Command) -> Said {
    finish_within(command, TIME_LIMIT)
}

/// Runs a prepared command to its end.
///
/// # Panics
/// When that has not come in time.
pub(crate) fn finish_within(mut command: Command, limit: Duration) -> Said {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let pid = child.id();
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(limit) else {
        signal(pid, "KILL");
        panic!("{command:?} does not end");
    };
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("a child can be waited for");
    Said {
        code: status.code(),
        stdout,
        stderr: String::from_utf8(stderr).expect("text"),
    }
}

/// Sends a signal to a process; says whether there is one.
pub(crate) fn signal(pid: u32, name: &str) -> bool {
    let told = tools::program("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    told.expect("kill runs").success()
}

/// Says whether a process is there and is more than a zombie.
pub(crate) fn is_running(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The name before may hold anything, parentheses too.
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state != Some('Z')
}

/// Returns the children of a process whose command line has this word.
pub(crate) fn children_called(pid: u32, word: &str) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children"));
    let children: Vec<_> = threads
        .flatten()
        .filter_map(|it| of_thread(it).ok())
        .collect();
    let children = children.iter().flat_map(|line| line.split_whitespace());
    let children = children.map(|child| child.parse().expect("a number"));
    let is_called = |child: &u32| {
        let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    };
    children.filter(is_called).collect()
}

/// Returns the processes that a server has started for queries.
pub(crate) fn query_processes(server: u32) -> Vec<u32> {
    children_called(server, "datastreamer-query")
}

/// Waits for a file with the number of a process, and returns it.
pub(crate) fn pid_in(file: &Path) -> u32 {
    let written = || fs::read_to_string(file).unwrap_or_default();
    wait::until("a process writes its number", TIME_LIMIT, || {
        written().ends_with('\n')
    });
    written().trim().parse().expect("a number")
}

/// Returns the port that a server says it listens on, and lets nobody read what else it prints.
pub(crate) fn port_of(server: &mut Child) -> Option<u16> {
    let stdout = BufReader::new(server.stdout.take().expect("stdout is a pipe"));
    stdout.lines().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("http://127.0.0.1:")?;
        rest.split('/').next()?.parse().ok()
    })
}

/// A server that can be signalled; dropping it kills it.
pub(crate) struct Daemon {
    child: Child,
    port: u16,
    scratch: Scratch,
}

impl Daemon {
    /// Starts a server with a configuration file of this text, on a free port.
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_with(configuration, &[])
    }

    /// Starts it with settings in its environment, too.
    pub(crate) fn start_with(configuration: &str, environment: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new("daemon");
        let file = scratch.join("datastreamer.toml");
        fs::write(&file, configuration).expect("files can be written");
        let log = File::create(scratch.join("stderr")).expect("files can be made");
        let mut child = command(&["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(file)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let port = port_of(&mut child);
        let log = fs::read_to_string(scratch.join("stderr")).unwrap_or_default();
        Self {
            port: port.unwrap_or_else(|| panic!("no URL; on standard error: {log}")),
            child,
            scratch,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the directory of its configuration, which is also that of its commands.
    pub(crate) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns what it has written to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("stderr")).unwrap_or_default()
    }

    /// Returns the process that guards its children, once it has one.
    pub(crate) fn guardian(&self) -> u32 {
        let find = || children_called(self.pid(), "--datastreamer-guardian");
        wait::until("it has a guardian", TIME_LIMIT, || !find().is_empty());
        find()[0]
    }

    /// Returns how many files below a folder it has open, whether they have names or not.
    pub(crate) fn files_open_below(&self, folder: &Path) -> usize {
        let queries = query_processes(self.pid());
        let of_process = |pid| {
            fs::read_dir(format!("/proc/{pid}/fd"))
                .into_iter()
                .flatten()
        };
        let open = queries.into_iter().chain([self.pid()]).flat_map(of_process);
        let files = open
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok());
        // The folder of the processes is locked, and stays open.
        let files = files.filter(|file| file.starts_with(folder) && !file.is_dir());
        files.count()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(signal(self.child.id(), name), "it has ended already");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a child can be waited for")
            .is_some()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that has not come within `time_limit`.
    pub(crate) fn wait(&mut self, time_limit: Duration) -> ExitStatus {
        wait::for_exit(&mut self.child, time_limit)
            .unwrap_or_else(|| panic!("still running after {time_limit:?}: {}", self.log()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
