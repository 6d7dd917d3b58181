//! What a server leaves behind that was killed: no program, and no guardian of programs.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::http::{self, Connection, End};
use crate::support::program::{self, Daemon, is_running, pid_in};
use crate::support::scratch::Scratch;
use crate::support::{tools, wait};

const LIMIT: Duration = Duration::from_secs(20);
/// How soon nothing is left.
const SOON: Duration = Duration::from_secs(2);

/// A program with a child and a grandchild, all of which ignore SIGTERM.
const FAMILY: &str = "trap '' TERM; sleep 1000 & echo $! > child; sh -c 'sleep 1000 & echo $! > \
                      grandchild; wait' & echo $$ > leader; echo data; wait";
/// A program that ends well and leaves a child.
const LEAVES: &str = "sleep 1000 > /dev/null 2>&1 & echo $! > left; echo data";

fn serve() -> Daemon {
    let route = |name: &str, script: &str| {
        format!("[routes.{name}]\nkind = \"command\"\nargv = [\"sh\", \"-c\", '''{script}''']\n")
    };
    let routes = route("family", FAMILY) + &route("leaves", LEAVES);
    Daemon::start(&format!(
        "[server]\ndrain = \"100ms\"\n[stream]\ncommit_bytes = 1\n{routes}"
    ))
}

/// Asks for the family, and returns its client and its processes.
fn start_family(server: &Daemon) -> (Connection, Vec<u32>) {
    let mut client = Connection::open(server.port());
    client.ask("/family.bin");
    client.read_head();
    let files = ["leader", "child", "grandchild"].iter();
    let family: Vec<u32> = files
        .map(|file| pid_in(&server.folder().join(file)))
        .collect();
    assert!(family.iter().all(|pid| is_running(*pid)));
    (client, family)
}

/// Kills the server as `kill -9` does, and waits for the end of these processes.
#[track_caller]
fn assert_killed_with(mut server: Daemon, pids: &[u32]) {
    server.signal("KILL");
    server.wait(LIMIT);
    wait::until("nothing is left", SOON, || {
        pids.iter().all(|pid| !is_running(*pid))
    });
}

#[test]
fn a_killed_server_leaves_no_program_and_no_guardian() {
    let server = serve();
    let (_client, mut pids) = start_family(&server);
    pids.push(server.guardian());
    assert_killed_with(server, &pids);
}

#[test]
fn what_a_program_left_that_ended_well_outlives_a_killed_server() {
    let server = serve();
    let (_client, family) = start_family(&server);
    let response = http::get(server.port(), "/leaves.bin");
    assert_eq!((response.text(), response.end), ("data\n", End::Whole));
    let left = pid_in(&server.folder().join("left"));
    assert_killed_with(server, &family);
    assert!(is_running(left));
    assert!(program::signal(left, "KILL"));
}

#[test]
fn a_killed_guardian_is_replaced_by_one_that_knows_what_runs() {
    let server = serve();
    let (_client, mut pids) = start_family(&server);
    let first = server.guardian();
    assert!(program::signal(first, "KILL"));
    wait::until("there is another", LIMIT, || server.guardian() != first);
    assert!(pids.iter().all(|pid| is_running(*pid)), "nothing was ended");
    // And what it says of programs that start and end now counts.
    assert_eq!(http::get(server.port(), "/leaves.bin").end, End::Whole);
    let left = pid_in(&server.folder().join("left"));
    pids.push(server.guardian());
    assert_killed_with(server, &pids);
    assert!(is_running(left));
    assert!(program::signal(left, "KILL"));
}

#[test]
fn a_server_that_stops_leaves_no_guardian() {
    let mut server = serve();
    let (_client, mut pids) = start_family(&server);
    pids.push(server.guardian());
    server.signal("TERM");
    assert_eq!(server.wait(LIMIT).code(), Some(0));
    wait::until("nothing is left", SOON, || {
        pids.iter().all(|pid| !is_running(*pid))
    });
}

/// Returns a line of `/proc/PID/status`, without its name.
fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.expect(name).trim().to_owned()
}

#[test]
fn a_guardian_is_small_and_holds_nothing() {
    let server = serve();
    assert_eq!(http::get(server.port(), "/leaves.bin").end, End::Whole);
    let left = pid_in(&server.folder().join("left"));
    assert!(program::signal(left, "KILL"));
    let guardian = server.guardian();
    // It reads once it has started: nothing more is to come.
    wait::until("it waits", LIMIT, || {
        status(guardian, "State:").starts_with('S')
    });
    assert_eq!(status(guardian, "Threads:"), "1");
    let memory = status(guardian, "RssAnon:");
    let kilobytes: u64 = memory.trim_end_matches(" kB").parse().expect("a number");
    // Of a debug build, most of it addresses that the loader fills in.
    assert!(kilobytes < 16 * 1024, "{memory}");
    let link = |name: &str| fs::read_link(format!("/proc/{guardian}/{name}")).expect("a link");
    assert_eq!(link("cwd"), Path::new("/"));
    assert_eq!(link("fd/1"), Path::new("/dev/null"));
    assert_eq!(link("fd/2"), Path::new("/dev/null"));
    // What the server itself was given on purpose is passed on, for example by a test runner.
    let sockets = fs::read_dir(format!("/proc/{guardian}/fd")).expect("it runs");
    let sockets = sockets
        .flatten()
        .filter_map(|it| fs::read_link(it.path()).ok());
    let sockets: Vec<_> = sockets.filter(|it| it.starts_with("socket:")).collect();
    assert!(sockets.is_empty(), "{sockets:?}");
}

#[test]
fn an_interrupt_at_the_terminal_gives_programs_their_grace() {
    let scratch = Scratch::new("terminal");
    let script = "trap \"echo > interrupted\" INT; trap \"sleep 0.5; echo > cleaned; exit 0\" TERM; \
                  echo $$ > leader; echo data; while :; do sleep 0.1; done";
    let configuration = format!(
        "[server]\ndrain = \"100ms\"\n[stream]\ncommit_bytes = 1\n[routes.cleans]\n\
         kind = \"command\"\nargv = [\"sh\", \"-c\", '''{script}''']\n"
    );
    fs::write(scratch.join("datastreamer.toml"), configuration).expect("files can be written");
    let binary = program::command(&[]);
    let line = format!(
        "exec '{}' serve --listen 127.0.0.1:0 --config datastreamer.toml",
        binary.get_program().display()
    );
    // A terminal, and the server in its foreground.
    let mut terminal = tools::program("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(scratch.path())
        .stdin(Stdio::piped())
        .stdout(File::create(scratch.join("screen")).expect("files can be made"))
        .spawn()
        .expect("script starts");
    let screen = || fs::read_to_string(scratch.join("screen")).unwrap_or_default();
    let port = || {
        let screen = screen();
        let (_, rest) = screen.split_once("http://127.0.0.1:")?;
        rest.split_once('/')?.0.parse().ok()
    };
    wait::until("it listens", LIMIT, || port().is_some());
    let port = port().expect("it was there");
    let mut client = Connection::open(port);
    client.ask("/cleans.bin");
    client.read_head();
    let leader = pid_in(&scratch.join("leader"));
    let mut keyboard = terminal.stdin.take().expect("a pipe");
    keyboard.write_all(b"\x03").expect("a key");
    let ended = wait::for_exit(&mut terminal, LIMIT).expect("the server ends");
    assert_eq!(ended.code(), Some(0), "{}", screen());
    assert!(!is_running(leader));
    assert!(scratch.join("cleaned").exists(), "it had its grace");
    assert!(
        !scratch.join("interrupted").exists(),
        "the terminal is not its own"
    );
}
