//! A client that uses little CPU: HTTP/1.1 over a plain `TcpStream`, one request per connection, a
//! 256 KiB buffer; it parses chunk headers and skips the payload. It reads a response and counts
//! its payload exactly; it does not judge figures.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Large enough that a read is one copy out of a full receive queue, small
/// enough to stay in the second-level cache.
const BUFFER_BYTES: usize = 256 * 1024;

/// A response head has a few hundred bytes; a larger one is not from the measured servers.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A server that sends nothing for this long is broken.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A response whose head was read.
#[derive(Debug)]
pub(crate) struct Response {
    stream: TcpStream,
    framing: Framing,
    /// Body bytes that came with the head, still in their framing.
    early: Vec<u8>,
    /// [`Response::read_some`] has come to the body's end.
    ended: bool,
}

/// Connects, sends one request, and reads the head and only the bytes that came with it.
///
/// # Errors
/// If the server cannot be reached or does not respond with `200`.
pub(crate) fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    read_head(send(address, path)?)
}

/// Connects and sends one request without waiting for the response.
pub(crate) fn send(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// Connects to a server of this machine from another address of it each time: the program limits
/// the streams of one client.
fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    static CLIENTS: AtomicU32 = AtomicU32::new(0);
    /// Of the last 16 bits of an address: 127.1.0.1 to 127.1.254.254.
    const MOST: u32 = 254 * 254;
    let IpAddr::V4(Ipv4Addr::LOCALHOST) = server.ip() else {
        return TcpStream::connect(server);
    };
    let client = CLIENTS.fetch_add(1, Ordering::Relaxed) % MOST;
    let [third, fourth] = [client / 254, client % 254 + 1].map(|part| part as u8);
    let own = SocketAddr::from((Ipv4Addr::new(127, 1, third, fourth), 0));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&own.into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

fn read_head(mut stream: TcpStream) -> io::Result<Response> {
    let mut received = Vec::with_capacity(1_024);
    let mut buffer = [0; 1_024];
    let head_bytes = loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let count = stream.read(&mut buffer)?;
        if count == 0 || received.len() > HEAD_BYTES_MAX {
            return Err(invalid("the response's head does not end"));
        }
        received.extend_from_slice(&buffer[..count]);
    };
    let early = received.split_off(head_bytes);
    let framing = Framing::of(&String::from_utf8_lossy(&received))?;
    Ok(Response {
        stream,
        framing,
        early,
        ended: false,
    })
}

impl Response {
    /// Reads to the end of the body and returns the number of payload bytes.
    ///
    /// # Errors
    /// When the body ends early or its framing is broken.
    pub(crate) fn count(self) -> io::Result<u64> {
        self.drain(|_| ())
    }

    /// Reads to the end of the body, handing every run of payload to `sink`.
    pub(crate) fn drain(mut self, mut sink: impl FnMut(&[u8])) -> io::Result<u64> {
        let mut step = self.framing.take(&self.early, &mut sink)?;
        let mut payload_bytes = step.payload_bytes;
        let mut buffer = vec![0; BUFFER_BYTES];
        while !step.ended {
            let count = self.read(&mut buffer)?;
            step = self.framing.take(&buffer[..count], &mut sink)?;
            payload_bytes += step.payload_bytes;
        }
        Ok(payload_bytes)
    }

    /// Reads at most `read_bytes` at a time until `payload_bytes` of payload or
    /// the body's end arrived; returns how many did: none after the end. May be
    /// called again.
    pub(crate) fn read_some(&mut self, payload_bytes: u64, read_bytes: usize) -> io::Result<u64> {
        if self.ended {
            return Ok(0);
        }
        let early = std::mem::take(&mut self.early);
        let mut step = self.framing.take(&early, &mut |_| ())?;
        let mut arrived_bytes = step.payload_bytes;
        let mut buffer = vec![0; read_bytes];
        while !step.ended && arrived_bytes < payload_bytes {
            let count = self.read(&mut buffer)?;
            step = self.framing.take(&buffer[..count], &mut |_| ())?;
            arrived_bytes += step.payload_bytes;
        }
        self.ended = step.ended;
        Ok(arrived_bytes)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

/// How the end of the body is recognised, and how much was read.
#[derive(Debug)]
enum Framing {
    Length { left_bytes: u64 },
    Chunked(Chunked),
}

/// The result of parsing one run of received bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    payload_bytes: u64,
    ended: bool,
}

impl Framing {
    /// Parses the status and the framing of a response's head.
    fn of(head: &str) -> io::Result<Self> {
        let status = head.split_whitespace().nth(1).unwrap_or_default();
        if status != "200" {
            let first = head.lines().next().unwrap_or_default();
            return Err(invalid(&format!("the server answered: {first}")));
        }
        let field = |wanted: &str| {
            let mut fields = head.lines().filter_map(|line| line.split_once(':'));
            fields
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.trim())
        };
        if let Some(length) = field("content-length") {
            let left_bytes = length.parse().map_err(|_| invalid("bad Content-Length"))?;
            return Ok(Self::Length { left_bytes });
        }
        match field("transfer-encoding") {
            Some(coding) if coding.eq_ignore_ascii_case("chunked") => {
                Ok(Self::Chunked(Chunked::Size { bytes: 0 }))
            }
            _ => Err(invalid(
                "neither Content-Length nor chunked: the end cannot be seen",
            )),
        }
    }

