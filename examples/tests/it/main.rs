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
const HTTP2_STREAM: i32 = 92;

#[test]
fn axum_streams_a_report_and_an_archive_and_resets_what_fails() {
    let server = Server::start(env!("CARGO_BIN_EXE_axum"));
    server.serves("/stars.csv", &stars(200_000));
    server.breaks_off("/broken", RECV_ERROR);

    let archive = server.fetch("/stars.zip");
    assert_eq!(archive.exit_code, OK);
    assert_archive(archive.body);
}

#[test]
fn hyper_streams_and_resets_what_fails() {
    let server = Server::start(env!("CARGO_BIN_EXE_hyper"));
    server.serves("/stars.csv", &stars(200_000));
    server.breaks_off("/broken", RECV_ERROR);
    for (path, status, text) in [
        ("/early", "503", "the database is gone"),
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
fn ranges_of_a_file_and_of_memory_are_sent() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "0123456789").unwrap();
    let arguments = [path.to_str().unwrap()];
    let server = Server::start_with(env!("CARGO_BIN_EXE_ranges"), &arguments);
    server.serves("/file", b"0123456789");
    let numbers: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    server.serves("/numbers", &numbers);
    for (path, range, body) in [
        ("/file", "3-5", b"345".as_slice()),
        ("/numbers", "399992-", &numbers[399_992..]),
        ("/numbers", "4-7", &1_u32.to_le_bytes()),
    ] {
        let fetched = server.fetch_with(path, &["--range", range]);
        let is_resume = (path, range) == ("/numbers", "399992-");
        // Nothing says that the client has these numbers.
        match is_resume {
            true => assert_eq!(fetched.status, "412"),
            false => assert_eq!((&*fetched.status, &*fetched.body), ("206", body)),
        }
    }
}

#[test]
fn a_report_is_made_once_shared_and_read_in_ranges() {
    let server = Server::start(env!("CARGO_BIN_EXE_spool"));
    let file = stars(200_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| server.serves("/stars.csv", &file));
        }
    });
    for (range, bytes) in [("10-19", &file[10..20]), ("-7", &file[file.len() - 7..])] {
        let fetched = server.fetch_with("/stars.csv", &["--range", range]);
        assert_eq!((&*fetched.status, &*fetched.body), ("206", bytes));
    }
    server.serves("/runs", b"1");
}

#[test]
fn an_async_writer_makes_an_archive_or_no_archive() {
    let server = Server::start(env!("CARGO_BIN_EXE_async_zip"));
    let archive = server.fetch("/stars.zip");
    assert_eq!(archive.exit_code, OK);
    assert_archive(archive.body);
    let broken = server.fetch("/broken.zip");
    assert!(
        broken.exit_code == RECV_ERROR || broken.status == "500",
        "{}",
        broken.status
    );
    assert!(ZipArchive::new(Cursor::new(broken.body)).is_err());
}

#[test]
fn a_cursor_streams_and_a_silent_query_ends_with_its_client() {
    let mut server = Server::start(env!("CARGO_BIN_EXE_sqlite"));
    let squares = server.fetch("/squares.csv");
    assert_eq!(squares.exit_code, OK);
    let text = String::from_utf8(squares.body).unwrap();
    assert_eq!(text.lines().count(), 200_001);
    assert_eq!(text.lines().last(), Some("199999,39999600001"));
    let slow = Command::new("curl")
        .args(["-s", "-m", "1", &format!("{}/slow.csv", server.url)])
        .status()
        .unwrap();
    const TIMED_OUT: i32 = 28;
    assert_eq!(slow.code(), Some(TIMED_OUT));
    assert!(server.says_on_stderr("interrupted"));
}

