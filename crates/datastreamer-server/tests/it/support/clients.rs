//! The real clients: how each is run, and what it told its user. Judges nothing but that: a client
//! that ends with exit code 0 has reported success, whatever it saved.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;
use std::time::Duration;

use super::chromium::{Chromium, Way};
use super::scratch::{self, Scratch};
use super::{noise, tls, tools, wait};

/// A way of downloading a URL to a file that people use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    Curl,
    CurlHttp2,
    Wget,
    Aria2,
    Requests,
    Httpx,
    HttpxHttp2,
    Urllib,
    Lenient,
    HalfClosing,
    NodeFetch,
    NodeFetchClosing,
    NodeHttp2Beside,
    Java,
    ChromiumDownload,
    ChromiumFetch,
    CurlDecoding,
    CurlHttp2Decoding,
    WgetDecoding,
    Aria2Decoding,
}

/// What a client told its user in the end.
#[derive(Debug)]
pub(crate) enum Report {
    Success,
    /// Failure, with what the client said of it.
    Failure(String),
    /// Nothing within [`TIME_LIMIT`]; it was killed.
    Nothing,
}

impl Report {
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Success)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Failure(said) => write!(f, "failure ({said})"),
            Self::Nothing => write!(f, "nothing within {TIME_LIMIT:?}"),
        }
    }
}

/// What every download gets. The longest take 3 seconds on an idle machine; the rest is for busy
/// ones, and for the sum of a client's own waits.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(90);

impl Client {
    pub(crate) const ALL: [Self; 14] = [
        Self::Curl,
        Self::CurlHttp2,
        Self::Wget,
        Self::Aria2,
        Self::Requests,
        Self::Httpx,
        Self::HttpxHttp2,
        Self::Urllib,
        Self::Lenient,
        Self::NodeFetch,
        Self::NodeHttp2Beside,
        Self::Java,
        Self::ChromiumDownload,
        Self::ChromiumFetch,
    ];

    /// All, and node's fetch with `Connection: close`: it takes a reset for the end of a file of
    /// unknown length, and so sees every failure but the server's own death.
    pub(crate) const WHILE_THE_SERVER_LIVES: [Self; 15] = [
        Self::Curl,
        Self::CurlHttp2,
        Self::Wget,
        Self::Aria2,
        Self::Requests,
        Self::Httpx,
        Self::HttpxHttp2,
        Self::Urllib,
        Self::Lenient,
        Self::NodeFetch,
        Self::NodeFetchClosing,
        Self::NodeHttp2Beside,
        Self::Java,
        Self::ChromiumDownload,
        Self::ChromiumFetch,
    ];

    /// Those that ask for a content coding and decode it: some do by themselves.
    pub(crate) const DECODING: [Self; 10] = [
        Self::CurlDecoding,
        Self::CurlHttp2Decoding,
        Self::WgetDecoding,
        Self::Aria2Decoding,
        Self::Requests,
        Self::Httpx,
        Self::HttpxHttp2,
        Self::NodeFetch,
        Self::ChromiumDownload,
        Self::ChromiumFetch,
    ];

    /// Says whether the client speaks HTTP/2 from the first byte.
    pub(crate) fn is_http2(self) -> bool {
        matches!(
            self,
            Self::CurlHttp2 | Self::HttpxHttp2 | Self::NodeHttp2Beside
        )
    }

    /// Downloads `url` to `file` and returns what the client reports. No client tries twice: what
    /// is judged is one transfer.
    ///
    /// # Panics
    /// When the client is not installed or cannot be started: that proves nothing of the transfer.
    pub(crate) fn download(self, url: &str, file: &Path) -> Report {
        match self {
            Self::ChromiumDownload => Chromium::running().get(Way::Download, url, file),
            Self::ChromiumFetch => Chromium::running().get(Way::Fetch, url, file),
            _ => {
                let mut command = self.command(url, file);
                if url.starts_with("https:") {
                    tls::trust(&mut command);
                }
                report_of(command)
            }
        }
    }