    fn take(&mut self, received: &[u8], sink: &mut impl FnMut(&[u8])) -> io::Result<Step> {
        match self {
            Self::Chunked(chunked) => chunked.take(received, sink),
            Self::Length { left_bytes } => {
                let count = received.len() as u64;
                *left_bytes = left_bytes
                    .checked_sub(count)
                    .ok_or_else(|| invalid("too long"))?;
                sink(received);
                Ok(Step {
                    payload_bytes: count,
                    ended: *left_bytes == 0,
                })
            }
        }
    }
}

/// The reader's position in the chunked coding (RFC 9112, section 7.1).
#[derive(Debug, Clone, Copy)]
enum Chunked {
    /// Within the hexadecimal size.
    Size {
        bytes: u64,
    },
    /// After the size, before its line feed.
    Extension {
        bytes: u64,
    },
    /// Within the payload.
    Payload {
        left_bytes: u64,
    },
    /// Before the line feed that follows the payload.
    PayloadEnd,
    /// In the trailer section; `empty` as long as the line has no characters.
    Trailer {
        empty: bool,
    },
    Ended,
}

impl Chunked {
    fn take(&mut self, mut rest: &[u8], sink: &mut impl FnMut(&[u8])) -> io::Result<Step> {
        let mut payload_bytes = 0;
        while let Some((&first, others)) = rest.split_first() {
            if let Self::Payload { left_bytes } = *self {
                let count = left_bytes.min(rest.len() as u64);
                let (payload, after) = rest.split_at(count as usize);
                sink(payload);
                payload_bytes += count;
                rest = after;
                *self = Self::payload(left_bytes - count);
            } else {
                *self = self.after(first)?;
                rest = others;
            }
        }
        Ok(Step {
            payload_bytes,
            ended: matches!(self, Self::Ended),
        })
    }

    const fn payload(left_bytes: u64) -> Self {
        if left_bytes == 0 {
            Self::PayloadEnd
        } else {
            Self::Payload { left_bytes }
        }
    }

    /// The state after one byte outside the payload.
    fn after(self, byte: u8) -> io::Result<Self> {
        match (self, byte) {
            (Self::Size { bytes } | Self::Extension { bytes }, b'\n') if bytes > 0 => {
                Ok(Self::payload(bytes))
            }
            (Self::Size { .. } | Self::Extension { .. }, b'\n') => {
                Ok(Self::Trailer { empty: true })
            }
            (Self::Size { bytes }, b'\r' | b';') => Ok(Self::Extension { bytes }),
            (Self::Size { bytes }, digit) => match char::from(digit).to_digit(16) {
                Some(digit) => Ok(Self::Size {
                    bytes: (bytes << 4) | u64::from(digit),
                }),
                None => Err(invalid("bad chunk size")),
            },
            (Self::Extension { bytes }, _) => Ok(Self::Extension { bytes }),
            (Self::PayloadEnd, b'\r') => Ok(Self::PayloadEnd),
            (Self::PayloadEnd, b'\n') => Ok(Self::Size { bytes: 0 }),
            (Self::Trailer { empty: true }, b'\n') => Ok(Self::Ended),
            (Self::Trailer { empty: true }, b'\r') => Ok(self),
            (Self::Trailer { .. }, byte) => Ok(Self::Trailer {
                empty: byte == b'\n',
            }),
            (Self::PayloadEnd | Self::Payload { .. } | Self::Ended, _) => {
                Err(invalid("bytes where none belong"))
            }
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"5\r\nhello\r\n00a;x=y\r\n 01234\r\n89\r\n0\r\nT: v\r\n\r\n";

    fn decode(message: &[u8], run_bytes: usize) -> io::Result<(Vec<u8>, Step)> {
        let mut chunked = Chunked::Size { bytes: 0 };
        let (mut payload, mut last) = (Vec::new(), Step::default());
        for run in message.chunks(run_bytes) {
            last = chunked.take(run, &mut |bytes| payload.extend_from_slice(bytes))?;
        }
        Ok((payload, last))
    }

    #[test]
    fn chunks_are_decoded_however_the_reads_fall() {
        for run_bytes in 1..=MESSAGE.len() {
            let (payload, last) = decode(MESSAGE, run_bytes).unwrap();
            assert_eq!(payload, b"hello 01234\r\n89", "reads of {run_bytes}");
            assert!(last.ended);
        }
    }

    #[test]
    fn a_body_without_its_last_chunk_has_not_ended() {
        let (_, last) = decode(&MESSAGE[..MESSAGE.len() - 2], 7).unwrap();
        assert!(!last.ended);
    }

    #[test]
    fn a_broken_size_is_an_error() {
        assert!(decode(b"5\r\nhello\r\nxyz\r\n", 64).is_err());
    }

    #[test]
    fn an_answer_other_than_200_is_an_error() {
        assert!(Framing::of("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").is_err());
    }
}
