//! A stream as the body of a response, looked at from the other end of a socket. What the response's
//! head says is datastreamer-http's; here is the body only.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc::channel},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use datastreamer::{ErrorKind, Outcome, PoolOptions, StreamOptions, StreamPool};
use datastreamer_testkit::{
    DEADLINE, Probe, Source, endless, eventually, fails_after, noise, noise_source, panics_after,
    within, writes,
};

/// Serves a source once, at `/`; returns where.
fn serve(options: StreamOptions, source: Source) -> SocketAddr {
    let once = Arc::new(Mutex::new(Some((options, source))));
    let answer = move || {
        let (options, source) = once.lock().unwrap().take().unwrap();
        async move { Body::new(options.stream_out(source)) }
    };
    start(Router::new().route("/", get(answer)))
}

fn start(router: Router) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}

fn ask(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        .unwrap();
    socket
}

/// What a client has read off the wire.
#[derive(Default)]
struct Wire {
    head: String,
    body: Vec<u8>,
    /// The last chunk came (RFC 9112, 7.1).
    last_chunk: bool,
}

/// Reads a chunked response until the last chunk or the end of the connection.
fn read_chunked(mut socket: TcpStream) -> Wire {
    let mut raw = Vec::new();
    let mut piece = [0; 65_536];
    loop {
        if let Some(wire) = decode(&raw).filter(|wire| wire.last_chunk) {
            return wire;
        }
        match socket.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => raw.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    // A response that fails at once may not even have a head.
    decode(&raw).unwrap_or_default()
}

/// Decodes what has come so far; `None` before the head is there.
fn decode(raw: &[u8]) -> Option<Wire> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let mut wire = Wire {
        head: String::from_utf8(raw[..end].to_vec())
            .unwrap()
            .to_lowercase(),
        body: Vec::new(),
        last_chunk: false,
    };
    let mut rest = &raw[end + 4..];
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[line + 2..];
        wire.last_chunk = size == 0;
        let Some(chunk) = rest.get(..size) else {
            wire.body.extend_from_slice(rest);
            break;
        };
        wire.body.extend_from_slice(chunk);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
    Some(wire)
}

#[test]
fn c14_a_whole_stream_is_a_whole_response() {
    for bytes in [0, 1, 1_500_000] {
        let wire = read_chunked(ask(serve(StreamOptions::new(), noise_source(bytes, 1000))));
        assert!(wire.head.starts_with("http/1.1 200"), "{}", wire.head);
        assert!(
            wire.head.contains("transfer-encoding: chunked"),
            "{}",
            wire.head
        );
        assert!(wire.body == noise(bytes as usize));
        assert!(wire.last_chunk);
    }
}

#[test]
fn c20_over_http_1_a_failure_is_a_connection_without_the_last_chunk() {
    // What hyper holds and the system has not sent may be lost when the socket is closed with an
    // error. That nothing is lost on the way to the socket is tested without one.
    const LOST_MAX: usize = 1_500_000;
    for round in 0..20 {
        let bytes = round * 150_007;
        for source in [fails_after(bytes, 500), panics_after(bytes, 500)] {
            let wire = read_chunked(ask(serve(StreamOptions::new(), source)));
            assert!(
                !wire.last_chunk,
                "a part of {bytes} bytes passed for a file"
            );
            assert!(wire.body == noise(wire.body.len()));
            let received = wire.body.len();
            assert!(
                received + LOST_MAX >= bytes as usize,
                "{received} of {bytes}"
            );
            assert!(
                (bytes as usize) < LOST_MAX || wire.head.starts_with("http/1.1 200"),
                "{}",
                wire.head
            );
        }
    }
}

#[test]
fn c20_over_http_1_with_a_length_a_failure_leaves_the_body_short() {
    // So much that the head must go out before the failure is known.
    let promised = 3_000_000;
    for (bytes, source) in [
        (promised - 1, noise_source(promised - 1, 5000)),
        (promised, fails_after(promised, 5000)),
        (promised + 1, noise_source(promised + 1, 5000)),
    ] {
        let mut socket = ask(serve(StreamOptions::new().length(promised), source));
        let mut raw = Vec::new();
        // Either end of the connection is fine, as long as it comes.
        drop(socket.read_to_end(&mut raw));
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.expect("no head came");
        let body = &raw[end + 4..];
        let head = String::from_utf8(raw[..end].to_vec())
            .unwrap()
            .to_lowercase();
        assert!(
            head.contains(&format!("content-length: {promised}")),
            "{head}"
        );
        assert!(
            (body.len() as u64) < promised,
            "{bytes} bytes: the client counted a whole file"
        );
    }
}

