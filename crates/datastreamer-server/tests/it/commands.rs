//! A program's output: its exit decides, its reader's absence ends it with all its family, and
//! what it complains of is heard.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::{self, Connection, End};
use crate::support::program::{Daemon, is_running, pid_in};
use crate::support::wait;

const LIMIT: Duration = Duration::from_secs(20);

/// Serves the output of shell scripts: `(name, script)` becomes `/NAME.bin`.
fn serve(scripts: &[(&str, &str)]) -> Daemon {
    let mut configuration = String::from("[server]\ndrain = 0\n");
    for (name, script) in scripts {
        configuration += &format!(
            "[routes.{name}]\nkind = \"command\"\nargv = [\"sh\", \"-c\", '''{script}''']\n"
        );
    }
    Daemon::start(&configuration)
}

fn recent(port: u16) -> Value {
    let mut found = Value::Null;
    wait::until("the transfer is over", LIMIT, || {
        found = http::transfers(port)["recent"][0].clone();
        !found.is_null()
    });
    found
}

#[test]
fn only_a_clean_exit_ends_the_file() {
    let daemon = serve(&[
        ("good", "head -c 300000 /dev/zero"),
        ("nothing", ":"),
        ("exits", "head -c 300000 /dev/zero; exit 3"),
        ("dies", "head -c 300000 /dev/zero; kill -SEGV $$"),
        (
            "closes",
            "head -c 300000 /dev/zero; exec >&-; sleep 0.3; exit 4",
        ),
    ]);
    let get = |name: &str| http::get(daemon.port(), &format!("/{name}.bin"));
    let good = get("good");
    assert_eq!((good.body.len(), good.end), (300_000, End::Whole));
    assert_eq!(get("nothing").header("content-length"), Some("0"));
    for (name, words) in [
        ("exits", "exit code 3"),
        ("dies", "signal 11"),
        ("closes", "exit code 4"),
    ] {
        let response = get(name);
        assert_eq!(response.status, 200);
        assert_eq!(
            (response.body.len(), response.end),
            (300_000, End::Reset),
            "{name}"
        );
        wait::until("it is logged", LIMIT, || daemon.log().contains(words));
    }
}

#[test]
fn an_early_exit_is_a_problem_with_its_code() {
    let daemon = serve(&[("fails", "echo some; exit 3"), ("signal", "kill -KILL $$")]);
    let detail = http::get(daemon.port(), "/fails.bin").problem(500);
    assert!(detail.contains("exit code 3"), "{detail}");
    let detail = http::get(daemon.port(), "/signal.bin").problem(500);
    assert!(detail.contains("signal 9"), "{detail}");
}

#[test]
fn a_program_that_has_gone_since_the_start_is_a_problem() {
    let daemon = Daemon::start("[routes.late]\nkind = \"command\"\nargv = [\"sh\"]\n");
    // `sh` reads an empty standard input.
    assert_eq!(http::get(daemon.port(), "/late.bin").status, 200);

    let program = daemon.folder().join("comes-and-goes");
    fs::copy("/bin/true", &program).expect("files can be copied");
    let argv = program.display();
    let other = Daemon::start(&format!(
        "[routes.late]\nkind = \"command\"\nargv = [\"{argv}\"]\n"
    ));
    assert_eq!(http::get(other.port(), "/late.bin").status, 200);
    fs::remove_file(&program).expect("files can be removed");
    let detail = http::get(other.port(), "/late.bin").problem(500);
    assert_eq!(detail, "the program cannot be started");
}

/// Asks, waits until the script's processes have said their numbers, hangs up.
fn hang_up(daemon: &Daemon, name: &str, pid_files: &[&str]) -> (Vec<u32>, Instant) {
    let mut client = Connection::open(daemon.port());
    client.ask(&format!("/{name}.bin"));
    let file = |name: &str| -> PathBuf { daemon.folder().join(name) };
    let pids: Vec<u32> = pid_files.iter().map(|name| pid_in(&file(name))).collect();
    assert!(pids.iter().all(|pid| is_running(*pid)));
    drop(client);
    (pids, Instant::now())
}

#[track_caller]
fn assert_end(pids: &[u32], since: Instant, time_limit: Duration) {
    wait::until("all processes end", LIMIT, || {
        pids.iter().all(|pid| !is_running(*pid))
    });
    assert!(since.elapsed() < time_limit, "{:?}", since.elapsed());
}

