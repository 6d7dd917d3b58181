//! A raw HTTP/1.1 client for one connection: it says how a response and the connection ended.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// What a read may take: far beyond every deadline that is tested.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By its framing.
    Whole,
    /// By ECONNRESET.
    Reset,
    /// By a FIN before the framing's end.
    Fin,
}

/// A response as far as it came.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Response {
    /// Returns a header's value; the name is lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Panics unless this is a problem as RFC 9457 has it; returns its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(self.end, End::Whole);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().expect("a detail").to_owned()
    }
}

/// A connection.
pub(crate) struct Connection {
    input: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(port: u16) -> Self {
        Self::try_open(port).expect("the server accepts")
    }

    pub(crate) fn try_open(port: u16) -> io::Result<Self> {
        Ok(Self::over(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?))
    }

    /// Connects with a receive buffer so small that the server soon feels that nobody reads.
    pub(crate) fn open_narrow(port: u16) -> Self {
        Self::open_narrow_from(Ipv4Addr::LOCALHOST, port)
    }

    /// Connects as another client of this machine: all addresses of 127.0.0.0/8 are its own.
    pub(crate) fn open_from(client: Ipv4Addr, port: u16) -> Self {
        Self::over(connect_from(client, port, None))
    }

    /// Does the same, with a receive buffer so small that the server soon feels that nobody reads.
    pub(crate) fn open_narrow_from(client: Ipv4Addr, port: u16) -> Self {
        Self::over(connect_from(client, port, Some(16 * 1024)))
    }

    /// Connects, for an answer that may take as long as a plan and a query may.
    pub(crate) fn open_patient(port: u16) -> Self {
        let connection = Self::open(port);
        let socket = connection.input.get_ref();
        socket
            .set_read_timeout(Some(2 * READ_LIMIT))
            .expect("a limit");
        connection
    }

    fn over(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(READ_LIMIT)).expect("a limit");
        socket.set_nodelay(true).expect("an option");
        Self {
            input: BufReader::new(socket),
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        let sent = self.input.get_mut().write_all(text.as_bytes());
        sent.expect("the server listens");
    }

    /// Sends what the server may refuse to read to its end.
    pub(crate) fn send_if_wanted(&mut self, text: &str) {
        let _refused = self.input.get_mut().write_all(text.as_bytes());
    }

    /// Sends nothing more, and reads on.
    pub(crate) fn half_close(&mut self) {
        let closed = self.input.get_mut().shutdown(Shutdown::Write);
        closed.expect("the server is there");
    }

    pub(crate) fn ask(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.ask(path);
        self.read_response()
    }

    pub(crate) fn read_response(&mut self) -> Response {
        let mut response = self.read_head();
        response.end = match self.read_body(&mut response) {
            Ok(()) => End::Whole,
            Err(end) => end,
        };
        response
    }

    /// Reads a head; the body is left unread.
    pub(crate) fn read_head(&mut self) -> Response {
        self.try_read_head().expect("a head")
    }

