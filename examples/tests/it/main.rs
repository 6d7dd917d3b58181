//! Runs every example as a reader would: as a process, with curl as the client.

// What tests call may fail as tests do; clippy knows only the test functions.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Cursor, Read},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use zip::ZipArchive;

/// Sufficient for a debug build on a busy machine.
const CURL_SECONDS_MAX: &str = "60";

/// curl's exit codes (curl.se/docs/manpage.html, EXIT CODES).
const OK: i32 = 0;
const PARTIAL_FILE: i32 = 18;
const RECV_ERROR: i32 = 56;

#[test]
fn axum_streams_a_report_and_an_archive_and_resets_what_fails() {
    let server = Server::start(env!("CARGO_BIN_EXE_axum"));
    server.serves("/stars.csv", &stars(200_000));
    server.breaks_off("/broken", RECV_ERROR);

    let archive = server.fetch("/stars.zip");
    assert_eq!(archive.exit_code, OK);
    let mut archive = ZipArchive::new(Cursor::new(archive.body)).unwrap();
    for name in ["north.csv", "south.csv"] {
        let mut member = Vec::new();
        let mut reader = archive.by_name(name).unwrap();
        reader.read_to_end(&mut member).unwrap();
        assert!(member == stars(20_000), "{name}");
    }
}

#[test]
fn hyper_streams_and_resets_what_fails() {
    let server = Server::start(env!("CARGO_BIN_EXE_hyper"));
    server.serves("/stars.csv", &stars(200_000));
    server.breaks_off("/broken", RECV_ERROR);
    for (path, status, text) in [
        ("/early", "500", "the database is gone"),
        ("/nothing", "404", "no such file"),
    ] {
        let problem = server.fetch(path);
        let body = String::from_utf8(problem.body).unwrap();
        assert_eq!((problem.exit_code, &*problem.status), (OK, status));
        assert!(body.contains(text), "{body}");
    }
}

#[test]
fn actix_streams_and_resets_or_closes_what_fails() {
    let server = Server::start(env!("CARGO_BIN_EXE_actix"));
    server.serves("/stars.csv", &stars(200_000));
    server.breaks_off("/broken", RECV_ERROR);
    server.breaks_off("/closed", PARTIAL_FILE);
    // The reset of one connection does not affect the others.
    server.serves("/stars.csv", &stars(200_000));
}

#[test]
fn a_tcp_socket_is_closed_after_a_file_and_reset_after_a_failure() {
    let server = Server::start(env!("CARGO_BIN_EXE_tcp_socket"));
    server.serves("/0/stars.csv", &stars(200_000));
    server.breaks_off("/0/broken", RECV_ERROR);
    server.breaks_off("/0/nothing", RECV_ERROR);
}

#[test]
fn an_upload_makes_an_object_or_nothing() {
    let directory = TempDir::new().unwrap();
    let upload = |word: &str| {
        Command::new(env!("CARGO_BIN_EXE_object_store_upload"))
            .args([directory.path(), Path::new(word)])
            .output()
            .unwrap()
    };
    let broken = upload("broken");
    assert!(!broken.status.success());
    let told = String::from_utf8(broken.stderr).unwrap();
    assert_eq!(told, "the source failed: the database is gone\n");
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);

    let whole = upload("whole");
    assert!(whole.status.success());
    let told = String::from_utf8(whole.stdout).unwrap();
    assert!(told.ends_with("stars.csv: 18777788 bytes in 4 parts\n"));
    let object = std::fs::read(directory.path().join("stars.csv")).unwrap();
    assert!(object == stars(1_000_000));
    assert_eq!(directory.path().read_dir().unwrap().count(), 1);
}

/// The file of `/stars.csv`.
fn stars(count: u32) -> Vec<u8> {
    let rows = (0..count).map(|id| format!("{id},star {id}\n"));
    [b"id,name\n", rows.collect::<String>().as_bytes()].concat()
}

/// A running example; killed when it goes out of scope.
struct Server {
    process: Child,
    /// The URL that it prints: scheme, address and port.
    url: String,
}

/// What curl received.
struct Fetched {
    exit_code: i32,
    status: String,
    body: Vec<u8>,
}

impl Server {
    fn start(program: &str) -> Self {
        let mut process = Command::new(program)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        let url = url.trim_end().to_owned();
        Self { process, url }
    }

    fn fetch(&self, path: &str) -> Fetched {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("body");
        let output = Command::new("curl")
            .args(["--silent", "--max-time", CURL_SECONDS_MAX])
            .args(["--noproxy", "*", "--write-out", "%{http_code}", "--output"])
            .arg(&file)
            .arg(format!("{}{path}", self.url))
            .output()
            .expect("curl is needed to run the examples");
        Fetched {
            exit_code: output.status.code().unwrap(),
            status: String::from_utf8(output.stdout).unwrap(),
            body: std::fs::read(file).unwrap_or_default(),
        }
    }

    fn serves(&self, path: &str, file: &[u8]) {
        let fetched = self.fetch(path);
        assert_eq!(fetched.exit_code, OK, "{path}");
        assert!(fetched.body == file, "{path}: other bytes");
    }

    /// The bytes before the failure are correct, and curl reports that the file is truncated.
    fn breaks_off(&self, path: &str, exit_code: i32) {
        let fetched = self.fetch(path);
        assert_eq!(fetched.exit_code, exit_code, "{path}");
        let rows = &stars(20_000)["id,name\n".len()..];
        assert!(rows.starts_with(&fetched.body), "{path}: other bytes");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