#[test]
fn a_silent_program_ends_with_all_its_family_when_the_client_leaves() {
    let daemon = serve(&[(
        "silent",
        "sleep 1000 & echo $! > grandchild; sh -c 'sleep 1000 & echo $! > great; wait' & \
         echo $! > child; echo $$ > leader; wait",
    )]);
    let files = ["leader", "child", "grandchild", "great"];
    let (pids, left) = hang_up(&daemon, "silent", &files);
    assert_end(&pids, left, Duration::from_secs(2));
    assert_eq!(recent(daemon.port())["outcome"], "client_gone");
}

#[test]
fn a_program_that_ignores_the_signal_is_killed() {
    let daemon = serve(&[(
        "deaf",
        "trap '' TERM; sh -c 'while :; do sleep 1; done' & echo $! > child; echo $$ > leader; \
         while :; do sleep 1; done",
    )]);
    let (pids, left) = hang_up(&daemon, "deaf", &["leader", "child"]);
    assert_end(&pids, left, Duration::from_secs(6));
    assert_eq!(recent(daemon.port())["outcome"], "client_gone");
}

#[test]
fn a_child_that_outlives_its_leader_is_killed_with_it() {
    let daemon = serve(&[(
        "leader-leaves",
        "sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 1; done' & \
         echo $$ > leader; trap 'exit 0' TERM; while :; do sleep 0.1; done",
    )]);
    let (pids, left) = hang_up(&daemon, "leader-leaves", &["leader", "child"]);
    assert_end(&pids, left, Duration::from_secs(6));
}

#[test]
fn a_program_that_cleans_up_is_given_the_time() {
    let daemon = serve(&[(
        "cleans",
        "trap 'sleep 0.5; echo done > cleaned; exit 0' TERM; echo $$ > leader; \
         while :; do sleep 0.1; done",
    )]);
    let (pids, left) = hang_up(&daemon, "cleans", &["leader"]);
    assert_end(&pids, left, Duration::from_secs(4));
    assert!(daemon.folder().join("cleaned").exists());
}

#[test]
fn a_program_in_the_middle_of_writing_ends_when_the_client_leaves() {
    let daemon = serve(&[("writes", "echo $$ > leader; exec cat /dev/zero")]);
    let (pids, left) = hang_up(&daemon, "writes", &["leader"]);
    assert_end(&pids, left, Duration::from_secs(2));
}

#[test]
fn complaints_are_logged_with_the_stream_and_bounded() {
    let daemon = serve(&[
        (
            "complains",
            "echo 'no such table' >&2; printf 'tail without end' >&2; echo data",
        ),
        ("chatters", "seq 1 100000 >&2; echo data"),
        (
            "rants",
            "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo data",
        ),
        (
            "escapes",
            "printf '\\033[31mred\\nWARN fake\\377\\n' >&2; echo data",
        ),
    ]);
    for name in ["complains", "chatters", "rants", "escapes"] {
        let response = http::get(daemon.port(), &format!("/{name}.bin"));
        assert_eq!(
            (response.text(), response.end),
            ("data\n", End::Whole),
            "{name}"
        );
    }
    wait::until("all is logged", LIMIT, || {
        let log = daemon.log();
        log.contains("tail without end") && log.contains("red") && log.contains("fake")
    });
    let log = daemon.log();
    assert!(log.contains("no such table"));
    assert!(log.contains("it is not logged"));
    assert!(!log.contains('\x1b'), "no escape sequence reaches the log");
    // 100 lines each of at most 1000 bytes, and what stands before them.
    assert!(log.len() < 2 * 100 * 1300 + 20_000, "{}", log.len());
    let id = log.lines().find(|line| line.contains("no such table"));
    assert!(id.is_some_and(|line| line.contains("id=")), "{log}");
}

#[test]
fn a_program_that_complains_a_lot_is_not_held_up() {
    // More than a pipe holds, before the first byte and in the middle.
    let daemon = serve(&[(
        "loud",
        "head -c 5000000 /dev/zero >&2; head -c 300000 /dev/zero; head -c 5000000 /dev/zero >&2",
    )]);
    let response = http::get(daemon.port(), "/loud.bin");
    assert_eq!((response.body.len(), response.end), (300_000, End::Whole));
}

#[test]
fn arguments_are_arguments() {
    let daemon = Daemon::start(
        "[routes.echo]\nkind = \"command\"\nargv = [\"echo\", \"$HOME; `id`\", \"a  b\", \"*\"]\n",
    );
    assert_eq!(
        http::get(daemon.port(), "/echo.bin").text(),
        "$HOME; `id` a  b *\n"
    );
}

