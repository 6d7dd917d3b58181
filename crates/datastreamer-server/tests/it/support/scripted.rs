//! A server of HTTP/1.1 that does what a test says, mistakes included: the test makes each response,
//! and decides where it breaks.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// A request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) target: String,
    /// By names in lower case.
    pub(crate) headers: HashMap<String, String>,
    /// 0 for the first request to this server.
    pub(crate) number: usize,
}

impl Request {
    /// Returns a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the first and the last byte of `Range`.
    pub(crate) fn range(&self) -> Option<(usize, Option<usize>)> {
        let (first, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let last = (!last.is_empty()).then(|| last.parse().expect("a number"));
        Some((first.parse().expect("a number"), last))
    }
}

/// How a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The connection is closed.
    Close,
    /// RST.
    Reset,
    /// Nothing more comes, for a minute.
    Stall,
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    head: String,
    body: Vec<u8>,
    ending: Ending,
    /// So many bytes in each of these times.
    pace: Option<(usize, Duration)>,
}

impl Reply {
    /// A head with this status, `200 OK` for example, and no body yet.
    pub(crate) fn new(status: &str) -> Self {
        Self {
            head: format!("HTTP/1.1 {status}\r\n"),
            body: Vec::new(),
            ending: Ending::Close,
            pace: None,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// A body of stated length.
    pub(crate) fn body(self, body: &[u8]) -> Self {
        let mut reply = self.header("Content-Length", &body.len().to_string());
        reply.body = body.to_vec();
        reply
    }

    /// A body that only the end of the connection ends.
    pub(crate) fn closed(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// A body in chunks, and what is behind the last one: trailers.
    pub(crate) fn chunked(self, body: &[u8], trailers: &str) -> Self {
        let mut reply = self.header("Transfer-Encoding", "chunked");
        for chunk in body.chunks(50_000) {
            reply.body.extend(format!("{:x}\r\n", chunk.len()).bytes());
            reply.body.extend(chunk);
            reply.body.extend(b"\r\n");
        }
        reply.body.extend(format!("0\r\n{trailers}\r\n").bytes());
        reply
    }

    /// Sends only so many bytes of the body.
    pub(crate) fn cut(mut self, bytes: usize, ending: Ending) -> Self {
        self.body.truncate(bytes);
        self.ending = ending;
        self
    }

    pub(crate) fn pace(mut self, bytes: usize, each: Duration) -> Self {
        self.pace = Some((bytes, each));
        self
    }

    fn send(&self, mut to: TcpStream) -> io::Result<()> {
        to.write_all(self.head.as_bytes())?;
        to.write_all(b"\r\n")?;
        let (piece, pause) = self.pace.unwrap_or((usize::MAX, Duration::ZERO));
        for part in self.body.chunks(piece) {
            to.write_all(part)?;
            thread::sleep(pause);
        }
        match self.ending {
            Ending::Close => {}
            Ending::Reset => {
                // What is queued must arrive: a reset throws it away.
                thread::sleep(Duration::from_millis(50));
                SockRef::from(&to).set_linger(Some(Duration::ZERO))?;
            }
            Ending::Stall => thread::sleep(Duration::from_secs(60)),
        }
        Ok(())
    }
}

/// The server, which lives as long as the process.
pub(crate) struct Scripted {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Scripted {
    /// Starts it; each request has a connection of its own.
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, requests) = (Arc::new(answer), seen.clone());
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let Ok(mut request) = read_request(&connection) else {
                    continue;
                };
                let mut seen = requests.lock().expect("nobody panics here");
                request.number = seen.len();
                seen.push(request.clone());
                drop(seen);
                let answer = answer.clone();
                // A client that leaves is not the server's concern.
                thread::spawn(move || answer(&request).send(connection));
            }
        });
        Self { port, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns all requests so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("nobody panics here").clone()
    }
}

fn read_request(from: &TcpStream) -> io::Result<Request> {
    let mut lines = BufReader::new(from).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Ok(Request {
        target,
        headers,
        number: 0,
    })
}

/// A file as a server should serve it.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) etag: &'static str,
}

impl Served {
    /// Answers with the whole file, or with the range if the condition holds.
    pub(crate) fn answer(&self, request: &Request) -> Reply {
        let (length, fresh) = (self.bytes.len(), Some(self.etag));
        let common = |reply: Reply| {
            reply
                .header("ETag", self.etag)
                .header("Accept-Ranges", "bytes")
        };
        match request.range() {
            Some((first, _)) if request.header("if-range") == fresh && first >= length => {
                let range = format!("bytes */{length}");
                common(Reply::new("416 Range Not Satisfiable"))
                    .header("Content-Range", &range)
                    .body(b"")
            }
            Some((first, last)) if request.header("if-range") == fresh => {
                let end = last.map_or(length, |last| (last + 1).min(length));
                common(Reply::new("206 Partial Content"))
                    .header(
                        "Content-Range",
                        &format!("bytes {first}-{}/{length}", end - 1),
                    )
                    .body(&self.bytes[first..end])
            }
            _ => common(Reply::new("200 OK")).body(&self.bytes),
        }
    }
}
