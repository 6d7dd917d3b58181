//! A raw HTTP/1 client that sees every byte of the framing, and how the connection ended.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

/// The limit of a read: far longer than every deadline that is tested.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By its framing: the last chunk, or the last byte of a known length.
    Whole,
    /// By ECONNRESET.
    Reset,
    /// By a FIN before the framing's end: what some clients take for the end of the file.
    Fin,
    /// Nothing was received any more.
    Nothing,
}

/// A response's head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

/// A response, as far as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Head {
    /// Returns a header's value; the name is lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the names of the headers, in their order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Returns all values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn content_length(&self) -> Option<usize> {
        self.get("content-length")
            .map(|length| length.parse().unwrap())
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.get("transfer-encoding") == Some("chunked")
    }
}

/// A connection.
pub(crate) struct Raw {
    input: BufReader<Paced>,
    output: TcpStream,
}

/// Limits the rate of reading.
struct Paced {
    tcp: TcpStream,
    /// 0: no limit.
    bytes_per_second: u64,
}

impl Read for Paced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.tcp.read(buffer)?;
        if self.bytes_per_second > 0 {
            thread::sleep(Duration::from_secs_f64(
                read as f64 / self.bytes_per_second as f64,
            ));
        }
        Ok(read)
    }
}

impl Raw {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// Connects with a receive buffer so small that a slow reader slows down the server.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    fn over(tcp: TcpStream) -> Self {
        tcp.set_read_timeout(Some(READ_LIMIT)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let input = Paced {
            tcp: tcp.try_clone().unwrap(),
            bytes_per_second: 0,
        };
        Self {
            input: BufReader::with_capacity(16 * 1024, input),
            output: tcp,
        }
    }

    /// Sends nothing more, and reads on.
    pub(crate) fn half_close(&mut self) {
        self.output.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.output);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Limits the rate of reading from now on.
    pub(crate) fn pace(&mut self, bytes_per_second: u64) {
        self.input.get_mut().bytes_per_second = bytes_per_second;
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.output.write_all(text.as_bytes()).unwrap();
    }

    /// Requests a path with HTTP/1.1.
    pub(crate) fn ask(&mut self, path: &str) {
        self.ask_with(path, "");
    }

    /// Requests a path with more header lines, each ended by CR LF.
    pub(crate) fn ask_with(&mut self, path: &str, headers: &str) {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
        ));
    }

    /// Requests a path and reads the complete response.
    pub(crate) fn get(&mut self, path: &str) -> Received {
        self.ask(path);
        self.read_response()
    }

    pub(crate) fn read_response(&mut self) -> Received {
        let head = self.read_head();
        let (body, end) = self.read_body(&head);
        Received { head, body, end }
    }

    /// Reads a head.
    ///
    /// # Panics
    /// When the connection ends before the head does.
    pub(crate) fn read_head(&mut self) -> Head {
        let status_line = self.read_line().expect("a status line");
        let status = status_line.split(' ').nth(1).expect("a status");
        let mut head = Head {
            status: status.parse().expect("a number"),
            headers: Vec::new(),
        };
        loop {
            let line = self.read_line().expect("a header or the end of the head");
            if line.is_empty() {
                return head;
            }
            let (name, value) = line.split_once(": ").expect("a header");
            head.headers
                .push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// Reads a body to its end, whatever that is; keeps every byte that belongs to the framing.
    pub(crate) fn read_body(&mut self, head: &Head) -> (Vec<u8>, End) {
        let mut body = Vec::new();
        let end = match head.content_length() {
            Some(length) => self.read_counted(length, &mut body),
            None => self.read_chunked(&mut body),
        };
        (body, end.err().unwrap_or(End::Whole))
    }

    /// Reads at least this many bytes of a chunked body, and no further chunk.
    pub(crate) fn read_at_least(&mut self, bytes: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < bytes {
            self.read_chunk(&mut body).expect("a chunk");
        }
        body
    }

    /// Reads all remaining bytes without parsing them.
    pub(crate) fn read_rest(&mut self) -> (Vec<u8>, End) {
        let mut rest = Vec::new();
        let end = match self.input.read_to_end(&mut rest) {
            Ok(_) => End::Fin,
            Err(error) => end_of(&error),
        };
        (rest, end)
    }

    /// Reads after a response until the server closes the connection; returns how it did.
    pub(crate) fn read_close(&mut self) -> End {
        let mut byte = [0];
        match self.input.read(&mut byte) {
            Ok(0) => End::Fin,
            Ok(_) => panic!("a byte beyond the response: {byte:?}"),
            Err(error) => end_of(&error),
        }
    }

    fn read_chunked(&mut self, body: &mut Vec<u8>) -> Result<(), End> {
        while self.read_chunk(body)? > 0 {}
        Ok(())
    }

    /// Reads one chunk, the last one included; returns its length.
    fn read_chunk(&mut self, body: &mut Vec<u8>) -> Result<usize, End> {
        let size = self.read_line()?;
        let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
        self.read_counted(size, body)?;
        assert_eq!(self.read_line()?, "", "the end of a chunk");
        Ok(size)
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

    /// Reads a line without its CR LF.
    fn read_line(&mut self) -> Result<String, End> {
        let mut line = String::new();
        let read = self.input.read_line(&mut line);
        read.map_err(|error| end_of(&error))?;
        line.strip_suffix("\r\n").map(str::to_owned).ok_or(End::Fin)
    }
}

fn end_of(error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::ConnectionReset => End::Reset,
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => End::Nothing,
        _ => panic!("{error}"),
    }
}

/// Connects, requests a path, and returns when its end was received.
pub(crate) fn get(address: SocketAddr, path: &str) -> (Received, Instant) {
    let received = Raw::connect(address).get(path);
    (received, Instant::now())
}
