//! TLS around armed connections: the reset is below it, and a failure never looks like an end.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::Request};
use datastreamer_http::{ArmedListener, Download, Serve};
use datastreamer_testkit::{eventually, fails_after, noise, noise_source};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::TlsAcceptor;

/// Serves `/good/BYTES` and `/fails/AFTER`, with `?LENGTH` for a promised length.
struct Serving {
    address: SocketAddr,
    client: Arc<ClientConfig>,
    _runtime: Runtime,
}

impl Serving {
    fn start() -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let certificate = certified.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let tcp = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = tcp.local_addr().unwrap();
        let listener = ArmedListener::new(tcp).tls(TlsAcceptor::from(Arc::new(server)));
        let router = Router::new().fallback(answer);
        runtime.spawn(Serve::on(listener, router).until(std::future::pending()));
        Self {
            address,
            client: Arc::new(client),
            _runtime: runtime,
        }
    }

    fn connect(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        StreamOwned::new(session, tcp)
    }

    /// Requests a path; returns all bytes until the end of the connection, and what that was.
    fn get(&self, path: &str) -> (Vec<u8>, io::Result<()>) {
        let mut stream = self.connect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut received = Vec::new();
        let end = stream.read_to_end(&mut received).map(drop);
        (received, end)
    }
}

async fn answer(request: Request) -> axum::response::Response {
    let path = request.uri().path().to_owned();
    let (kind, bytes) = path[1..].split_once('/').unwrap();
    let bytes = bytes.parse().unwrap();
    let source = match kind {
        "good" => noise_source(bytes, 4096),
        _ => fails_after(bytes, 4096),
    };
    let response = Download::new("text/plain")
        .length(request.uri().query().map(|length| length.parse().unwrap()))
        .commit_bytes(1)
        .respond(&request, |options| options.stream_out(source))
        .await;
    response.map(axum::body::Body::new)
}

/// Splits a response; decodes chunks. Returns the body, and whether its framing ended.
fn body_of(received: &[u8]) -> (Vec<u8>, bool) {
    let end = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8(received[..end].to_vec())
        .unwrap()
        .to_lowercase();
    let mut rest = &received[end + 4..];
    if let Some(length) = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
    {
        return (
            rest.to_vec(),
            rest.len() == length.parse::<usize>().unwrap(),
        );
    }
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        rest = &rest[line + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        rest = rest.get(size + 2..).unwrap_or_default();
    }
    // The framing is broken at the end of a chunk: no size has so many digits.
    assert_eq!(rest, [b'f'; 19], "no part of a chunk's size");
    (body, false)
}

#[test]
fn a_complete_file_ends_with_a_close_notify() {
    let serving = Serving::start();
    for path in [
        "/good/0",
        "/good/1",
        "/good/3000000",
        "/good/3000000?3000000",
    ] {
        let (received, end) = serving.get(path);
        let (body, is_complete) = body_of(&received);
        end.expect("a close_notify");
        assert!(is_complete, "{path}");
        assert!(body == noise(body.len()));
    }
}

#[test]
fn a_failure_gives_every_valid_byte_and_no_close_notify_and_no_broken_record() {
    let serving = Serving::start();
    for after in [1000, 100_000, 3_000_000] {
        for query in ["", "?4000000"] {
            let (received, end) = serving.get(&format!("/fails/{after}{query}"));
            let (body, is_complete) = body_of(&received);
            assert!(!is_complete);
            assert_eq!(body.len(), after);
            assert!(body == noise(after));
            // A reset, or an end without close_notify; never an alert or a record that is none.
            let error = end.expect_err("a visible failure");
            let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
            assert!(kinds.contains(&error.kind()), "{error:?}");
        }
    }
}

#[test]
fn whoever_speaks_no_tls_or_says_nothing_holds_nobody_up() {
    let serving = Serving::start();
    let _silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(serving.address).unwrap())
        .collect();
    let mut plain = TcpStream::connect(serving.address).unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let (received, _) = serving.get("/good/1000");
    assert_eq!(body_of(&received), (noise(1000), true));
    let mut answer = Vec::new();
    eventually("the refusal", || {
        plain.read_to_end(&mut answer).is_ok() || !answer.is_empty()
    });
    assert!(!answer.starts_with(b"HTTP"));
}
