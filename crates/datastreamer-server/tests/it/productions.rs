//! Files that are made once and kept: shared by equal requests, read in ranges, resumed, and proved by
//! their digests.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::http::{self, Connection, End};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::{noise, program, tools, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// A configuration with a spool of its own, and its server.
struct Kept {
    scratch: Scratch,
    config: PathBuf,
}

impl Kept {
    fn new(label: &str, spool: &str) -> Self {
        let scratch = Scratch::new(label);
        let counter = scratch.join("runs");
        let script = format!(
            "echo run >> {}; head -c 3000000 /dev/urandom",
            counter.display()
        );
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[spool]\nfolder = \"spool\"\n{spool}\n\
             [routes.auto]\nkind = \"noise\"\nkeep = \"auto\"\n\
             [routes.kept]\nkind = \"noise\"\nkeep = \"10m\"\n\
             [routes.running]\nkind = \"noise\"\nkeep = \"while_running\"\n\
             [routes.random]\nkind = \"command\"\nkeep = \"10m\"\nargv = [\"sh\", \"-c\", '{script}']\n\
             [routes.brief]\nkind = \"command\"\nkeep = \"1s\"\nargv = [\"sh\", \"-c\", '{script}']\n\
             [routes.plain]\nkind = \"noise\"\n"
        );
        let path = scratch.join("datastreamer.toml");
        fs::write(&path, config).expect("a configuration can be written");
        Self {
            scratch,
            config: path,
        }
    }

    fn serve(&self) -> Server {
        Server::start(["--config".into(), self.config.clone().into_os_string()])
    }

    fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.scratch.join("runs"));
        runs.unwrap_or_default().lines().count()
    }
}

fn ask(server: &Server, path: &str, headers: &str) -> http::Response {
    let mut client = Connection::open(server.port());
    client.send(&format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
    ));
    client.read_response()
}

fn tag(response: &http::Response) -> String {
    response.header("etag").expect("a tag").to_owned()
}

#[test]
fn equal_requests_share_one_run_early_and_late() {
    let kept = Kept::new("shared", "");
    let server = kept.serve();
    let responses: Vec<_> = std::thread::scope(|threads| {
        let clients: Vec<_> = (1..=100)
            .map(|number| {
                let port = server.port();
                // Each with a share of its own.
                threads.spawn(move || {
                    let address = [127, 0, 5, number].into();
                    Connection::open_from(address, port).get("/random.bin")
                })
            })
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("a response"))
            .collect()
    });
    let late = http::get(server.port(), "/random.bin");
    assert_eq!(late.body.len(), 3_000_000);
    for response in &responses {
        assert_eq!(response.end, End::Whole);
        assert!(response.body == late.body);
        assert_eq!(tag(response), tag(&late));
    }
    assert_eq!(kept.runs(), 1);
}

#[test]
fn a_kept_file_has_ranges_a_tag_and_the_digest_of_its_bytes() {
    let kept = Kept::new("digest", "");
    let server = kept.serve();
    let whole = http::get(server.port(), "/random.bin");
    fs::write(kept.scratch.join("file"), &whole.body).expect("a file can be written");
    let openssl = tools::program("openssl")
        .args(["dgst", "-sha256", "-binary", "-out"])
        .arg(kept.scratch.join("digest"))
        .arg(kept.scratch.join("file"))
        .status();
    assert!(openssl.expect("openssl runs").success());
    let base64 = tools::program("base64")
        .arg(kept.scratch.join("digest"))
        .stdout(std::process::Stdio::piped())
        .output();
    let digest = String::from_utf8(base64.expect("base64 runs").stdout).expect("text");
    let range = ask(&server, "/random.bin", "Range: bytes=1000000-1999999\r\n");
    assert_eq!(range.status, 206);
    assert_eq!(
        range.header("content-range"),
        Some("bytes 1000000-1999999/3000000")
    );
    assert!(range.body == whole.body[1_000_000..2_000_000]);
    let expected = format!("sha-256=:{}:", digest.trim());
    assert_eq!(range.header("repr-digest"), Some(expected.as_str()));
    assert_eq!(tag(&range), tag(&whole));
    let if_range = format!("Range: bytes=2999990-\r\nIf-Range: {}\r\n", tag(&whole));
    assert!(ask(&server, "/random.bin", &if_range).body == whole.body[2_999_990..]);
    let stale = ask(
        &server,
        "/random.bin",
        "Range: bytes=5-\r\nIf-Range: \"other\"\r\n",
    );
    assert_eq!((stale.status, stale.body.len()), (200, 3_000_000));
    assert_eq!(kept.runs(), 1);
}

