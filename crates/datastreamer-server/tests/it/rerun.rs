//! `resume = "rerun"`: nothing is kept, and a client that resumes gets the rest of another run.

use std::fs;

use crate::support::http::{self, Connection, End};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::{noise, program};

/// The exit code of a configuration that is refused.
const CONFIGURATION: i32 = 3;

/// A command that prints a file, and noise of which the length is known; both are run again.
struct Again {
    scratch: Scratch,
    server: Server,
}

impl Again {
    fn new(label: &str) -> Self {
        let scratch = Scratch::new(label);
        fs::write(scratch.join("data"), noise::bytes(0, 3_000_000)).expect("a file can be written");
        let script = format!(
            "echo run >> {}; cat {}",
            scratch.join("runs").display(),
            scratch.join("data").display()
        );
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n\
             [routes.noise]\nkind = \"noise\"\nresume = \"rerun\"\n\
             [routes.printed]\nkind = \"command\"\nresume = \"rerun\"\nargv = [\"sh\", \"-c\", '{script}']\n"
        );
        let path = scratch.join("datastreamer.toml");
        fs::write(&path, config).expect("a configuration can be written");
        let server = Server::start(["--config".into(), path.into_os_string()]);
        Self { scratch, server }
    }

    fn get(&self, path: &str, headers: &str) -> http::Response {
        match headers {
            "" => http::get(self.server.port(), path),
            headers => http::get_with(self.server.port(), path, headers),
        }
    }

    fn head(&self, path: &str) -> http::Response {
        http::head(self.server.port(), path)
    }

    fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.scratch.join("runs"));
        runs.unwrap_or_default().lines().count()
    }

    /// Receives the beginning of a response without chunks, and hangs up.
    fn give_up(&self, path: &str, bytes: usize) -> (Vec<u8>, String) {
        let mut client = Connection::open(self.server.port());
        // A range has a length, so its bytes are not in chunks.
        client.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-\r\n\r\n"
        ));
        let head = client.read_head();
        assert!(head.header("content-length").is_some(), "{head:?}");
        assert_eq!(head.header("accept-ranges"), Some("bytes"));
        let tag = head.header("etag").expect("a tag").to_owned();
        (client.read_part(bytes), tag)
    }
}

#[test]
fn a_broken_download_goes_on_with_another_run() {
    let again = Again::new("again");
    let path = "/noise.bin?n=3000000&length=known";
    let (part, tag) = again.give_up(path, 1_500_000);
    let all = noise::bytes(0, 3_000_000);
    for headers in [
        "Range: bytes=1500000-".to_owned(),
        format!("Range: bytes=1500000-\r\nIf-Range: {tag}"),
    ] {
        let rest = again.get(path, &headers);
        assert_eq!((rest.status, rest.end), (206, End::Whole), "{headers}");
        assert_eq!(
            rest.header("content-range"),
            Some("bytes 1500000-2999999/3000000")
        );
        assert!([part.clone(), rest.body].concat() == all, "{headers}");
    }
    assert_eq!(again.head(path).header("accept-ranges"), Some("bytes"));
    // As programs that read parts do.
    let middle = again.get(path, "Range: bytes=1000-1999");
    assert_eq!(middle.status, 206);
    assert!(middle.body == all[1000..2000]);
    // Whether it has changed is known once it has run.
    let asked = again.get(path, &format!("If-None-Match: {tag}"));
    assert_eq!(asked.status, 200);
    assert!(asked.body == all);
    // Of several ranges, and of the last bytes, the answer is the complete file.
    for ranges in ["bytes=0-1,10-11", "bytes=-5"] {
        let complete = again.get(path, &format!("Range: {ranges}"));
        assert_eq!(complete.status, 200, "{ranges}");
        assert!(complete.body == all, "{ranges}");
    }
}

#[test]
fn what_no_run_has_reached_is_not_gone_on_with() {
    let again = Again::new("unreached");
    let path = "/noise.bin?n=3000000&length=known";
    let mut client = Connection::open(again.server.port());
    client.ask(path);
    let tag = client.read_head().header("etag").expect("a tag").to_owned();
    let reached = client.read_part(1000).len();
    assert_eq!(reached, 1000);
    // What it has not received is not known to be that of its run.
    drop(client);
    again.get(path, "Range: bytes=2999999-").problem(412);
    let if_range = format!("Range: bytes=2999999-\r\nIf-Range: {tag}");
    let complete = again.get(path, &if_range);
    assert_eq!(complete.status, 200);
    assert!(complete.body == noise::bytes(0, 3_000_000));
}