#[test]
fn a_posted_report_goes_through_layers_and_extractors() {
    let server = Server::start(env!("CARGO_BIN_EXE_layers"));
    let post = |body: &str| {
        let output = Command::new("curl")
            .args([
                "-s",
                "-w",
                "%{http_code}",
                "-H",
                "content-type: application/json",
            ])
            .args(["-d", body, &format!("{}/report.csv", server.url)])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.split_at(text.len() - 3);
        (status.to_owned(), body.to_owned())
    };
    let (status, report) = post(r#"{"rows": 20000}"#);
    assert_eq!(status, "200");
    assert!(report.as_bytes() == stars(20_000));
    let (status, problem) = post(r#"{"rows": 0}"#);
    assert_eq!(status, "422");
    assert!(problem.contains("a report has rows"), "{problem}");
}

#[test]
fn tls_streams_and_breaks_off_what_fails() {
    let server = Server::start(env!("CARGO_BIN_EXE_tls"));
    server.serves("/stars.csv", &stars(200_000));
    let broken = server.fetch("/broken");
    assert!(
        [PARTIAL_FILE, RECV_ERROR].contains(&broken.exit_code),
        "{}",
        broken.exit_code
    );
}

#[test]
fn axum_server_streams_and_resets_what_fails() {
    let server = Server::start(env!("CARGO_BIN_EXE_axum_server"));
    server.serves("/stars.csv", &stars(200_000));
    server.breaks_off_at("/broken", 100_000, &[RECV_ERROR]);
    let server = Server::start_with(env!("CARGO_BIN_EXE_axum_server"), &["tls"]);
    server.serves("/stars.csv", &stars(200_000));
    // 92: a reset of the stream, over HTTP/2.
    server.breaks_off_at("/broken", 100_000, &[RECV_ERROR, HTTP2_STREAM]);
}

#[test]
fn a_call_of_tonic_ends_with_all_chunks_or_with_an_error() {
    let server = Server::start(env!("CARGO_BIN_EXE_tonic"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let call = |name| runtime.block_on(grpc::download(&server.url, name));
    let (file, status) = call("stars.csv");
    assert!(status.is_ok(), "{status:?}");
    assert!(file == stars(200_000));
    let (file, status) = call("broken");
    assert_eq!(status.unwrap_err().code(), tonic::Code::Internal);
    assert!(file == stars(20_000)["id,name\n".len()..]);
    let (_, status) = call("nothing");
    assert_eq!(status.unwrap_err().code(), tonic::Code::NotFound);
}

/// A client of the example `tonic`, with messages of its own, as one in another language has.
mod grpc {
    use http::uri::PathAndQuery;
    use tonic::{Request, Status, client::Grpc, transport::Endpoint};
    use tonic_prost::ProstCodec;

    #[derive(Clone, PartialEq, prost::Message)]
    struct File {
        #[prost(string, tag = "1")]
        name: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Chunk {
        #[prost(bytes = "vec", tag = "1")]
        data: Vec<u8>,
    }

    /// Returns the bytes that arrived, and how the call ended.
    pub(super) async fn download(url: &str, name: &str) -> (Vec<u8>, Result<(), Status>) {
        let mut file = Vec::new();
        let status = read_to(&mut file, url, name).await;
        (file, status)
    }

    async fn read_to(file: &mut Vec<u8>, url: &str, name: &str) -> Result<(), Status> {
        let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
        let mut grpc = Grpc::new(endpoint.connect().await.unwrap());
        grpc.ready().await.unwrap();
        let request = Request::new(File { name: name.into() });
        let method = PathAndQuery::from_static("/examples.Files/Download");
        let codec: ProstCodec<File, Chunk> = ProstCodec::default();
        let response = grpc.server_streaming(request, method, codec).await?;
        let mut chunks = response.into_inner();
        while let Some(chunk) = chunks.message().await? {
            file.extend(chunk.data);
        }
        Ok(())
    }
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
/// Checks that these are the two members.
fn assert_archive(bytes: Vec<u8>) {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    for name in ["north.csv", "south.csv"] {
        let mut member = Vec::new();
        let mut reader = archive.by_name(name).unwrap();
        reader.read_to_end(&mut member).unwrap();
        assert!(member == stars(20_000), "{name}");
    }
}

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
        Self::start_with(program, &[])
    }

    fn start_with(program: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new(program)
            .arg("127.0.0.1:0")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        let url = url.trim_end().to_owned();
        Self { process, url }
    }

    /// Waits until the program says a word on standard error.
    fn says_on_stderr(&mut self, word: &str) -> bool {
        let stderr = self.process.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines();
        lines.any(|line| line.unwrap().contains(word))
    }

    fn fetch(&self, path: &str) -> Fetched {
        self.fetch_with(path, &[])
    }

    fn fetch_with(&self, path: &str, options: &[&str]) -> Fetched {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("body");
        let output = Command::new("curl")
            .args(["--silent", "--insecure", "--max-time", CURL_SECONDS_MAX])
            .args(["--noproxy", "*", "--write-out", "%{http_code}", "--output"])
            .arg(&file)
            .args(options)
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

    /// Does the same for a file that has its head and ends after this many stars.
    fn breaks_off_at(&self, path: &str, count: u32, exit_codes: &[i32]) {
        let fetched = self.fetch(path);
        let exit_code = fetched.exit_code;
        assert!(exit_codes.contains(&exit_code), "{path}: {exit_code}");
        assert!(
            stars(count).starts_with(&fetched.body),
            "{path}: other bytes"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
