//! The guardian: a second process that kills the process groups this one leaves behind.
//!
//! Both halves are here: the process itself ([`run_if_guardian`]), and what this process keeps of it
//! ([`start_once`], [`add`], [`remove`], which `group.rs` calls).
//!
//! The guardian is this program, started again from `/proc/self/exe`, and does nothing but read its
//! standard input: a pipe whose other end this process alone holds. `+PID` is a group that has
//! started, `-PID` one that has ended, each on a line. When the pipe closes this process has ended,
//! however that happened. The guardian then sends SIGKILL to each group that is still listed, and
//! ends. That takes milliseconds, in which the number of a group could become another's only if its
//! last process ended too and the system had started as many processes as it has numbers.
//!
//! It is in a process group of its own, so Ctrl-C at a terminal does not end it. A service manager
//! may end it with all processes of the service. [`watch`] starts another, which is told all groups.
//! What it does not hold: a process that has left its group, and a group that was started in the
//! microseconds before this process was killed.

use std::{
    collections::BTreeSet,
    env,
    io::{self, BufRead, Write},
    os::unix::process::CommandExt,
    process::{self, Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::{Errno, ioctl_fionbio},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};

/// The one argument of a guardian.
const ROLE: &str = "--datastreamer-guardian";
/// The program that runs, even if its file has been replaced or removed.
const THIS_PROGRAM: &str = "/proc/self/exe";
/// Keeps jemalloc, if the program has it, from starting a thread that gives memory back: there is
/// none.
const SINGLE_THREADED: (&str, &str) = ("_RJEM_MALLOC_CONF", "background_thread:false");
/// A guardian that ends sooner than this after its start is not started again before as much time
/// has passed: where none can live, one is tried each second.
const RESTART_REST: Duration = Duration::from_secs(1);

/// Whether this program becomes a guardian when it is started as one.
static HAS_ROLE: AtomicBool = AtomicBool::new(false);
static GUARDIAN: Mutex<Guardian> = Mutex::new(Guardian {
    groups: BTreeSet::new(),
    process: None,
});

/// Runs the guardian, and does not return, if this process was started as one. To be called first
/// in `main`: a guardian must not start what a program starts.
///
/// Unless this has been called there is no guardian, and child processes may outlive a killed
/// program: starting it again would run the program a second time.
pub fn run_if_guardian() {
    HAS_ROLE.store(true, Ordering::Relaxed);
    let arguments = env::args_os().skip(1);
    if arguments.eq([ROLE]) {
        for group in groups_left(io::stdin().lock()) {
            // A group that is gone needs no signal.
            let _gone = kill_process_group(group, Signal::KILL);
        }
        process::exit(0);
    }
}

/// Reads which groups start and end until the pipe closes, and returns those that are left.
fn groups_left(pipe: impl BufRead) -> Vec<Pid> {
    let mut groups = BTreeSet::new();
    for line in pipe.lines().map_while(Result::ok) {
        match line.split_at_checked(1) {
            Some(("+", group)) => groups.insert(group.to_owned()),
            Some(("-", group)) => groups.remove(group),
            _ => false,
        };
    }
    groups.iter().filter_map(|group| parse(group)).collect()
}

/// Takes no number that means more than one group: that of process 1 stands for all processes.
fn parse(group: &str) -> Option<Pid> {
    let group = group.parse().ok().filter(|group| *group > 1)?;
    Pid::from_raw(group)
}

/// What this process knows of its guardian.
struct Guardian {
    /// The groups that there are, for the next guardian.
    groups: BTreeSet<i32>,
    process: Option<GuardianProcess>,
}

struct GuardianProcess {
    child: Child,
    pipe: ChildStdin,
    started: Instant,
}

/// Starts the guardian unless there is one. Where that fails a warning is logged: programs are
/// started all the same.
pub(crate) fn start_once() {
    static WARNED: Once = Once::new();
    if !HAS_ROLE.load(Ordering::Relaxed) {
        WARNED.call_once(|| {
            tracing::warn!(
                "programs may outlive this process if it is killed: its main does not call \
                 run_if_guardian"
            );
        });
        return;
    }
    let mut guardian = lock();
    if guardian.process.is_some() {
        return;
    }
    match GuardianProcess::start(&guardian.groups) {
        Ok(process) => {
            guardian.process = Some(process);
            let watch = thread::Builder::new().name("guardian".into()).spawn(watch);
            if let Err(error) = watch {
                tracing::warn!(%error, "nobody looks after the guardian of programs");
            }
        }
        Err(error) => warn_of_none(&error),
    }
}

fn warn_of_none(error: &io::Error) {
    tracing::warn!(%error, "programs may outlive this process if it is killed: no guardian starts");
}

/// Tells the guardian of a group that has started.
pub(crate) fn add(group: Pid) {
    let mut guardian = lock();
    guardian.groups.insert(group.as_raw_pid());
    guardian.tell('+', group.as_raw_pid());
}

/// Tells the guardian of a group that has ended, whose number may soon be another's.
pub(crate) fn remove(group: Pid) {
    let mut guardian = lock();
    guardian.groups.remove(&group.as_raw_pid());
    guardian.tell('-', group.as_raw_pid());
}

fn lock() -> MutexGuard<'static, Guardian> {
    GUARDIAN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guardian {
    fn tell(&mut self, change: char, group: i32) {
        if let Some(process) = &mut self.process {
            process.tell(change, group);
        }
    }
}

impl GuardianProcess {
    /// Starts a guardian of these groups.
    fn start(groups: &BTreeSet<i32>) -> io::Result<Self> {
        let mut child = Command::new(THIS_PROGRAM)
            .arg(ROLE)
            .env(SINGLE_THREADED.0, SINGLE_THREADED.1)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        ioctl_fionbio(&pipe, true)?;
        let mut process = Self {
            child,
            pipe,
            started: Instant::now(),
        };
        for group in groups {
            process.tell('+', *group);
        }
        Ok(process)
    }

    /// Writes a line. It is shorter than what a pipe takes at once or not at all.
    fn tell(&mut self, change: char, group: i32) {
        let told = self.pipe.write_all(format!("{change}{group}\n").as_bytes());
        if told.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            // It is stopped, and has not read for thousands of lines. If it has ended the error is
            // another. In both cases the next one is told all groups.
            let _ended = self.child.kill();
        }
    }
}