#[test]
fn c20_an_empty_file_of_known_length_waits_for_the_verdict_too() {
    for (source, outcome) in [
        (writes::<&str>(vec![]), Outcome::Complete),
        (fails_after(0, 1), Outcome::SourceError),
    ] {
        let pool = StreamPool::new(PoolOptions::default());
        let (go_on, proceed) = channel::<()>();
        let source: Source = Box::new(move |out| {
            proceed.recv()?;
            source(out)
        });
        let options = StreamOptions::new().pool(&pool).length(0);
        let socket = ask(serve(options, source));
        eventually("the stream", || pool.active() == 1);
        let handle = pool.streams().remove(0);
        go_on.send(()).unwrap();
        let wire = read_chunked(socket);
        assert_eq!(wire.last_chunk, outcome == Outcome::Complete);
        assert_eq!(wire.body, b"");
        assert_eq!(
            within("the end", move || handle.wait()).outcome,
            Some(outcome)
        );
    }
}

#[test]
fn a_promised_length_is_the_content_length() {
    for bytes in [1, 100_000] {
        let options = StreamOptions::new().length(bytes);
        let mut socket = ask(serve(options, noise_source(bytes, 500)));
        let mut raw = Vec::new();
        let mut piece = [0; 65_536];
        let body_starts = loop {
            let read = socket.read(&mut piece).unwrap();
            assert_ne!(read, 0);
            raw.extend_from_slice(&piece[..read]);
            let head = raw.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(end) = head.filter(|end| raw.len() - end - 4 == bytes as usize) {
                break end + 4;
            }
        };
        let head = String::from_utf8(raw[..body_starts].to_vec())
            .unwrap()
            .to_lowercase();
        assert!(head.contains(&format!("content-length: {bytes}")), "{head}");
        assert!(raw[body_starts..] == noise(bytes as usize));
    }
}

#[test]
fn c17_a_client_that_closes_its_socket_stops_the_source() {
    let probe = Probe::new();
    let mut socket = ask(serve(StreamOptions::new(), probe.wrap(endless(1000))));
    socket.read_exact(&mut [0; 1000]).unwrap();
    let closed = Instant::now();
    drop(socket);
    let (told, why) = probe.wait_told();
    assert_eq!(why.kind(), ErrorKind::HangUp);
    assert!(
        told - closed < Duration::from_millis(200),
        "after {:?}",
        told - closed
    );
    probe.wait_ended();
}

#[test]
fn c21_a_failure_before_the_first_byte_can_still_become_a_status() {
    // What datastreamer-http does with more care: look at the first chunk, then commit.
    async fn answer() -> Response {
        let mut chunks = StreamOptions::new().stream_out(fails_after(0, 1));
        match chunks.next_chunk().await {
            Some(Err(error)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
            }
            Some(Ok(_)) | None => Body::new(chunks).into_response(),
        }
    }
    let address = start(Router::new().route("/", get(answer)));
    let mut socket = ask(address);
    let mut raw = vec![0; 12];
    socket.read_exact(&mut raw).unwrap();
    assert_eq!(raw, b"HTTP/1.1 500");
}

#[test]
fn an_end_that_is_known_early_ends_the_body_early() {
    use http_body::Body;
    let mut chunks = StreamOptions::new()
        .length(3)
        .stream_out(writes(vec!["abc"]));
    assert_eq!(chunks.size_hint().exact(), Some(3));
    assert!(!chunks.is_end_stream());
    assert_eq!(chunks.next_chunk_blocking().unwrap().unwrap(), "abc");
    assert!(
        chunks.is_end_stream(),
        "with the last byte the verdict is out"
    );
    assert_eq!(chunks.size_hint().exact(), Some(0));
    assert_eq!(
        StreamOptions::new().stream_out(|_| ()).size_hint().exact(),
        None
    );
}