    /// Reads a head, or how the connection ended before it.
    pub(crate) fn try_read_head(&mut self) -> Result<Response, End> {
        let status_line = self.read_line()?;
        let status = status_line.split(' ').nth(1).expect("a status");
        let mut response = Response {
            status: status.parse().expect("a number"),
            headers: Vec::new(),
            body: Vec::new(),
            end: End::Fin,
        };
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(response);
            }
            let (name, value) = line.split_once(": ").expect("a header");
            let header = (name.to_ascii_lowercase(), value.to_owned());
            response.headers.push(header);
        }
    }

    /// Reads the body behind a head.
    pub(crate) fn read_body(&mut self, response: &mut Response) -> Result<(), End> {
        // They have none (RFC 9112, 6.3).
        if matches!(response.status, 204 | 304) {
            return Ok(());
        }
        if let Some(length) = response.header("content-length") {
            let length = length.parse().expect("a number");
            return self.read_counted(length, &mut response.body);
        }
        loop {
            let size = self.read_line()?;
            let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
            self.read_counted(size, &mut response.body)?;
            assert_eq!(self.read_line()?, "", "the end of a chunk");
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Reads the body behind a head, and keeps only the beginning of it.
    pub(crate) fn discard_body(&mut self, response: &mut Response) -> Result<(), End> {
        const KEPT: usize = 10_000;
        if response.header("content-length").is_some() {
            return self.read_body(response);
        }
        loop {
            let size = self.read_line()?;
            let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
            self.read_counted(size, &mut response.body)?;
            response.body.truncate(KEPT);
            assert_eq!(self.read_line()?, "", "the end of a chunk");
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Reads so many bytes of a body behind its head.
    pub(crate) fn read_part(&mut self, bytes: usize) -> Vec<u8> {
        let mut part = vec![0; bytes];
        self.input.read_exact(&mut part).expect("so many bytes");
        part
    }

    /// Reads what comes when no more is asked: how the server closes.
    pub(crate) fn read_close(&mut self) -> End {
        let mut byte = [0];
        match self.input.read(&mut byte) {
            Ok(0) => End::Fin,
            Ok(_) => panic!("a byte beyond the response: {byte:?}"),
            Err(error) => end_of(&error),
        }
    }

    /// Reads at most so many bytes of whatever comes.
    pub(crate) fn read_some(&mut self, bytes: usize) -> Result<usize, End> {
        let there = self.input.fill_buf().map_err(|error| end_of(&error))?;
        let taken = there.len().min(bytes);
        self.input.consume(taken);
        match taken {
            0 => Err(End::Fin),
            taken => Ok(taken),
        }
    }

    fn read_counted(&mut self, bytes: usize, body: &mut Vec<u8>) -> Result<(), End> {
        let whole = body.len() + bytes;
        while body.len() < whole {
            let there = self.input.fill_buf().map_err(|error| end_of(&error))?;
            if there.is_empty() {
                return Err(End::Fin);
            }
            let taken = there.len().min(whole - body.len());
            body.extend_from_slice(&there[..taken]);
            self.input.consume(taken);
        }
        Ok(())
    }

    fn read_line(&mut self) -> Result<String, End> {
        let mut line = String::new();
        let read = self.input.read_line(&mut line);
        read.map_err(|error| end_of(&error))?;
        line.strip_suffix("\r\n").map(str::to_owned).ok_or(End::Fin)
    }
}

fn connect_from(client: Ipv4Addr, port: u16, receive_bytes: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let own = SocketAddr::from((client, 0));
    socket
        .bind(&own.into())
        .expect("an address of this machine");
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes).expect("a size");
    }
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.connect(&server.into()).expect("the server accepts");
    socket.into()
}

fn end_of(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset => End::Reset,
        _ => panic!("nothing came within {READ_LIMIT:?}: {error}"),
    }
}

/// What a browser says that it prefers.
pub(crate) const BROWSER: &str =
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Gets a path over a connection of its own.
pub(crate) fn get(port: u16, path: &str) -> Response {
    Connection::open(port).get(path)
}

/// Gets a path with one more header.
pub(crate) fn get_with(port: u16, path: &str, header: &str) -> Response {
    let mut connection = Connection::open(port);
    connection.send(&format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n"
    ));
    connection.read_response()
}

/// Asks for the head of a path's response alone.
pub(crate) fn head(port: u16, path: &str) -> Response {
    let mut connection = Connection::open(port);
    connection.send(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    connection.read_head()
}

/// Sends a body with a method, for example `POST`.
pub(crate) fn send(port: u16, method: &str, path: &str, media_type: &str, body: &str) -> Response {
    let mut connection = Connection::open(port);
    connection.send(&format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    connection.read_response()
}

/// Percent-encodes a parameter's value.
pub(crate) fn encode(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns what the server tells of its transfers.
pub(crate) fn transfers(port: u16) -> Value {
    get(port, "/transfers").json()
}