#[test]
fn a_run_of_another_server_is_never_joined_to_one_of_before() {
    let mut again = Again::new("restarted");
    again.get("/printed.bin", "");
    let (_, tag) = again.give_up("/printed.bin", 2_000_000);
    again.server.kill_9();
    let mut other = noise::bytes(0, 3_000_000);
    other[1_234_567] ^= 1;
    fs::write(again.scratch.join("data"), &other).expect("a file can be written");
    let config = again.scratch.join("datastreamer.toml");
    again.server = Server::start(["--config".into(), config.into_os_string()]);
    // A complete run of it, whose digests are remembered.
    let complete = again.get("/printed.bin", "");
    assert_ne!(complete.header("etag"), Some(tag.as_str()));
    let if_range = format!("Range: bytes=2000000-\r\nIf-Range: {tag}");
    let answer = again.get("/printed.bin", &if_range);
    assert_eq!(answer.status, 200);
    assert!(answer.body == other);
    assert_eq!(
        again
            .get("/printed.bin", &format!("If-None-Match: {tag}"))
            .status,
        200
    );
}

#[test]
fn a_change_of_the_output_is_never_answered_with_not_modified() {
    let again = Again::new("modified");
    let tag = again
        .get("/printed.bin", "")
        .header("etag")
        .expect("a tag")
        .to_owned();
    let mut other = noise::bytes(0, 3_000_000);
    other[1_234_567] ^= 1;
    fs::write(again.scratch.join("data"), &other).expect("a file can be written");
    let asked = again.get("/printed.bin", &format!("If-None-Match: {tag}"));
    assert_eq!(asked.status, 200);
    assert!(asked.body == other);
}

#[test]
fn a_run_that_differs_is_never_joined_to_an_earlier_one() {
    let again = Again::new("differs");
    // The length is known once a run was complete.
    let first = again.get("/printed.bin", "");
    assert_eq!(first.header("content-length"), None);
    let (part, tag) = again.give_up("/printed.bin", 2_000_000);
    let if_range = format!("Range: bytes=2000000-\r\nIf-Range: {tag}");
    let rest = again.get("/printed.bin", &if_range);
    assert_eq!((rest.status, rest.end), (206, End::Whole));
    assert!([part, rest.body].concat() == first.body);
    let runs = again.runs();
    let mut other = noise::bytes(0, 3_000_000);
    other[1_234_567] ^= 1;
    fs::write(again.scratch.join("data"), &other).expect("a file can be written");
    again
        .get("/printed.bin", "Range: bytes=2000000-")
        .problem(412);
    assert_eq!(again.runs(), runs + 1);
    // From now on the tag is that of nothing.
    let complete = again.get("/printed.bin", &if_range);
    assert_eq!(complete.status, 200);
    assert!(complete.body == other);
    assert_ne!(complete.header("etag"), Some(tag.as_str()));
}

#[test]
fn a_complete_run_that_differs_arrives_and_takes_the_tag_away() {
    let again = Again::new("anew");
    let first = again.get("/printed.bin", "");
    let tag = first.header("etag").expect("a tag").to_owned();
    let other = noise::bytes(0, 2_999_999);
    fs::write(again.scratch.join("data"), &other).expect("a file can be written");
    let complete = again.get("/printed.bin", "");
    assert_eq!((complete.status, complete.end), (200, End::Whole));
    assert!(complete.body == other);
    // It was begun under the tag of the run before, which is that of nothing now.
    let complete = again.get("/printed.bin", "");
    assert!(complete.body == other);
    assert_ne!(complete.header("etag"), Some(tag.as_str()));
    let if_range = format!("Range: bytes=1000-\r\nIf-Range: {tag}");
    assert_eq!(again.get("/printed.bin", &if_range).status, 200);
}

#[test]
fn a_complete_run_that_differs_from_its_begin_on_has_another_tag_at_once() {
    let again = Again::new("begin");
    let mut files: Vec<Vec<u8>> = Vec::new();
    // Of another begin, longer and shorter than the one before, and empty.
    for bytes in [0, 1, 1100, 1200, 1 << 20, 1000, 0, 3_000_000] {
        files.push(noise::bytes(0, bytes));
        files.push(noise::bytes(7, bytes));
    }
    let mut before = again.get("/printed.bin", "");
    for (place, other) in files.iter().enumerate() {
        if *other == before.body {
            continue;
        }
        let bytes = other.len();
        fs::write(again.scratch.join("data"), other).expect("a file can be written");
        let after = again.get("/printed.bin", "");
        assert_eq!((after.status, after.end), (200, End::Whole), "{place}");
        assert!(after.body == *other, "{place}");
        assert_ne!(after.header("etag"), before.header("etag"), "{place}");
        // That is the tag of these bytes now, and another run may go on with them.
        let tag = after.header("etag").expect("a tag").to_owned();
        let tag = tag.as_str();
        assert_eq!(again.get("/printed.bin", "").header("etag"), Some(tag));
        if bytes > 10 {
            let if_range = format!("Range: bytes=10-\r\nIf-Range: {tag}");
            let rest = again.get("/printed.bin", &if_range);
            assert_eq!(rest.status, 206, "{place}");
            assert!(rest.body == other[10..], "{place}");
        }
        before = after;
    }
}