    fn command(self, url: &str, file: &Path) -> Command {
        match self {
            Self::Curl => curl(&[], url, file),
            Self::CurlHttp2 => curl(&["--http2-prior-knowledge"], url, file),
            Self::CurlDecoding => curl(&["--compressed"], url, file),
            Self::CurlHttp2Decoding => {
                curl(&["--compressed", "--http2-prior-knowledge"], url, file)
            }
            Self::Wget | Self::WgetDecoding => {
                let mut wget = tools::program("wget");
                if self == Self::WgetDecoding {
                    wget.arg("--compression=auto");
                }
                wget.args([
                    "--no-config",
                    "--no-verbose",
                    "--tries=1",
                    "--output-document",
                ]);
                wget.arg(file).arg(url);
                wget
            }
            Self::Aria2 | Self::Aria2Decoding => {
                let mut aria2 = tools::program("aria2c");
                if self == Self::Aria2Decoding {
                    aria2.arg("--http-accept-gzip=true");
                }
                aria2.args([
                    "--no-conf",
                    "--quiet",
                    "--max-tries=1",
                    "--file-allocation=none",
                ]);
                aria2
                    .arg("--dir")
                    .arg(file.parent().expect("a file in a directory"));
                aria2
                    .arg("--out")
                    .arg(file.file_name().expect("a file with a name"))
                    .arg(url);
                aria2
            }
            Self::Requests => python("get_requests.py", &[], url, file),
            Self::Httpx => python("get_httpx.py", &["http1"], url, file),
            Self::HttpxHttp2 => python("get_httpx.py", &["http2"], url, file),
            Self::Urllib => python("get_urllib.py", &[], url, file),
            Self::Lenient => python("get_lenient.py", &[], url, file),
            Self::HalfClosing => {
                let mut python = python("get_lenient.py", &[], url, file);
                python.arg("half-close");
                python
            }
            Self::NodeHttp2Beside => {
                let mut node = tools::program("node");
                node.arg(tools::client_script("get_http2_beside.mjs"))
                    .arg(url)
                    .arg(file);
                node
            }
            Self::NodeFetch | Self::NodeFetchClosing => {
                let mut node = tools::program("node");
                node.arg(tools::client_script("get_fetch.mjs"))
                    .arg(url)
                    .arg(file);
                if self == Self::NodeFetchClosing {
                    node.arg("close");
                }
                node
            }
            Self::Java => {
                let mut java = tools::program("java");
                // Most of a short run is start-up: no optimising compiler, no parallel collector.
                java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-classpath"]);
                java.arg(java_classes())
                    .arg("GetHttpClient")
                    .arg(url)
                    .arg(file);
                java
            }
            Self::ChromiumDownload | Self::ChromiumFetch => {
                unreachable!("one process serves all downloads of Chromium")
            }
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Curl => "curl",
            Self::CurlHttp2 => "curl over HTTP/2",
            Self::Wget => "wget",
            Self::Aria2 => "aria2c",
            Self::Requests => "Python requests",
            Self::Httpx => "Python httpx",
            Self::HttpxHttp2 => "httpx over HTTP/2",
            Self::Urllib => "Python urllib",
            Self::Lenient => "a FIN between chunks is the end",
            Self::HalfClosing => "half-closing",
            Self::NodeHttp2Beside => "node HTTP/2 beside a stalled download",
            Self::NodeFetch => "node fetch",
            Self::NodeFetchClosing => "node fetch, Connection: close",
            Self::Java => "Java HttpClient",
            Self::ChromiumDownload => "Chromium download",
            Self::ChromiumFetch => "Chromium fetch",
            Self::CurlDecoding => "curl --compressed",
            Self::CurlHttp2Decoding => "curl HTTP/2 --compressed",
            Self::WgetDecoding => "wget --compression",
            Self::Aria2Decoding => "aria2c, gzip",
        })
    }
}

/// What curl saw of one transfer, beyond success and failure: this is how the tests find out that a
/// way of failing does what its name says.
pub(crate) struct Probe {
    /// The status of the response, 0 if there was none.
    pub(crate) status: u16,
    pub(crate) report: Report,
    /// What was saved.
    pub(crate) body: Vec<u8>,
}