#[test]
fn a_complete_production_survives_the_servers_death_and_a_running_one_does_not() {
    let kept = Kept::new("restart", "");
    let mut server = kept.serve();
    let before = http::get(server.port(), "/random.bin");
    wait::until("it is on the storage", LIMIT, || {
        let files = fs::read_dir(kept.scratch.join("spool")).expect("a folder");
        files
            .flatten()
            .any(|file| file.path().extension() == Some("json".as_ref()))
    });
    let mut slow = Connection::open(server.port());
    slow.ask("/kept.bin?n=5000000&piece=1000&delay=1ms");
    let part_tag = tag(&slow.read_head());
    server.kill_9();
    let server = kept.serve();
    let after = ask(
        &server,
        "/random.bin",
        &format!("Range: bytes=100-\r\nIf-Range: {}\r\n", tag(&before)),
    );
    assert_eq!(after.status, 206);
    assert!(after.body == before.body[100..]);
    assert_eq!(kept.runs(), 1);
    let gone = ask(
        &server,
        "/kept.bin?n=5000000&piece=1000&delay=1ms",
        &format!("Range: bytes=0-9\r\nIf-Match: {part_tag}\r\n"),
    );
    gone.problem(412);
}

#[test]
fn ranges_of_an_automatic_route_begin_a_production_and_whole_files_do_not() {
    let kept = Kept::new("auto", "");
    let server = kept.serve();
    let plain = http::get(server.port(), "/auto.bin?n=100000");
    assert_eq!(
        (plain.header("etag"), plain.header("accept-ranges")),
        (None, Some("none"))
    );
    assert!(!kept.scratch.join("spool").join("spool.lock").exists() || kept.files() == 0);
    let head = {
        let mut client = Connection::open(server.port());
        client.send("HEAD /auto.bin?n=100000 HTTP/1.1\r\nHost: a\r\n\r\n");
        client.read_head()
    };
    assert_eq!(head.header("accept-ranges"), Some("bytes"));
    // The last bytes: a reader of Parquet begins with them.
    let last = ask(&server, "/auto.bin?n=100000", "Range: bytes=-8\r\n");
    assert_eq!(last.status, 206);
    assert_eq!(
        last.header("content-range"),
        Some("bytes 99992-99999/100000")
    );
    let whole = noise::bytes(0, 100_000);
    assert!(last.body == whole[99_992..]);
    let middle = ask(&server, "/auto.bin?n=100000", "Range: bytes=500-999\r\n");
    assert!(middle.body == whole[500..1000]);
    assert_eq!(tag(&middle), tag(&last));
    assert_eq!(kept.files(), 1);
}

impl Kept {
    /// The files of complete and running productions.
    fn files(&self) -> usize {
        let files = fs::read_dir(self.scratch.join("spool")).expect("a folder");
        let is_data = |file: &fs::DirEntry| {
            let path = file.path();
            path.extension()
                .is_some_and(|it| it == "data" || it == "part")
        };
        files.flatten().filter(is_data).count()
    }
}

#[test]
fn what_a_client_gave_up_is_resumed_by_it_and_by_nobody_else() {
    let kept = Kept::new("resumed", "");
    let server = kept.serve();
    let mut client = Connection::open(server.port());
    // A range has a length, so its bytes are not in chunks.
    client.send("GET /random.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-2999999\r\n\r\n");
    let first = tag(&client.read_head());
    let part = client.read_part(1_000_000);
    drop(client);
    let rest = ask(&server, "/random.bin", "Range: bytes=1000000-\r\n");
    assert_eq!(rest.status, 206, "{}", String::from_utf8_lossy(&rest.body));
    assert_eq!(tag(&rest), first);
    let whole = http::get(server.port(), "/random.bin");
    assert!([part, rest.body].concat() == whole.body);
    let mut stranger = Connection::open_from([127, 0, 0, 9].into(), server.port());
    stranger.send("GET /random.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=1000000-\r\n\r\n");
    stranger.read_response().problem(412);
}

