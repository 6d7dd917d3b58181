//! The clients: curl, Python's urllib, and a plain socket that reads only what it is told to.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use socket2::{Domain, Socket, Type};

/// No short transfer takes this long, unless it hangs.
pub const SHORT_MAX: Duration = Duration::from_secs(10);

/// The exit code of curl for a transfer that took too long (curl.se/docs/manpage.html).
const CURL_TIMED_OUT: i32 = 28;

/// A client's own buffer in the kernel, where a measurement is about what the server holds.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// A client that downloads to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// curl.
    Curl,
    /// curl with HTTP/1.0, the version of many proxies.
    CurlHttp10,
    /// urllib of Python.
    Urllib,
}

/// All clients, in the order of the tables.
pub const ALL: [Client; 3] = [Client::Curl, Client::CurlHttp10, Client::Urllib];

/// What a client reports at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// The status of the response; 0: there was none.
    pub status: u16,
    /// The bytes that it received.
    pub bytes: u64,
    /// Its error; `None`: it ended successfully.
    pub error: Option<String>,
    /// Whether it had to be stopped.
    pub hung: bool,
    /// From the request until the last byte, in seconds; only of curl.
    pub seconds: f64,
}

impl Client {
    /// Downloads a path, within this time.
    ///
    /// # Errors
    /// That of the operating system, if the client cannot be started.
    pub fn fetch(self, address: SocketAddr, path: &str, max: Duration) -> io::Result<Fetched> {
        let url = format!("http://{address}{path}");
        let seconds = max.as_secs_f64().to_string();
        match self {
            Self::Curl => curl(&seconds, &[&url]),
            Self::CurlHttp10 => curl(&seconds, &["--http1.0", &url]),
            Self::Urllib => urllib(&seconds, &url),
        }
    }
}

/// Runs curl with these arguments as well.
fn curl(seconds: &str, arguments: &[&str]) -> io::Result<Fetched> {
    let output = Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--max-time", seconds])
        .args(["--output", "/dev/null", "--write-out"])
        .arg("%{http_code} %{size_download} %{time_total}")
        .args(arguments)
        .output()?;
    let code = output.status.code().unwrap_or(-1);
    Ok(Fetched {
        hung: code == CURL_TIMED_OUT,
        ..fetched(&output.stdout, (code != 0).then(|| code.to_string()))
    })
}

/// Returns how many bytes curl writes, also before an error: its own count leaves out the last buffer
/// then.
///
/// # Errors
/// That of the operating system, if curl cannot be started.
pub fn received_bytes(address: SocketAddr, path: &str) -> io::Result<u64> {
    let output = Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--max-time"])
        .arg(SHORT_MAX.as_secs().to_string())
        .arg(format!("http://{address}{path}"))
        .output()?;
    Ok(output.stdout.len() as u64)
}

/// Prints status, bytes and, after a failure, the name of the exception.
const URLLIB: &str = r#"
import sys, urllib.request, urllib.error
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
status, size = 0, 0
try:
    with opener.open(sys.argv[1], timeout=float(sys.argv[2])) as response:
        status = response.status
        while chunk := response.read(1 << 16):
            size += len(chunk)
    print(status, size, 0)
except urllib.error.HTTPError as error:
    print(error.code, size, 0)
except Exception as error:
    print(status, size, 0, type(error).__name__)
"#;

fn urllib(seconds: &str, url: &str) -> io::Result<Fetched> {
    let output = Command::new("python3")
        .args(["-c", URLLIB, url, seconds])
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = text.split_whitespace().nth(3).map(str::to_owned);
    Ok(Fetched {
        hung: error.as_deref() == Some("TimeoutError"),
        ..fetched(&output.stdout, error)
    })
}

fn fetched(line: &[u8], error: Option<String>) -> Fetched {
    let text = String::from_utf8_lossy(line);
    let mut words = text.split_whitespace();
    let mut next = || words.next().unwrap_or_default();
    Fetched {
        status: next().parse().unwrap_or_default(),
        bytes: next().parse().unwrap_or_default(),
        seconds: next().parse().unwrap_or_default(),
        error,
        hung: false,
    }
}

/// Sends a request and reads the response's head, and nothing else.
///
/// # Errors
/// That of the connection.
pub fn read_head(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.connect(&address.into())?;
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut tail = [0; 4];
    while tail != *b"\r\n\r\n" {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        tail.rotate_left(1);
        tail[3] = byte[0];
    }
    Ok(socket)
}

/// Reads whatever arrives within this time.
///
/// # Errors
/// That of the connection, or its end.
pub fn read_for(socket: &mut TcpStream, time: Duration) -> io::Result<()> {
    let end = std::time::Instant::now() + time;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Downloads a short text.
///
/// # Errors
/// That of the connection.
pub fn get_text(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    let body = response.split_once("\r\n\r\n").map(|(_, body)| body);
    Ok(body.unwrap_or_default().to_owned())
}
