//! The guardian: a second process that kills the process groups this one leaves behind.
//!
//! Both halves are here: the process itself ([`run_if_guardian`]), and what this process keeps of it
//! ([`spawn`] and [`forget`], which `group.rs` calls).
//!
//! The guardian is this program, started again from `/proc/self/exe`, and does nothing but read its
//! standard input: a pipe whose other end this process alone holds. `+PID` is a group that has
//! started, `-PID` one that has ended, each on a line. When the pipe closes this process has ended,
//! however that happened. The guardian then sends SIGKILL to each group that is still listed, and
//! ends. That takes milliseconds, in which the number of a group could become another's only if its
//! last process ended too and the system had started as many processes as it has numbers.
//!
//! A group has no number before it runs, and this process may be killed before it has told the
//! number. So each program gets a [`MARK`] in its environment, which is listed as groups are while it
//! is started. Processes with a mark that is still listed are found in `/proc`.
//!
//! It is in a process group of its own, so Ctrl-C at a terminal does not end it. A service manager
//! may end it with all processes of the service. [`watch`] starts another, which is told all groups.
//! What it does not hold: a process that has left its group, or a program that was being started and
//! has cleared its environment at once.

use std::{
    collections::BTreeSet,
    env, fs,
    hash::{BuildHasher, RandomState},
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
    process::{Pid, Signal, WaitId, WaitIdOptions, getpgid, kill_process_group, waitid},
};

/// The one argument of a guardian.
const ROLE: &str = "--datastreamer-guardian";
/// The variable with which each child is found that was not told in time. One that begins with
/// `DATASTREAMER_` would be a setting of this program.
const MARK: &str = "_DATASTREAMER_MARK";
/// How long marks are looked for: a child has none before it runs its program, which may have to be
/// read from a disk.
const SEARCH_LIMIT: Duration = Duration::from_secs(1);
/// How often they are looked for.
const SEARCH_EVERY: Duration = Duration::from_millis(10);
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
    listed: BTreeSet::new(),
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
        end(read(io::stdin().lock()));
        process::exit(0);
    }
}

/// Reads what is listed until the pipe closes: groups, and marks of children that are being started.
fn read(pipe: impl BufRead) -> BTreeSet<String> {
    let mut listed = BTreeSet::new();
    for line in pipe.lines().map_while(Result::ok) {
        match line.split_at_checked(1) {
            Some(("+", entry)) => listed.insert(entry.to_owned()),
            Some(("-", entry)) => listed.remove(entry),
            _ => false,
        };
    }
    listed
}

/// Kills all groups that are listed, and those of processes with a mark that is.
fn end(mut listed: BTreeSet<String>) {
    listed
        .iter()
        .filter_map(|entry| group(entry))
        .for_each(kill);
    listed.retain(|entry| is_mark(entry));
    let deadline = Instant::now() + SEARCH_LIMIT;
    while !listed.is_empty() && Instant::now() < deadline {
        let marked = marked(&listed);
        for (mark, group) in marked {
            kill(group);
            listed.remove(&mark);
        }
        thread::sleep(SEARCH_EVERY);
    }
}

fn kill(group: Pid) {
    // A group that is gone needs no signal.
    let _gone = kill_process_group(group, Signal::KILL);
}

/// Takes no number that means more than one group: that of process 1 stands for all processes.
fn group(entry: &str) -> Option<Pid> {
    let group = entry.parse().ok().filter(|group| *group > 1)?;
    Pid::from_raw(group)
}

/// Makes a mark that no other process has.
fn new_mark() -> String {
    format!("m{:016x}", RandomState::new().hash_one(process::id()))
}

fn is_mark(entry: &str) -> bool {
    let digits = entry.strip_prefix('m').unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Finds the groups of all processes that have one of these marks.
fn marked(marks: &BTreeSet<String>) -> Vec<(String, Pid)> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| group(entry.file_name().to_str()?));
    pids.filter_map(|pid| {
        let mark = mark_of(pid).filter(|mark| marks.contains(mark))?;
        let group = getpgid(Some(pid)).ok().filter(|group| !group.is_init())?;
        Some((mark, group))
    })
    .collect()
}