/// Does the same over TLS, with the protocol that the server prefers.
pub(crate) fn probe_tls(url: &str) -> Probe {
    probe_as(url, tls::trust)
}

/// Downloads `url` with curl and returns all that curl saw; also the body of an error response.
pub(crate) fn probe(url: &str) -> Probe {
    probe_as(url, |_| {})
}

fn probe_as(url: &str, set_up: impl FnOnce(&mut Command)) -> Probe {
    let scratch = Scratch::new("probe");
    let body_file = scratch.join("body");
    let status_file = scratch.join("status");
    let mut curl = tools::program("curl");
    curl.args([
        "-q",
        "--silent",
        "--show-error",
        "--write-out",
        "%{http_code}",
        "--output",
    ]);
    curl.arg(&body_file).arg(url);
    set_up(&mut curl);
    curl.stdout(File::create(&status_file).expect("a file can be made"));
    let report = report_of(curl);
    let status = fs::read_to_string(&status_file).expect("curl wrote the status");
    let status = status.parse().expect("the status is a number");
    Probe {
        status,
        report,
        body: fs::read(&body_file).unwrap_or_default(),
    }
}

/// Downloads `url` and panics unless the client reports success and saved bytes of this SHA-256.
pub(crate) fn assert_downloads(client: Client, url: &str, sha256: &str) {
    let scratch = Scratch::new("good");
    let file = scratch.join("body");
    let report = client.download(url, &file);
    assert!(report.is_success(), "{client} did not get {url}: {report}");
    let saved_bytes = fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let saved = noise::sha256_of_file(&file);
    assert!(
        saved == sha256,
        "{client} saved {saved_bytes} other bytes of {url}: SHA-256 {saved}"
    );
}

fn curl(options: &[&str], url: &str, file: &Path) -> Command {
    let mut curl = tools::program("curl");
    curl.arg("-q")
        .args(options)
        .args(["--silent", "--show-error", "--fail", "--output"]);
    curl.arg(file).arg(url);
    curl
}

fn python(script: &str, options: &[&str], url: &str, file: &Path) -> Command {
    let mut python = tools::python();
    python
        .arg(tools::client_script(script))
        .args(options)
        .arg(url)
        .arg(file);
    python
}

/// Runs a client to its end and returns what it reports.
pub(crate) fn report_of(mut command: Command) -> Report {
    let scratch = Scratch::new("client");
    let said_file = scratch.join("stderr");
    let said = File::create(&said_file).expect("a file can be made");
    let mut child = command
        .stderr(said)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let Some(status) = wait::for_exit(&mut child, TIME_LIMIT) else {
        let _ = child.kill();
        let _ = child.wait();
        return Report::Nothing;
    };
    if status.success() {
        return Report::Success;
    }
    let said = fs::read_to_string(&said_file).unwrap_or_default();
    let last_line = said.trim_end().lines().next_back().unwrap_or_default();
    // A script that could not begin says nothing of the transfer.
    for cannot_run in [
        "ModuleNotFoundError",
        "SyntaxError",
        "ClassNotFoundException",
    ] {
        assert!(
            !said.contains(cannot_run),
            "run scripts/install-test-tools: {command:?}: {said}"
        );
    }
    Report::Failure(format!("{status}: {last_line}"))
}

/// Returns the directory of the compiled Java client; compiles it when its source is new.
fn java_classes() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let source = tools::client_script("GetHttpClient.java");
        let sha256 = noise::sha256_of_file(&source);
        let classes = scratch::root().join(format!("java-{}", &sha256[..16]));
        if !classes.exists() {
            // Compiled aside and renamed, because other test processes may do the same now.
            let aside = scratch::root().join(format!("java-{}-{}", &sha256[..16], process::id()));
            let mut javac = tools::program("javac");
            let status = javac.arg("-d").arg(&aside).arg(&source).status();
            assert!(
                status.expect("javac runs").success(),
                "the Java client does not compile"
            );
            if fs::rename(&aside, &classes).is_err() {
                let _ = fs::remove_dir_all(&aside);
            }
        }
        classes
    })
}