/// Starts another guardian whenever one ends, for as long as this process runs.
fn watch() {
    loop {
        let Some((pid, started)) = running() else {
            return;
        };
        wait_for_end(pid);
        if started.elapsed() < RESTART_REST {
            thread::sleep(RESTART_REST);
        }
        let mut guardian = lock();
        if let Some(mut ended) = guardian.process.take() {
            let _reaped = ended.child.wait();
        }
        match GuardianProcess::start(&guardian.groups) {
            Ok(process) => {
                tracing::info!("the guardian of programs was ended, and another one has started");
                guardian.process = Some(process);
            }
            // The next program that starts tries again.
            Err(error) => warn_of_none(&error),
        }
    }
}

fn running() -> Option<(Pid, Instant)> {
    let guardian = lock();
    let process = guardian.process.as_ref()?;
    Some((Pid::from_child(&process.child), process.started))
}

/// Waits for the end of a child without reaping it: until then its number is not another's.
fn wait_for_end(pid: Pid) {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), look), Err(Errno::INTR)) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_have_ended_are_not_killed() {
        let told: &[u8] = b"+71\n+72\n-71\n+73\n-73\n+73\n";
        let left: Vec<_> = groups_left(told)
            .iter()
            .map(|pid| pid.as_raw_pid())
            .collect();
        assert_eq!(left, [72, 73]);
    }

    #[test]
    fn no_line_stands_for_more_than_one_group() {
        // SIGKILL to the group 1, 0 or -1 would end other processes, or all.
        let told: &[u8] = b"+1\n+0\n+-1\n+\n\nx7\n+7 8\n+99999999999\n";
        assert_eq!(groups_left(told), []);
    }
}