/// Returns the mark in a process's environment; `None` if it has none, or is somebody else's.
fn mark_of(pid: Pid) -> Option<String> {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).ok()?;
    let variables = environment.split(|byte| *byte == 0);
    let mut marks = variables.filter_map(|it| it.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="));
    String::from_utf8(marks.next()?.to_vec()).ok()
}

/// What this process knows of its guardian.
struct Guardian {
    /// The groups that there are, and the marks of those that are being started, for the next
    /// guardian. As many as there are child processes.
    listed: BTreeSet<String>,
    process: Option<GuardianProcess>,
}

struct GuardianProcess {
    child: Child,
    pipe: ChildStdin,
    started: Instant,
}

/// Starts a program as the leader of a new group, of which the guardian is told.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    start_once();
    let mark = new_mark();
    lock().add(mark.clone());
    let child = command.env(MARK, &mark).process_group(0).spawn();
    let mut guardian = lock();
    if let Ok(child) = &child {
        guardian.add(child.id().to_string());
    }
    guardian.remove(&mark);
    child
}

/// Tells the guardian of a group that has ended, whose number may soon be another's.
pub(crate) fn forget(group: Pid) {
    lock().remove(&group.as_raw_pid().to_string());
}

/// Starts the guardian unless there is one. Where that fails a warning is logged: programs are
/// started all the same.
fn start_once() {
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
    match GuardianProcess::start(&guardian.listed) {
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

fn lock() -> MutexGuard<'static, Guardian> {
    GUARDIAN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guardian {
    fn add(&mut self, entry: String) {
        if let Some(process) = &mut self.process {
            process.tell('+', &entry);
        }
        self.listed.insert(entry);
    }

    fn remove(&mut self, entry: &str) {
        if let Some(process) = &mut self.process {
            process.tell('-', entry);
        }
        self.listed.remove(entry);
    }
}

impl GuardianProcess {
    /// Starts a guardian of what is listed.
    fn start(listed: &BTreeSet<String>) -> io::Result<Self> {
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
        for entry in listed {
            process.tell('+', entry);
        }
        Ok(process)
    }

    /// Writes a line. It is shorter than what a pipe takes at once or not at all.
    fn tell(&mut self, change: char, entry: &str) {
        let told = self.pipe.write_all(format!("{change}{entry}\n").as_bytes());
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
        match GuardianProcess::start(&guardian.listed) {
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

    fn groups(told: &[u8]) -> Vec<i32> {
        let listed = read(told);
        let groups = listed.iter().filter_map(|entry| group(entry));
        groups.map(Pid::as_raw_pid).collect()
    }

    #[test]
    fn groups_that_have_ended_are_not_killed() {
        assert_eq!(groups(b"+71\n+72\n-71\n+73\n-73\n+73\n"), [72, 73]);
    }

    #[test]
    fn no_line_stands_for_more_than_one_group() {
        // SIGKILL to the group 1, 0 or -1 would end other processes, or all.
        let told = b"+1\n+0\n+-1\n+\n\nx7\n+7 8\n+99999999999\n+m\n";
        assert_eq!(groups(told), []);
        assert!(!is_mark("m") && !is_mark("7"));
    }

    /// Starts two processes, of which this program has told no number.
    fn untold(mark: &str) -> Child {
        Command::new("sh")
            .args(["-c", "sleep 1000 & wait"])
            .env(MARK, mark)
            .process_group(0)
            .spawn()
            .unwrap()
    }

    #[test]
    fn a_group_that_was_started_and_not_told_is_found_by_its_mark() {
        let (mark, other) = (new_mark(), new_mark());
        assert!(is_mark(&mark));
        let mut others = untold(&other);
        let late = thread::spawn({
            let mark = mark.clone();
            move || {
                thread::sleep(SEARCH_EVERY * 5);
                untold(&mark)
            }
        });
        end(BTreeSet::from([mark.clone()]));
        let mut found = late.join().unwrap();
        assert!(!found.wait().unwrap().success());
        assert_eq!(marked(&BTreeSet::from([mark])), []);
        assert!(others.try_wait().unwrap().is_none());
        kill(Pid::from_child(&others));
        others.wait().unwrap();
    }
}
