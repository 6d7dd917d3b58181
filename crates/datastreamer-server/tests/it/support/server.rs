//! The program as a process: started on a free port, watched from outside, stopped and killed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::scratch::Scratch;
use super::{program, tools, wait};

const START_LIMIT: Duration = Duration::from_secs(20);

/// A running `datastreamer serve`; dropping it kills it.
pub(crate) struct Server {
    child: Child,
    port: u16,
    log_file: PathBuf,
    _scratch: Scratch,
}

impl Server {
    /// Starts `datastreamer serve ARGUMENTS --listen 127.0.0.1:0` and waits until it listens.
    ///
    /// # Panics
    /// When it ends, or has printed no URL after 20 seconds; with what it wrote to standard error.
    pub(crate) fn start(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let scratch = Scratch::new("server");
        let log_file = scratch.join("stderr");
        let mut child = program::command(&["serve"])
            .args(arguments.into_iter().map(Into::into))
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(File::create(&log_file).expect("the log can be made"))
            .spawn()
            .expect("the program starts");

        // The thread goes on reading to the end, so that the program never waits for a reader.
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (sender, ports) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(port) = port_in(&line) {
                    let _ = sender.send(port);
                }
            }
        });
        let Ok(port) = ports.recv_timeout(START_LIMIT) else {
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(&log_file).unwrap_or_default();
            panic!("the program printed no URL of 127.0.0.1; on standard error: {log}");
        };
        Self {
            child,
            port,
            log_file,
            _scratch: scratch,
        }
    }

    /// Returns the URL of a path (and query) that begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns the port that the program listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns what the program has written to standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    /// Says whether a client is connected now.
    pub(crate) fn has_connection(&self) -> bool {
        const ESTABLISHED: &str = "01";
        let local_address = format!("0100007F:{:04X}", self.port);
        let table = fs::read_to_string("/proc/net/tcp").expect("the kernel tells its connections");
        table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next();
            let state = fields.nth(1);
            local == Some(&local_address) && state == Some(ESTABLISHED)
        })
    }

    /// Returns how many bytes the program has read from files so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        let figures = fs::read_to_string(format!("/proc/{}/io", self.child.id()));
        let figures = figures.expect("a process of one's own tells its figures");
        let read = figures
            .lines()
            .find_map(|line| line.strip_prefix("rchar: "));
        read.expect("rchar is one of them")
            .parse()
            .expect("a number")
    }

    /// Kills the program as `kill -9` does, and returns when it is dead.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Asks the program to stop, as service managers do (SIGTERM), and waits for its end.
    ///
    /// # Panics
    /// When it has not ended after `time_limit`.
    pub(crate) fn terminate(&mut self, time_limit: Duration) -> ExitStatus {
        let pid = self.child.id().to_string();
        let told = tools::program("kill").args(["-TERM", &pid]).status();
        assert!(
            told.expect("kill runs").success(),
            "the program had ended already"
        );
        wait::for_exit(&mut self.child, time_limit)
            .unwrap_or_else(|| panic!("still running {time_limit:?} after SIGTERM: {}", self.log()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the port of the first `http://127.0.0.1:PORT` in a line.
fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once("http://127.0.0.1:")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}
