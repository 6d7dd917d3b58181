//! A directory as a tar: what changes on the way aborts, what is no file is left out or stays
//! what it is.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::http::{self, Connection, End};
use crate::support::program::Daemon;
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::{noise, tools, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// Lists an archive as GNU tar sees it: a line for each member.
fn list(archive: &[u8]) -> String {
    let mut tar = tools::program("tar")
        .args(["-tv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar starts");
    let mut input = tar.stdin.take().expect("a pipe");
    input.write_all(archive).expect("tar reads");
    drop(input);
    let output = tar.wait_with_output().expect("tar ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn links_stay_links_and_what_is_no_file_is_left_out() {
    let scratch = Scratch::new("kinds");
    let tree = scratch.join("tree");
    fs::create_dir_all(tree.join("inner")).expect("directories can be made");
    fs::write(tree.join("inner/file"), "inside").expect("files can be written");
    fs::write(scratch.join("secret"), "outside").expect("files can be written");
    symlink("../secret", tree.join("to-file")).expect("links can be made");
    symlink("..", tree.join("to-directory")).expect("links can be made");
    symlink("nowhere", tree.join("to-nowhere")).expect("links can be made");
    let mut mkfifo = tools::program("mkfifo");
    assert!(
        mkfifo
            .arg(tree.join("fifo"))
            .status()
            .expect("it runs")
            .success()
    );

    let server = Server::start([&tree]);
    let response = http::get(server.port(), "/tree.tar");
    assert_eq!(response.end, End::Whole);
    let members = list(&response.body);
    for member in [
        "tree/inner/file",
        "tree/to-file -> ../secret",
        "tree/to-directory -> ..",
        "tree/to-nowhere -> nowhere",
    ] {
        assert!(members.contains(member), "no {member} in {members}");
    }
    assert!(!members.contains("fifo"), "{members}");
    assert!(!String::from_utf8_lossy(&response.body).contains("outside"));
    wait::until("the FIFO is logged", LIMIT, || {
        server.log().contains("fifo")
    });
}

/// Waits until the log says which member has failed.
fn assert_large_is_named(log: impl Fn() -> String) {
    wait::until("the member is named", LIMIT, || {
        let log = log();
        log.contains("source_error") && log.contains("b-large")
    });
}

/// Serves a tree with one large file, sparse so that it costs nothing, and returns a client that
/// has read some of it.
fn in_the_middle_of(large: &Path) -> (Server, Connection, http::Response) {
    const FILE_BYTES: u64 = 1 << 30;
    let file = File::create(large).expect("files can be made");
    file.set_len(FILE_BYTES).expect("sparse files can be made");
    let server = Server::start([large.parent().expect("a directory")]);
    let mut client = Connection::open_narrow(server.port());
    client.ask("/tree.tar");
    let response = client.read_head();
    assert_eq!(response.status, 200);
    wait_for_large_file(&server);
    (server, client, response)
}

/// Waits until more has been written than the small file: the large one has been opened.
fn wait_for_large_file(server: &Server) {
    wait::until("the large file", LIMIT, || {
        let transfers = http::transfers(server.port());
        transfers["running"][0]["bytes_written"].as_u64() > Some(200_000)
    });
}

fn tree() -> (Scratch, std::path::PathBuf) {
    let scratch = Scratch::new("changes");
    fs::create_dir(scratch.join("tree")).expect("directories can be made");
    let small = noise::bytes(0, 100_000);
    fs::write(scratch.join("tree/a-small"), small).expect("files can be written");
    let large = scratch.join("tree/b-large");
    (scratch, large)
}

#[test]
fn a_file_that_shrinks_on_the_way_aborts() {
    let (_scratch, large) = tree();
    let (server, mut client, mut response) = in_the_middle_of(&large);
    let file = File::options().write(true).open(&large);
    file.and_then(|file| file.set_len(1_000_000))
        .expect("a file can be truncated");
    assert_eq!(client.read_body(&mut response), Err(End::Reset));
    assert_large_is_named(|| server.log());
}

#[test]
fn a_file_that_grows_on_the_way_aborts() {
    let (_scratch, large) = tree();
    // Small enough to be read to its end.
    File::create(&large).expect("files can be made");
    let (server, mut client, mut response) = in_the_middle_of(&large);
    let file = File::options()
        .write(true)
        .open(&large)
        .expect("it is there");
    file.set_len(1 << 21).expect("it can shrink");
    drop(file);
    assert_eq!(client.read_body(&mut response), Err(End::Reset));
    drop(server);

    fs::write(&large, noise::bytes(0, 40_000_000)).expect("files can be written");
    let server = Server::start([large.parent().expect("a directory")]);
    let mut client = Connection::open_narrow(server.port());
    client.ask("/tree.tar");
    let mut response = client.read_head();
    wait_for_large_file(&server);
    let mut file = File::options()
        .append(true)
        .open(&large)
        .expect("it is there");
    file.write_all(b"one line more\n").expect("it can grow");
    assert_eq!(client.read_body(&mut response), Err(End::Reset));
    assert_large_is_named(|| server.log());
}

#[test]
fn a_directory_that_has_gone_since_the_start_is_a_problem() {
    let scratch = Scratch::new("gone");
    let tree = scratch.join("tree");
    fs::create_dir(&tree).expect("directories can be made");
    let server = Server::start([&tree]);
    assert_eq!(http::get(server.port(), "/tree.tar").end, End::Whole);
    fs::remove_dir(&tree).expect("directories can be removed");
    http::get(server.port(), "/tree.tar").problem(500);
}

#[test]
fn the_record_counts_the_members() {
    let scratch = Scratch::new("members");
    let tree = scratch.join("tree");
    fs::create_dir_all(tree.join("inner")).expect("directories can be made");
    fs::write(tree.join("one"), "1").expect("files can be written");
    fs::write(tree.join("inner/two"), "2").expect("files can be written");
    let server = Server::start([&tree]);
    let members = list(&http::get(server.port(), "/tree.tar").body)
        .lines()
        .count();
    wait::until("the transfer is over", LIMIT, || {
        http::transfers(server.port())["recent"][0]["members"] == members
    });
}

#[test]
fn the_members_are_counted_on_the_way_and_after_a_failure() {
    let (_scratch, large) = tree();
    let (server, client, _response) = in_the_middle_of(&large);
    let mut seen = serde_json::Value::Null;
    // The tree and the small file are in the archive, the large one is on its way.
    wait::until("they are counted", LIMIT, || {
        seen = http::transfers(server.port())["running"][0].clone();
        seen["members"] == 2
    });
    drop(client);
    wait::until("the transfer is over", LIMIT, || {
        seen = http::transfers(server.port())["recent"][0].clone();
        !seen.is_null()
    });
    assert_eq!(
        (&seen["outcome"], &seen["members"]),
        (&"client_gone".into(), &2.into())
    );
}

/// Serves a tree with these settings.
fn serve_with(tree: &Path, settings: &str) -> Daemon {
    Daemon::start(&format!(
        "[routes.tree]\nkind = \"directory\"\npath = {tree:?}\n{settings}\n"
    ))
}

#[test]
fn hidden_entries_are_left_out_unless_they_are_asked_for() {
    let scratch = Scratch::new("hidden");
    // The name of the tree itself is the operator's choice.
    let tree = scratch.join(".tree");
    fs::create_dir_all(tree.join(".ssh")).expect("directories can be made");
    for name in [".env", ".ssh/id", "seen", "seen.", "no.dot"] {
        fs::write(tree.join(name), "content").expect("files can be written");
    }
    let seen = ["no.dot", "seen", "seen."];
    let members = |port: u16, file: &str| -> Vec<String> {
        let response = http::get(port, file);
        assert_eq!(response.end, End::Whole);
        let list = list(&response.body);
        let names = list.lines().filter_map(|line| line.rsplit(' ').next());
        let names = names.filter_map(|name| name.split_once('/'));
        let names = names.map(|(_, name)| name.to_owned());
        names.filter(|name| !name.is_empty()).collect()
    };
    let server = Server::start([&tree]);
    assert_eq!(members(server.port(), "/.tree.tar"), seen);
    for settings in ["", "hidden = false"] {
        let server = serve_with(&tree, settings);
        assert_eq!(members(server.port(), "/tree.tar"), seen, "{settings}");
    }
    let server = serve_with(&tree, "hidden = true");
    let all = [".env", ".ssh/", ".ssh/id", "no.dot", "seen", "seen."];
    assert_eq!(members(server.port(), "/tree.tar"), all);
}

#[test]
fn a_log_that_grows_on_the_way_is_frozen_where_that_is_asked_for() {
    const LOG_BYTES: usize = 40_000_000;
    let (scratch, log) = tree();
    let content = noise::bytes(0, LOG_BYTES);
    fs::write(&log, &content).expect("files can be written");
    fs::write(scratch.join("tree/c-behind"), "behind").expect("files can be written");
    let server = serve_with(&scratch.join("tree"), "on_change = \"freeze\"");
    let mut client = Connection::open_narrow(server.port());
    client.ask("/tree.tar");
    let mut response = client.read_head();
    wait::until("the large file", LIMIT, || {
        let transfers = http::transfers(server.port());
        transfers["running"][0]["bytes_written"].as_u64() > Some(200_000)
    });
    let file = File::options().append(true).open(&log);
    let mut file = file.expect("it is there");
    file.write_all(b"one line more\n").expect("it can grow");
    client.read_body(&mut response).expect("a complete archive");

    let members = list(&response.body);
    assert!(members.contains(&format!(" {LOG_BYTES} ")), "{members}");
    assert!(members.contains("tree/c-behind"), "{members}");
    let archive = scratch.join("archive.tar");
    fs::write(&archive, &response.body).expect("files can be written");
    let target = scratch.join("extracted");
    fs::create_dir(&target).expect("directories can be made");
    let mut tar = tools::program("tar");
    tar.arg("-xf").arg(&archive).arg("-C").arg(&target);
    assert!(tar.status().expect("tar runs").success());
    let extracted = fs::read(target.join("tree/b-large")).expect("it is there");
    assert!(extracted == content);
    let mut seen = serde_json::Value::Null;
    wait::until("the transfer is over", LIMIT, || {
        seen = http::transfers(server.port())["recent"][0].clone();
        !seen.is_null()
    });
    assert_eq!(seen["outcome"], "complete", "{seen}");
    assert_eq!(seen["frozen_members"], 1, "{seen}");
    let log = server.log();
    let said = "a file has grown: the rest is left out of the archive";
    let line = log.lines().find(|line| line.contains(said));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("tree/b-large"), "{line}");
    assert!(line.contains("left_out_bytes=14"), "{line}");
    assert!(log.contains("frozen=1"), "{log}");

    // Nothing has changed now, and nothing is said.
    assert_eq!(http::get(server.port(), "/tree.tar").end, End::Whole);
    wait::until("the second one is over", LIMIT, || {
        let transfers = http::transfers(server.port());
        transfers["recent"].as_array().map(Vec::len) == Some(2)
    });
    let seen = http::transfers(server.port())["recent"][0].clone();
    assert_eq!(seen["frozen_members"], serde_json::Value::Null);
}

#[test]
fn a_file_that_shrinks_aborts_although_files_may_grow() {
    let (scratch, large) = tree();
    let file = File::create(&large).expect("files can be made");
    file.set_len(1 << 30).expect("sparse files can be made");
    let server = serve_with(&scratch.join("tree"), "on_change = \"freeze\"");
    let mut client = Connection::open_narrow(server.port());
    client.ask("/tree.tar");
    let mut response = client.read_head();
    wait::until("the large file", LIMIT, || {
        let transfers = http::transfers(server.port());
        transfers["running"][0]["bytes_written"].as_u64() > Some(200_000)
    });
    file.set_len(1_000_000).expect("a file can be truncated");
    assert_eq!(client.read_body(&mut response), Err(End::Reset));
    assert_large_is_named(|| server.log());
}

#[test]
fn a_name_in_the_log_controls_neither_the_terminal_nor_the_direction_of_its_text() {
    let scratch = Scratch::new("names");
    let tree = scratch.join("tree");
    fs::create_dir(&tree).expect("directories can be made");
    let harmful = [
        '\u{1b}', '\n', '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2028}',
        '\u{2066}', '\u{2069}',
    ];
    let name: String = harmful.iter().collect();
    let fifo = tree.join(format!("fifo{name}"));
    let made = tools::program("mkfifo").arg(fifo).status();
    assert!(made.expect("it runs").success());
    let server = Server::start([&tree]);
    assert_eq!(http::get(server.port(), "/tree.tar").end, End::Whole);
    wait::until("the FIFO is logged", LIMIT, || {
        server.log().contains("left out of the archive")
    });
    let log = server.log();
    let line = log.lines().find(|line| line.contains("fifo"));
    let line = line.expect("it is there");
    for character in harmful {
        assert!(!line.contains(character), "{character:?} in {line:?}");
        let escape = character.escape_default().to_string();
        assert!(line.contains(&escape), "no {escape} in {line:?}");
    }
}

/// A directory with `stable = true` that was changed long enough ago, and its server.
struct Stable {
    scratch: Scratch,
    server: Server,
}

impl Stable {
    fn new(label: &str, more: &str) -> Self {
        let scratch = Scratch::new(label);
        fs::create_dir(scratch.join("tree")).expect("directories can be made");
        for (name, seed) in [("a", 0), ("b", 1), ("c", 2)] {
            fs::write(
                scratch.join("tree").join(name),
                noise::bytes(seed, 1_000_000),
            )
            .expect("files can be written");
        }
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n\
             [routes.tree]\nkind = \"directory\"\npath = \"tree\"\nstable = true\n{more}"
        );
        let path = scratch.join("datastreamer.toml");
        fs::write(&path, config).expect("a configuration can be written");
        let server = Server::start(["--config".into(), path.into_os_string()]);
        let stable = Self { scratch, server };
        stable.settle();
        stable
    }

    /// Waits until a change leaves a trace.
    fn settle(&self) {
        wait::until("a tag", LIMIT, || self.tag().is_some());
    }

    fn tag(&self) -> Option<String> {
        let head = http::head(self.server.port(), "/tree.tar");
        head.header("etag").map(str::to_owned)
    }
}

#[test]
fn a_stable_directory_has_a_length_and_a_tag_before_its_first_byte() {
    let stable = Stable::new("stable", "");
    let port = stable.server.port();
    let tag = stable.tag().expect("a tag");
    let complete = http::get(port, "/tree.tar");
    let length = complete.body.len().to_string();
    assert_eq!(complete.end, End::Whole);
    assert_eq!(complete.header("content-length"), Some(length.as_str()));
    assert_eq!(complete.header("etag"), Some(tag.as_str()));
    assert!(list(&complete.body).contains("tree/c"));
    let head = http::head(port, "/tree.tar");
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    let unchanged = http::get_with(port, "/tree.tar", &format!("If-None-Match: {tag}"));
    assert_eq!(unchanged.status, 304);

    // Of the same size.
    fs::write(stable.scratch.join("tree/b"), noise::bytes(9, 1_000_000)).expect("it is there");
    stable.settle();
    assert_ne!(stable.tag(), Some(tag.clone()));
    let changed = http::get_with(port, "/tree.tar", &format!("If-None-Match: {tag}"));
    assert_eq!((changed.status, changed.end), (200, End::Whole));
    assert_eq!(changed.body.len(), complete.body.len());
    assert_ne!(changed.body, complete.body);
}

#[test]
fn a_stable_directory_is_resumed_by_another_run_unless_it_has_changed() {
    let stable = Stable::new("stable-again", "resume = \"rerun\"\n");
    let port = stable.server.port();
    let complete = http::get(port, "/tree.tar").body;
    let mut client = Connection::open(port);
    client.ask("/tree.tar");
    let head = client.read_head();
    assert_eq!(head.header("accept-ranges"), Some("bytes"));
    let tag = head.header("etag").expect("a tag").to_owned();
    let part = client.read_part(1_500_000);
    drop(client);
    let if_range = format!("Range: bytes=1500000-\r\nIf-Range: {tag}");
    let rest = http::get_with(port, "/tree.tar", &if_range);
    assert_eq!((rest.status, rest.end), (206, End::Whole));
    assert!([part, rest.body].concat() == complete);

    fs::write(stable.scratch.join("tree/a"), noise::bytes(9, 1_000_000)).expect("it is there");
    stable.settle();
    let another = http::get_with(port, "/tree.tar", &if_range);
    assert_eq!(another.status, 200);
    assert_eq!(another.body.len(), complete.len());
    assert!(another.body != complete);
    http::get_with(port, "/tree.tar", "Range: bytes=1500000-").problem(412);
}

#[test]
fn a_stable_directory_that_changes_on_the_way_aborts() {
    let stable = Stable::new("stable-changed", "");
    let tree = stable.scratch.join("tree");
    fs::write(tree.join("0-small"), "small").expect("files can be written");
    fs::write(tree.join("a"), noise::bytes(0, 40_000_000)).expect("it is there");
    stable.settle();
    let mut client = Connection::open_narrow(stable.server.port());
    client.ask("/tree.tar");
    let mut response = client.read_head();
    assert!(response.header("etag").is_some() && response.header("content-length").is_some());
    wait_for_large_file(&stable.server);
    // This one is in the archive already, and stays as it was there; the other one is not.
    fs::write(tree.join("0-small"), "large").expect("it is there");
    fs::write(tree.join("c"), noise::bytes(9, 1_000_000)).expect("it is there");
    assert_eq!(client.read_body(&mut response), Err(End::Reset));
    wait::until("the reason is logged", LIMIT, || {
        stable.server.log().contains("source_error")
    });
}
