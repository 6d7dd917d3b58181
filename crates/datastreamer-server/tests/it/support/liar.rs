//! A server that does what the program must never do: it ends a truncated file cleanly. It proves
//! that the tests can tell the difference, by being the one whom every client believes.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::noise;

/// What is sent: less than HTTP/2's first window (65,535 bytes) and its largest first frame
/// (16,384), so that one frame without flow control will do.
const SENT_BYTES: usize = 10_000;

/// Starts the server, which lives as long as the process, and returns the URL of its only file.
pub(crate) fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            // A client that hangs up is not the liar's concern.
            thread::spawn(move || answer(connection));
        }
    });
    format!("http://127.0.0.1:{port}/half.bin")
}

fn answer(mut connection: TcpStream) -> io::Result<()> {
    let mut first = [0; 4];
    connection.read_exact(&mut first)?;
    match &first {
        b"PRI " => answer_http2(connection),
        _ => answer_http1(connection),
    }
}

fn answer_http1(mut connection: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let mut response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n\r\n{SENT_BYTES:x}\r\n"
    )
    .into_bytes();
    response.extend(noise::bytes(0, SENT_BYTES));
    response.extend(b"\r\n0\r\n\r\n");
    connection.write_all(&response)
}

/// Just as much of RFC 9113 as it takes to answer the first request with a file.
fn answer_http2(mut connection: TcpStream) -> io::Result<()> {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const END_STREAM: u8 = 1;
    const ACK: u8 = 1;
    const END_HEADERS: u8 = 4;
    const STATUS_200: u8 = 0x88; // entry 8 of HPACK's static table

    let mut rest_of_preface = [0; "* HTTP/2.0\r\n\r\nSM\r\n\r\n".len()];
    connection.read_exact(&mut rest_of_preface)?;
    connection.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    connection.write_all(&frame(SETTINGS, ACK, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        connection.read_exact(&mut payload)?;
        if head[3] == HEADERS {
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            connection.write_all(&frame(HEADERS, END_HEADERS, stream, &[STATUS_200]))?;
            let body = noise::bytes(0, SENT_BYTES);
            connection.write_all(&frame(DATA, END_STREAM, stream, &body))?;
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short payload")
        .to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}
