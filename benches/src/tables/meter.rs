//! The cost of one process, including its children. The command runs under a small process of this
//! program (`meter`), because the kernel adds up the children of a process: one meter for each
//! command keeps them apart.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::cli;

/// How much of a failed command's stderr is reported.
const REASON_CHARACTERS_MAX: usize = 200;

/// What a command cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// User and system time of the process and of all that it waited for.
    pub(super) cpu_seconds: f64,
    pub(super) wall_seconds: f64,
    /// The largest process's (`ru_maxrss`); never below the meter's own 3 MB or so.
    pub(super) peak_rss_bytes: f64,
}

/// Runs a command with its stdout in `out`, which is truncated.
///
/// # Errors
/// If it cannot be started or fails; the error has the last line of its stderr.
pub(super) fn run(command: &[OsString], out: &Path) -> io::Result<Usage> {
    let output = Command::new(std::env::current_exe()?)
        .args(["meter", "--out"])
        .arg(out)
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .output()?;
    // A peer that replaces the device by a file would fill the disk from now on.
    if !std::fs::metadata("/dev/null")?.file_type().is_char_device() {
        return Err(io::Error::other(format!("{command:?} replaced /dev/null")));
    }
    if !output.status.success() {
        return Err(io::Error::other(reason(&output.stderr)));
    }
    Usage::parse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| io::Error::other("the meter printed no figures"))
}

/// The other side: runs the command, prints its cost, fails as it does.
pub(crate) fn serve(wanted: &cli::Meter) -> io::Result<bool> {
    let Some((program, arguments)) = wanted.command.split_first() else {
        return Err(io::Error::other("no command"));
    };
    let out = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&wanted.out)?;
    let started = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .stdout(out)
        .status()
        .map_err(|error| io::Error::other(format!("{}: {error}", program.display())))?;
    let wall_seconds = started.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time() + usage.system_time();
    println!(
        "{} {wall_seconds} {}",
        cpu.num_microseconds() as f64 / 1e6,
        // Linux counts in KiB.
        1_024 * usage.max_rss()
    );
    Ok(status.success())
}

impl Usage {
    fn parse(line: &str) -> Option<Self> {
        let mut figures = line.split_whitespace().map(str::parse);
        let mut next = || figures.next()?.ok();
        Some(Self {
            cpu_seconds: next()?,
            wall_seconds: next()?,
            peak_rss_bytes: next()?,
        })
    }
}

/// The last line of a stderr, shortened.
pub(super) fn reason(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    let last = last.unwrap_or("it failed and said nothing").trim();
    last.chars().take(REASON_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_in_the_order_in_which_they_are_printed() {
        let usage = Usage::parse("1.5 2.25 4096\n").unwrap();
        assert_eq!(usage.cpu_seconds, 1.5);
        assert_eq!(usage.wall_seconds, 2.25);
        assert_eq!(usage.peak_rss_bytes, 4_096.0);
        assert!(Usage::parse("1.5 x 4096").is_none());
    }

    #[test]
    fn the_last_line_tells_why_a_command_failed() {
        assert_eq!(
            reason(b"Traceback\nModuleNotFoundError: x\n\n"),
            "ModuleNotFoundError: x"
        );
        assert_eq!(reason(b""), "it failed and said nothing");
    }
}
