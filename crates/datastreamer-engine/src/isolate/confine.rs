//! What a process of a query gives up before it sees the data: memory, priority, and all files but
//! those of its tables. Called by `child.rs`, on the only thread.

use std::{fs, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use crate::threads::STACK_BYTES as STACK_BYTES_OF_THREADS;

/// 5 steps behind the server, which then has some three times the share of a core.
const NICER: i32 = 5;
/// The system ends this process before the server when memory is short: 1000 is the most.
const OOM_SCORE: &str = "1000";
/// 64 MiB for the stack of the first thread, which parses: a text of 64 KiB may nest some thousand
/// levels. Only the part that is used takes memory.
const STACK_BYTES: u64 = 64 << 20;
/// The rules of Linux 6.12. Of an older kernel those that it knows hold.
const RULES: ABI = ABI::V6;

/// Bounds the memory, the priority and the core dumps of this process. The stacks of `threads` threads
/// are beside the memory: each is much larger than what is used of it.
pub(super) fn bound(memory_bytes: u64, threads: usize) {
    let stacks = (threads * STACK_BYTES_OF_THREADS) as u64;
    // Each of them may be refused, where something outside bounds more than this does.
    let _ = nice(NICER);
    let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let most = |resource: Resource, bytes: u64| {
        let maximum = getrlimit(resource).maximum;
        let bytes = maximum.map_or(bytes, |maximum| maximum.min(bytes));
        let limit = Rlimit {
            current: Some(bytes),
            maximum: Some(bytes),
        };
        let _ = setrlimit(resource, limit);
    };
    most(Resource::Core, 0);
    most(Resource::Stack, STACK_BYTES);
    if let Some(bytes) = address_space() {
        let all = bytes.saturating_add(memory_bytes).saturating_add(stacks);
        most(Resource::As, all);
    }
}

/// Returns the bytes of addresses that the process has now.
fn address_space() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mut lines = status.lines();
    let size = lines.find_map(|line| line.strip_prefix("VmSize:"))?;
    let kib: u64 = size.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Lets this thread, and those that it starts, read these files, write files in the folder, and open
/// nothing else; neither connect nor be connected to. Returns whether the kernel sees to it. A file
/// that is gone is left out: opening it fails anyway.
pub(super) fn confine<'a>(files: impl Iterator<Item = &'a Path>, folder: Option<&Path>) -> bool {
    let rules = || {
        let readable = AccessFs::ReadFile;
        let mut rules = Ruleset::default()
            .handle_access(AccessFs::from_all(RULES))?
            .handle_access(AccessNet::from_all(RULES))?
            .scope(Scope::from_all(RULES))?
            .create()?;
        for file in files.filter_map(|file| PathFd::new(file).ok()) {
            rules = rules.add_rule(PathBeneath::new(file, readable))?;
        }
        if let Some(Ok(folder)) = folder.map(PathFd::new) {
            let writable = readable | AccessFs::WriteFile | AccessFs::MakeReg;
            rules = rules.add_rule(PathBeneath::new(folder, writable))?;
        }
        rules.restrict_self()
    };
    let restricted: Result<_, landlock::RulesetError> = rules();
    restricted.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    #[test]
    fn a_confined_thread_opens_its_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, other) = (folder.path().join("mine"), folder.path().join("other"));
        let spill = folder.path().join("spill");
        fs::create_dir(&spill).unwrap();
        for file in [&mine, &other] {
            fs::write(file, "a").unwrap();
        }
        let confined = thread::spawn(move || {
            if !confine([mine.as_path()].into_iter(), Some(&spill)) {
                eprintln!("this kernel has no Landlock: nothing was tested");
                return;
            }
            assert_eq!(fs::read(&mine).unwrap(), b"a");
            fs::write(spill.join("rows"), "b").unwrap();
            assert_eq!(fs::read(spill.join("rows")).unwrap(), b"b");
            let forbidden = [
                fs::read(&other).map(drop),
                fs::read("/etc/hostname").map(drop),
                fs::read_dir(folder.path()).map(drop),
                fs::write(&mine, "c"),
                fs::write(folder.path().join("new"), "c"),
                fs::remove_file(&other),
                TcpListener::bind("127.0.0.1:0").map(drop),
            ];
            for (number, tried) in forbidden.into_iter().enumerate() {
                let kind = tried.map_err(|error| error.kind());
                let denied = Err(std::io::ErrorKind::PermissionDenied);
                assert_eq!(kind, denied, "{number}");
            }
        });
        confined.join().unwrap();
    }
}