#[test]
fn a_source_that_fails_late_is_a_failure_of_every_reader() {
    let kept = Kept::new("failing", "");
    let server = kept.serve();
    let path = "/kept.bin?n=3000000&fail_after=2000000";
    for _ in 0..2 {
        let response = http::get(server.port(), path);
        assert_eq!((response.status, response.end), (200, End::Reset));
    }
    let early = http::get(server.port(), "/kept.bin?n=3000000&fail_after=0");
    early.problem(500);
    let range = ask(&server, path, "Range: bytes=-8\r\n");
    assert!(range.status >= 400, "{}", range.status);
}

#[test]
fn a_file_that_is_larger_than_the_spool_is_refused_or_aborted() {
    let kept = Kept::new("full", "bytes = 1000000\nproduction_bytes = 800000");
    let server = kept.serve();
    let detail = http::get(server.port(), "/kept.bin?n=2000000&length=known").problem(507);
    assert!(detail.contains("larger than the server keeps"), "{detail}");
    let late = http::get(server.port(), "/kept.bin?n=2000000");
    assert!(late.status == 507 || late.end == End::Reset, "{late:?}");
    let others = http::get(server.port(), "/plain.bin?n=2000000");
    assert!(others.body == noise::bytes(0, 2_000_000));
    let small = http::get(server.port(), "/kept.bin?n=500000");
    assert!(small.body == noise::bytes(0, 500_000));
}

#[test]
fn the_receipt_of_a_file_that_became_too_large_says_so_and_blames_no_source() {
    let kept = Kept::new("toolarge", "bytes = 1000000\nproduction_bytes = 800000");
    let server = kept.serve();
    let path = "/kept.bin?n=2000000&piece=20000&delay=5ms";
    let late = http::get(server.port(), path);
    assert_eq!((late.status, late.end), (200, End::Reset));
    let link = late.header("link").expect("a receipt");
    let receipt = link.trim_start_matches('<').split('>').next();
    let receipt = receipt.expect("a URL").to_owned();
    let ended = || {
        let receipt = http::get(server.port(), &receipt).json();
        (receipt["state"] == "failed").then_some(receipt)
    };
    wait::until("the transfer is on record", LIMIT, || ended().is_some());
    let receipt = ended().expect("it is on record");
    assert_eq!(receipt["outcome"], "spool_error", "{receipt}");
    let reason = receipt["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("larger than the server keeps"), "{receipt}");
}

#[test]
fn a_source_without_readers_is_stopped_unless_it_is_kept() {
    let kept = Kept::new("left", "");
    let server = kept.serve();
    for (path, goes_on) in [("/running.bin", false), ("/kept.bin", true)] {
        let mut client = Connection::open(server.port());
        client.ask(&format!("{path}?n=2000000&piece=2000&delay=1ms"));
        assert_eq!(client.read_head().status, 200);
        drop(client);
        let done = |wanted: usize| {
            wait::until("it is decided", LIMIT, || kept.files() == wanted);
        };
        // One that is stopped leaves nothing.
        done(usize::from(goes_on));
    }
    let whole = http::get(server.port(), "/kept.bin?n=2000000&piece=2000&delay=1ms");
    assert!(whole.body == noise::bytes(0, 2_000_000));
}

#[test]
fn two_servers_do_not_share_a_folder() {
    let kept = Kept::new("locked", "");
    let _first = kept.serve();
    let config = kept.config.to_str().expect("text");
    program::run(&["serve", "--config", config]).assert_refused(3, &["spool"]);
}

/// A proxy, or the buffers of sockets, may have the rest when the client loses its connection.
#[test]
fn a_response_that_has_gone_out_is_no_proof_that_the_client_has_all_of_it() {
    let kept = Kept::new("gone-out", "");
    let server = kept.serve();
    let path = "/brief.bin";
    let first = http::get(server.port(), path);
    wait::until("the server has seen its end", LIMIT, || {
        http::transfers(server.port())["recent"][0]["outcome"] == "complete"
    });
    wait::until("it is no longer kept", LIMIT, || kept.files() == 0);
    // As aria2 does with a part of the first one.
    let mut client = Connection::open(server.port());
    client.ask(path);
    assert_ne!(tag(&client.read_head()), tag(&first));
    drop(client);
    ask(&server, path, "Range: bytes=1000-1999\r\n").problem(412);
    // As curl does that has begun anew.
    assert_eq!(ask(&server, path, "Range: bytes=1000-\r\n").status, 206);
}