/// Counts the threads and descriptors of the server.
fn threads_and_descriptors(daemon: &Daemon) -> (usize, usize) {
    let count = |what: &str| {
        let entries = fs::read_dir(format!("/proc/{}/{what}", daemon.pid()));
        entries.expect("a process of one's own").count()
    };
    (count("task"), count("fd"))
}

#[test]
fn a_process_that_has_left_the_group_does_not_hold_the_place_of_a_client_that_has_left() {
    let daemon = serve(&[(
        "escapes",
        "setsid sh -c 'echo $$ > escaped; exec sleep 1000' & echo $$ > leader; wait",
    )]);
    let (pids, left) = hang_up(&daemon, "escapes", &["leader", "escaped"]);
    wait::until("the place is free", LIMIT, || {
        http::transfers(daemon.port())["active"] == 0
    });
    assert!(left.elapsed() < Duration::from_secs(4), "{left:?}");
    assert!(is_running(pids[1]), "it has escaped");
    assert!(crate::support::program::signal(pids[1], "KILL"));
}

#[test]
fn a_file_whose_output_a_daemon_keeps_open_is_not_passed_for_whole() {
    let daemon = serve(&[(
        "daemonises",
        "head -c 300000 /dev/zero; setsid sh -c 'echo $$ > escaped; exec sleep 1000' &",
    )]);
    let asked = Instant::now();
    let response = http::get(daemon.port(), "/daemonises.bin");
    assert_eq!((response.body.len(), response.end), (300_000, End::Reset));
    assert!(asked.elapsed() < Duration::from_secs(8));
    let error = recent(daemon.port())["error"].to_string();
    assert!(error.contains("standard output open"), "{error}");
    let pid = pid_in(&daemon.folder().join("escaped"));
    assert!(crate::support::program::signal(pid, "KILL"));
}

#[test]
fn what_a_program_leaves_behind_may_write_the_rest() {
    let daemon = serve(&[("rest", "(sleep 1; head -c 300000 /dev/zero) &")]);
    let response = http::get(daemon.port(), "/rest.bin");
    assert_eq!((response.body.len(), response.end), (300_000, End::Whole));
}

#[test]
fn a_program_that_fails_takes_its_family_with_it() {
    let family = "sleep 1000 & echo $! > silent; sh -c 'while :; do head -c 65536 /dev/zero; \
                  done' & echo $! > writes; head -c 300000 /dev/zero; ";
    for (name, end) in [("exits", "exit 3"), ("dies", "kill -SEGV $$")] {
        let daemon = serve(&[(name, &format!("{family}{end}"))]);
        let response = http::get(daemon.port(), &format!("/{name}.bin"));
        assert_eq!((response.status, response.end), (200, End::Reset));
        for file in ["silent", "writes"] {
            let pid = pid_in(&daemon.folder().join(file));
            wait::until("the family ends", LIMIT, || !is_running(pid));
        }
        let error = recent(daemon.port())["error"].to_string();
        assert!(error.contains("exit code 3") || error.contains("signal 11"));
    }
}

#[test]
fn daemons_that_keep_standard_error_open_cost_no_thread_and_no_descriptor() {
    let script = "echo data; setsid sleep 1000 > /dev/null & echo $! >> escaped";
    let daemon = serve(&[("daemonises", script)]);
    let get = || http::get(daemon.port(), "/daemonises.bin").end;
    assert_eq!(get(), End::Whole);
    let (threads, descriptors) = threads_and_descriptors(&daemon);
    for _ in 0..10 {
        assert_eq!(get(), End::Whole);
    }
    wait::until("they are let go", LIMIT, || {
        let now = threads_and_descriptors(&daemon);
        now.0 <= threads + 1 && now.1 <= descriptors + 1
    });
    let escaped = fs::read_to_string(daemon.folder().join("escaped")).expect("numbers");
    for pid in escaped.lines() {
        assert!(crate::support::program::signal(
            pid.parse().expect("a number"),
            "KILL"
        ));
    }
}

#[test]
fn a_grandchild_that_keeps_standard_error_open_holds_nothing_up() {
    let daemon = serve(&[(
        "daemonises",
        "echo data; sleep 1000 > /dev/null & echo $! > grandchild",
    )]);
    let response = http::get(daemon.port(), "/daemonises.bin");
    assert_eq!((response.text(), response.end), ("data\n", End::Whole));
    // It ended well: what it leaves running is its own affair.
    let pid = pid_in(&daemon.folder().join("grandchild"));
    assert!(is_running(pid));
    assert!(crate::support::program::signal(pid, "KILL"));
}
