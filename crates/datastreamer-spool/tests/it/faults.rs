//! What the system may do: fail any call, end the process at any call, have no room.
//!
//! A small program (`tests/programs/one_run.rs`) runs under `strace`, which injects an error, or SIGKILL,
//! into the Nth call of a kind. It checks every byte that it reads. Then the folder is opened again:
//! what is in it must be true, and the next production must work.
//!
//! By default some of the calls fail: each one of those on which durability rests, every 3rd or 7th
//! of the others. `DATASTREAMER_SPOOL_FAULTS=all`: each one, in some minutes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use datastreamer_spool::{Key, Spool, SpoolOptions};

use crate::common::*;

/// What the program writes: more than a read, several blocks and a part of one.
const BYTES: u64 = 300_000;
/// Calls of one kind and thread: more than there are. The sweep of a kind ends at the first number
/// that is not reached.
const CALLS_MAX: usize = 400;

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_one_run"))
}

fn run(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error} (scripts/install-test-tools)"))
}

/// Runs the program with one call that fails; returns whether there was such a call.
fn with_fault(folder: &Path, call: &str, fault: &str, number: usize) -> bool {
    let log = folder.with_extension(format!("{call}-{fault}-{number}"));
    let output = run(Command::new("timeout")
        .args(["60", "strace", "-f", "-qq", "-o"])
        .arg(&log)
        .args(["-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:{fault}:when={number}")])
        .arg(program())
        .arg(folder)
        .arg(BYTES.to_string()));
    let trace = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let what = format!("{call} {number} {fault}: {output:?}");
    // 127 and 1: the loader could not load the program. None, 137: killed, as asked for.
    let is_fine = match output.status.code() {
        Some(0 | 127) => true,
        Some(1) => text.is_empty() && call == "openat",
        None | Some(137) => fault.contains("KILL"),
        Some(_) => false,
    };
    assert!(is_fine, "{what}");
    assert!(
        !text.contains("FALSE") && !text.contains("NO END"),
        "{what}"
    );
    trace.contains("INJECTED") || trace.contains("killed by SIGKILL")
}

/// Everything in the folder is true, nothing is left over, and the next production works.
fn check_folder(folder: &Path, what: &str) {
    let spool = Spool::open(folder, SpoolOptions::new()).unwrap();
    for (key, length) in [("kept", BYTES), ("passing", BYTES / 2), ("other", BYTES)] {
        let Some(found) = spool.find(&Key::new(key)) else {
            continue;
        };
        assert_ne!(key, "passing", "{what}");
        let (valid, end) = read(all(&found));
        end.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(valid == bytes(0..length), "{what}");
    }
    let begin = || beginning(BYTES);
    let (next, _) = spool.join_or_begin(Key::new("next"), begin).unwrap();
    let (valid, end) = read(all(&next));
    assert!(end.is_ok() && valid == bytes(0..BYTES), "{what}");
    complete(&next);
    assert_no_leftovers(folder);
}

/// Lets every `step`th call of a kind fail, in each of the ways.
fn sweep(call: &str, step: usize) {
    let each = std::env::var("DATASTREAMER_SPOOL_FAULTS").is_ok_and(|it| it == "all");
    let step = if each { 1 } else { step };
    let mut reached = 0;
    for (nth, fault) in FAULTS.iter().enumerate() {
        // Another phase for each fault, so that the short sweep has more of the numbers.
        for number in (1 + nth * 2 % step..CALLS_MAX).step_by(step) {
            let folder = folder();
            let path = folder.path().join("spool");
            let happened = with_fault(&path, call, fault, number);
            check_folder(&path, &format!("{call} {fault} {number}"));
            if !happened {
                break;
            }
            reached += 1;
        }
    }
    assert!(reached > 0, "no {call} was reached");
    println!("{call}: {reached} faults");
}

const FAULTS: [&str; 4] = ["error=ENOSPC", "error=EIO", "error=EINTR", "signal=KILL"];

#[test]
fn no_fault_of_writing_makes_a_false_byte() {
    sweep("pwrite64", 3);
    sweep("write", 7);
}

#[test]
fn no_fault_of_synchronizing_makes_a_false_byte() {
    sweep("fsync", 1);
}

#[test]
fn no_fault_of_a_name_makes_a_false_byte() {
    sweep("rename", 1);
    sweep("unlink", 3);
}

#[test]
fn no_fault_of_opening_makes_a_false_byte() {
    sweep("openat", 7);
}

#[test]
fn no_fault_of_reading_makes_a_false_byte() {
    sweep("pread64", 3);
}

/// What is synchronized and renamed in a run, in this order: `fsync .part`, `rename .data`.
fn durable_calls(folder: &Path) -> Vec<String> {
    let log = folder.with_extension("trace");
    let output = run(Command::new("strace")
        .args(["-f", "-y", "-qq", "-o"])
        .arg(&log)
        .args(["-e", "trace=fsync,rename"])
        .arg(program())
        .arg(folder)
        .arg(BYTES.to_string()));
    assert!(output.status.success(), "{output:?}");
    let trace = fs::read_to_string(&log).unwrap();
    fs::remove_file(log).unwrap();
    let calls = trace.lines().filter(|line| line.contains('('));
    let calls = calls.map(|line| {
        let name = line.split('(').next().unwrap();
        let name = name.rsplit(' ').next().unwrap();
        // The last path of the call: the new name, or the file that is synchronized.
        let path = line.rsplit(['"', '<']).find(|part| part.contains('/'));
        let path = path.unwrap().split('>').next().unwrap();
        let file = Path::new(path).file_name().unwrap().to_str().unwrap();
        format!(
            "{name} {}",
            file.split_once('.').map_or("folder", |it| it.1)
        )
    });
    calls.collect()
}

#[test]
fn a_production_is_on_the_storage_before_its_manifest_vouches_for_it() {
    let folder = folder();
    let of_one = [
        "fsync part",
        "rename data",
        "fsync json.new",
        "rename json",
        "fsync folder",
    ];
    // The program has two productions that are kept.
    let expected: Vec<_> = of_one
        .iter()
        .chain(&of_one)
        .map(|it| it.to_string())
        .collect();
    assert_eq!(durable_calls(&folder.path().join("spool")), expected);
}

#[test]
fn a_full_disk_fails_the_production_and_the_next_one_works() {
    let folder = folder();
    let path = folder.path().join("spool");
    fs::create_dir(&path).unwrap();
    // 1 MiB, in a mount of its own: the second of these productions fits, once the room of the first
    // one is free.
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" && exec \"$0\" \"$1\" \"$2\"";
    for (bytes, first, last) in [
        (BYTES, "kept: Complete", "other: Complete"),
        // For the other one, the first one must go.
        (700_000, "kept: Complete", "other: Complete"),
        (2_000_000, "No space left on device", "passing: Complete"),
        (3_000_000, "No space left on device", "passing: Failed"),
    ] {
        let output = run(Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(program())
            .arg(&path)
            .arg(bytes.to_string()));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(text.contains(first) && text.contains(last), "{text}");
    }
}

#[test]
fn a_second_process_is_told_that_the_folder_is_in_use() {
    use std::io::{BufRead, BufReader};
    let folder = folder();
    let mut first = Command::new(program())
        .arg(folder.path())
        .arg("hold")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(first.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "open\n");
    let error = Spool::open(folder.path(), SpoolOptions::new()).unwrap_err();
    assert_eq!(error.kind(), datastreamer_spool::ErrorKind::Locked);
    assert!(error.to_string().contains("spool.lock"), "{error}");
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    Spool::open(folder.path(), SpoolOptions::new()).unwrap();
}