#[test]
fn a_run_that_ends_before_a_range_is_not_gone_on_with() {
    for left in [500_000, 1, 0] {
        let again = Again::new("shrunk");
        let tag = again.get("/printed.bin", "");
        let tag = tag.header("etag").expect("a tag").to_owned();
        fs::write(again.scratch.join("data"), noise::bytes(0, left))
            .expect("a file can be written");
        let range = "Range: bytes=2000000-\r\nIf-";
        let matched = again.get("/printed.bin", &format!("{range}Match: {tag}"));
        assert_eq!(matched.status, 412, "{left}");
        // The tag is gone.
        let complete = again.get("/printed.bin", &format!("{range}Range: {tag}"));
        assert_eq!((complete.status, complete.body.len()), (200, left));
    }
}

#[test]
fn a_part_of_a_run_that_differs_is_never_gone_on_with() {
    let again = Again::new("part");
    let first = again.get("/printed.bin", "").body;
    let mut other = first.clone();
    other[2_500_000] ^= 1;
    fs::write(again.scratch.join("data"), &other).expect("a file can be written");
    // It breaks off behind the byte that differs.
    let (part, tag) = again.give_up("/printed.bin", 2_600_000);
    assert!(part == other[..2_600_000]);
    for data in [&first, &other] {
        fs::write(again.scratch.join("data"), data).expect("a file can be written");
        let if_range = format!("Range: bytes=2600000-\r\nIf-Range: {tag}");
        let answer = again.get("/printed.bin", &if_range);
        assert_eq!(answer.status, 200);
        assert!(answer.body == **data);
    }
}

#[cfg(feature = "tables")]
#[test]
fn a_table_that_has_just_changed_has_no_tag() {
    let scratch = Scratch::new("just");
    let table = scratch.join("t.csv");
    fs::write(&table, "row\n1\n2\n").expect("a file can be written");
    std::thread::sleep(std::time::Duration::from_millis(3200));
    let config = scratch.join("datastreamer.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[routes.t]\nkind = \"table\"\npath = \"{}\"\nresume = \"rerun\"\n",
        table.display()
    );
    fs::write(&config, text).expect("a file can be written");
    let server = Server::start(["--config".into(), config.into_os_string()]);
    let first = http::get(server.port(), "/t.tsv");
    assert!(first.header("etag").is_some());
    fs::write(&table, "row\n1\n3\n").expect("a file can be written");
    let changed = http::get(server.port(), "/t.tsv");
    assert_eq!(changed.text(), "row\n1\n3\n");
    assert_eq!(changed.header("etag"), None);
}

#[cfg(feature = "tables")]
#[test]
fn a_table_that_is_sent_as_its_file_has_the_tag_of_that() {
    let scratch = Scratch::new("own");
    let table = scratch.join("t.csv");
    let write = |value: u32| {
        let rows: String = (0..100_000).map(|row| format!("{row},{value}\n")).collect();
        fs::write(&table, format!("row,value\n{rows}")).expect("a file can be written");
        std::thread::sleep(std::time::Duration::from_millis(3200));
    };
    write(1);
    let config = scratch.join("datastreamer.toml");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[routes.t]\nkind = \"table\"\npath = \"{}\"\nresume = \"rerun\"\n",
        table.display()
    );
    fs::write(&config, text).expect("a file can be written");
    let server = Server::start(["--config".into(), config.into_os_string()]);
    for path in ["/t.csv", "/t.tsv"] {
        let port = server.port();
        let first = http::get(port, path);
        let tag = first.header("etag").expect("a tag").to_owned();
        write(2);
        assert_eq!(
            http::get_with(port, path, "Range: bytes=1000-").status,
            412,
            "{path}"
        );
        let asked = http::get_with(port, path, &format!("If-None-Match: {tag}"));
        assert_eq!(asked.status, 200, "{path}");
        let if_range = format!("Range: bytes=1000-\r\nIf-Range: {tag}");
        assert_eq!(http::get_with(port, path, &if_range).status, 200, "{path}");
        write(1);
    }
}

#[test]
fn the_setting_is_refused_where_it_cannot_hold() {
    let check = |text: &str| {
        let scratch = Scratch::new("refused");
        let path = scratch.join("datastreamer.toml");
        fs::write(&path, text).expect("a configuration can be written");
        program::run(&["check", path.to_str().expect("text")])
    };
    let kept = "[routes.a]\nkind = \"noise\"\nresume = \"rerun\"\nkeep = \"1h\"\n";
    check(kept).assert_refused(CONFIGURATION, &["routes.a", "leave `keep` out"]);
    let word = "[routes.a]\nkind = \"noise\"\nresume = \"again\"\n";
    check(word).assert_refused(CONFIGURATION, &["resume", "\"rerun\""]);
    let file = "[routes.a]\nkind = \"file\"\npath = \"a\"\nresume = \"rerun\"\n";
    check(file).assert_refused(CONFIGURATION, &["`resume` belongs to kind"]);
}
