//! Files on disk, as they are: lengths, ranges and preconditions over HTTP, and clients that resume.
//! Whatever a client does after a break, it never joins two versions of a file and calls that a
//! success.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::http::{self, Connection, End};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::last_transfer;
use crate::support::{tools, wait};

const BYTES: usize = 3_000_000;
/// More than the two seconds for which a file that was changed has no tag.
const SETTLING: Duration = Duration::from_millis(3200);

/// Bytes of a version of a file; no two versions have the same byte in the same place.
fn content(version: u8) -> Vec<u8> {
    let bytes = (0..BYTES as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8);
    bytes.map(|byte| byte.wrapping_add(version)).collect()
}

fn settled(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a file can be written");
    std::thread::sleep(SETTLING);
}

/// Serves a file, and records who has parts of it.
fn remembering(scratch: &Scratch, path: &Path) -> Server {
    let config = scratch.join("datastreamer.toml");
    fs::write(&config, "[spool]\nfolder = \"spool\"\n").expect("files can be written");
    Server::start(["--config".as_ref(), config.as_os_str(), path.as_os_str()])
}

fn ask(server: &Server, path: &str, headers: &str) -> http::Response {
    let mut client = Connection::open(server.port());
    client.send(&format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
    ));
    client.read_response()
}

/// Gets the first bytes of a file and disconnects, as a client does whose network fails.
fn part_of(server: &Server, path: &str, bytes: usize) -> Vec<u8> {
    let mut client = Connection::open(server.port());
    client.ask(path);
    assert_eq!(client.read_head().status, 200);
    client.read_part(bytes)
}

#[test]
fn a_request_that_does_not_fit_the_file_is_recorded_as_refused() {
    let scratch = Scratch::new("refused");
    let path = scratch.join("image.bin");
    settled(&path, &content(0));
    let server = remembering(&scratch, &path);
    assert_eq!(http::get(server.port(), "/image.bin").status, 200);
    let cases = [
        ("If-Match: \"x\"\r\n", 412),
        ("If-Match: \"x\"\r\nRange: bytes=5-\r\n", 412),
        ("Range: bytes=9000000-9000001\r\n", 416),
        ("Range: bytes=9000000-\r\n", 416),
    ];
    for (headers, status) in cases {
        let detail = ask(&server, "/image.bin", headers).problem(status);
        let transfer = last_transfer(server.port());
        assert_eq!(transfer["outcome"], "refused", "{headers}: {transfer}");
        assert_eq!(transfer["error"], *detail, "{headers}");
        assert_eq!(transfer["bytes"], 0);
    }
    wait::until("the log has all", Duration::from_secs(10), || {
        let log = server.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("outcome=\"refused\""));
        let of = |status: &str| lines.clone().filter(|line| line.contains(status)).count();
        (of("status=412"), of("status=416")) == (2, 2)
    });
}

#[test]
fn a_file_has_its_length_a_tag_and_ranges() {
    let scratch = Scratch::new("files");
    let path = scratch.join("image.fits.bin");
    let content = content(0);
    settled(&path, &content);
    let server = remembering(&scratch, &path);
    let whole = http::get(server.port(), "/image.fits.bin");
    assert_eq!((whole.status, whole.end), (200, End::Whole));
    assert!(whole.body == content);
    assert_eq!(whole.header("content-length"), Some("3000000"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("cache-control"), Some("no-cache"));
    assert!(whole.header("last-modified").is_some());
    let tag = whole.header("etag").expect("a tag").to_owned();

    let range = ask(&server, "/image.fits.bin", "Range: bytes=1000-1999\r\n");
    assert_eq!(range.status, 206);
    assert_eq!(
        range.header("content-range"),
        Some("bytes 1000-1999/3000000")
    );
    assert!(range.body == content[1000..2000]);
    let mut client = Connection::open(server.port());
    client.send(&format!(
        "GET /image.fits.bin HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n"
    ));
    let known = client.read_head();
    assert_eq!(
        (known.status, known.header("etag")),
        (304, Some(tag.as_str()))
    );
    let beyond = ask(&server, "/image.fits.bin", "Range: bytes=3000000-\r\n");
    assert_eq!(
        beyond.problem(416),
        "the file has 3000000 bytes, and none in the range"
    );
    assert_eq!(beyond.header("content-range"), Some("bytes */3000000"));
    let other = ask(&server, "/image.fits.bin", "If-Match: \"other\"\r\n");
    other.problem(412);
}

#[test]
fn a_file_that_has_gone_is_an_error_without_its_path() {
    let scratch = Scratch::new("gone");
    let path = scratch.join("image.bin");
    fs::write(&path, content(0)).expect("a file can be written");
    let server = Server::start([&path]);
    fs::remove_file(&path).expect("it can be removed");
    let detail = http::get(server.port(), "/image.bin").problem(500);
    let folder = scratch.path().display().to_string();
    assert!(!detail.contains(&folder), "{detail}");
    wait::until("the reason is logged", Duration::from_secs(20), || {
        server.log().contains(&folder)
    });
}

/// The programs that resume, most of them without If-Range.
#[derive(Clone, Copy, Debug)]
enum Resumer {
    Curl,
    Wget,
    Aria2,
}

impl Resumer {
    const ALL: [Self; 3] = [Self::Curl, Self::Wget, Self::Aria2];

    /// Resumes `part`, which is a file of the URL's last part, and returns whether the client was
    /// content.
    fn resume(self, url: &str, part: &Path) -> bool {
        let folder = part.parent().expect("a folder");
        let mut command: Command = match self {
            Self::Curl => {
                let mut curl = tools::program("curl");
                curl.args(["--silent", "--fail", "--continue-at", "-", "--output"]);
                curl.arg(part);
                curl
            }
            Self::Wget => {
                let mut wget = tools::program("wget");
                wget.args(["--no-config", "--quiet", "--continue", "--tries=1"]);
                wget
            }
            Self::Aria2 => {
                let mut aria2 = tools::program("aria2c");
                aria2.args(["--no-conf", "--quiet", "--continue=true", "--max-tries=1"]);
                aria2.args(["-x16", "-s16", "-k1M", "--file-allocation=none"]);
                aria2
            }
        };
        let ended = command.arg(url).current_dir(folder).status();
        ended.expect("the client runs").success()
    }
}

/// Has a client with a part of version 0 resume, after `between`; returns what it has, if it is
/// content.
fn resumed(
    server: &Server,
    client: Resumer,
    cut: usize,
    folder: &Path,
    between: impl FnOnce(),
) -> Option<Vec<u8>> {
    fs::create_dir_all(folder).expect("a folder can be made");
    let part = folder.join("data.bin");
    fs::write(&part, part_of(server, "/data.bin", cut)).expect("a part can be written");
    between();
    let is_content = client.resume(&server.url("/data.bin"), &part);
    is_content.then(|| fs::read(&part).expect("a file"))
}

#[test]
fn clients_that_resume_an_unchanged_file_have_it_in_the_end() {
    let scratch = Scratch::new("resume");
    let path = scratch.join("data.bin");
    let content = content(0);
    settled(&path, &content);
    let server = remembering(&scratch, &path);
    for client in Resumer::ALL {
        for part in [1, 7, 32, 63] {
            let cut = BYTES / 64 * part;
            let folder = scratch.join(&format!("{client:?}-{cut}"));
            let got = resumed(&server, client, cut, &folder, || {});
            assert!(got.is_some_and(|got| got == content), "{client:?} at {cut}");
        }
    }
}

/// What happens to a file between a break and the resumption.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// Other bytes in the same inode, of the same size and with a time of the past.
    Rewritten,
    /// Another file of its name, moments ago.
    ReplacedJustNow,
    /// Other bytes and more of them.
    Grown,
}

#[test]
fn no_client_joins_two_versions_of_a_file() {
    let scratch = Scratch::new("splice");
    std::thread::scope(|threads| {
        for client in Resumer::ALL {
            for change in [Change::Rewritten, Change::ReplacedJustNow, Change::Grown] {
                let scratch = &scratch;
                threads.spawn(move || resume_across(client, change, scratch));
            }
        }
    });
}

fn resume_across(client: Resumer, change: Change, scratch: &Scratch) {
    let folder = scratch.join(&format!("{client:?}-{change:?}"));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let path = folder.join("data.bin");
    settled(&path, &content(0));
    let server = Server::start([&path]);
    let mut new = content(1);
    if let Change::Grown = change {
        new.extend_from_slice(&content(2)[..1000]);
    }
    let replace = || {
        match change {
            Change::ReplacedJustNow => {
                let other = folder.join("other");
                fs::write(&other, &new).expect("a file can be written");
                fs::rename(&other, &path).expect("it can be renamed");
            }
            _ => fs::write(&path, &new).expect("a file can be written"),
        }
        let file = fs::File::options().write(true).open(&path);
        let past = SystemTime::now() - Duration::from_secs(1000);
        file.and_then(|file| file.set_modified(past))
            .expect("a time can be set");
        if !matches!(change, Change::ReplacedJustNow) {
            std::thread::sleep(SETTLING);
        }
    };
    let folder = folder.join("client");
    let got = resumed(&server, client, BYTES / 2 + 1, &folder, replace);
    let good = got.as_ref().is_none_or(|got| *got == new);
    assert!(good, "{client:?} joined two versions ({change:?})");
}

#[test]
fn a_server_without_memory_serves_only_ranges_that_prove_something() {
    let scratch = Scratch::new("memory");
    let path = scratch.join("data.bin");
    settled(&path, &content(0));
    let server = Server::start([&path]);
    let bounded = "Range: bytes=1000-1999\r\n";
    // aria2 that runs on while the server is started again, and curl that resumes.
    for range in [bounded, "Range: bytes=1000-\r\n"] {
        ask(&server, "/data.bin", range).problem(412);
    }
    // aria2 with a part, and curl that begins anew and is cut.
    part_of(&server, "/data.bin", 100_000);
    ask(&server, "/data.bin", bounded).problem(412);
    let rest = ask(&server, "/data.bin", "Range: bytes=100000-\r\n");
    assert_eq!((rest.status, rest.body.len()), (206, BYTES - 100_000));
    // A program that reads parts.
    http::head(server.port(), "/data.bin");
    assert_eq!(ask(&server, "/data.bin", bounded).status, 206);
}

#[test]
fn a_server_knows_after_kill_9_who_has_parts_of_which_version() {
    let scratch = Scratch::new("ledger");
    let path = scratch.join("data.bin");
    settled(&path, &content(0));
    let mut server = remembering(&scratch, &path);
    part_of(&server, "/data.bin", 100_000);
    server.kill_9();
    let mut server = remembering(&scratch, &path);
    let bounded = "Range: bytes=100000-199999\r\n";
    assert!(ask(&server, "/data.bin", bounded).body == content(0)[100_000..200_000]);
    server.kill_9();
    settled(&path, &content(1));
    let server = remembering(&scratch, &path);
    // As aria2 does.
    part_of(&server, "/data.bin", 100_000);
    ask(&server, "/data.bin", bounded).problem(412);
    let mut stranger = Connection::open_from([127, 0, 0, 9].into(), server.port());
    stranger.send(&format!(
        "GET /data.bin HTTP/1.1\r\nHost: a\r\n{bounded}\r\n"
    ));
    assert_eq!(stranger.read_response().status, 206);
}
