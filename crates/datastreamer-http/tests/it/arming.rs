//! SO_LINGER is {on, 0} from before the first byte of a stream until after the flush that follows its
//! last byte, as read back from the kernel: see `support::spy`.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use datastreamer::Outcome;
use datastreamer_http::{Armed, Download, Socket};
use datastreamer_testkit::{endless, eventually, noise_source};
use http::Request;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
};

use crate::support::{
    h2_client::Client,
    raw::{End, Raw},
    serving::{Serving, Setup},
    spy::Event,
    streams::{A_WHILE, ends, gate, writes_then_waits},
};

fn serve_noise(setup: Setup) -> Serving {
    setup.serve(|request| {
        Download::new("text/plain").respond(&request, |options| {
            options.stream_out(noise_source(300_000, 4096))
        })
    })
}

#[test]
fn a_socket_is_armed_before_the_first_byte_and_disarmed_behind_the_last() {
    let (open, gate) = gate();
    let serving = Setup::HTTP1.serve(move |request| {
        let source = writes_then_waits(100_000, gate.clone(), ends());
        Download::new("text/plain").respond(&request, |options| options.stream_out(source))
    });
    let mut client = Raw::connect(serving.address());
    client.ask("/");
    let head = client.read_head();
    client.read_at_least(100_000);
    // Everything written so far is flushed, and the response has not ended.
    thread::sleep(A_WHILE);
    let spy = serving.spy(0);
    assert_eq!(spy.events(), [Event::Armed]);
    drop(open);
    assert_eq!(client.read_body(&head).1, End::Whole);
    spy.wait_last(Event::Disarmed);
    assert_eq!(spy.events(), [Event::Armed, Event::Disarmed]);
    assert!(spy.bytes_armed() > 100_000);
    assert_eq!(spy.bytes_unarmed(), 0);
}

#[test]
fn what_is_no_stream_is_not_armed() {
    let serving = Setup::HTTP1.serve(|_| async {
        datastreamer_http::Problem::new(http::StatusCode::NOT_FOUND, "no such page").into_response()
    });
    let mut client = Raw::connect(serving.address());
    assert_eq!(client.get("/").head.status, 404);
    let spy = serving.spy(0);
    eventually("the spy has noted it", || spy.bytes_unarmed() > 0);
    assert_eq!(spy.events(), []);
    assert_eq!(spy.bytes_armed(), 0);
}

#[test]
fn an_http_2_connection_stays_armed_until_it_is_shut_down_in_good_order() {
    let serving = serve_noise(Setup::HTTP2);
    let client = Client::connect(serving.address());
    for _ in 0..3 {
        assert_eq!(client.ask("/").read().0.len(), 300_000);
    }
    thread::sleep(A_WHILE);
    let spy = serving.spy(0);
    assert_eq!(spy.events(), [Event::Armed]);
    serving.close_gracefully();
    spy.wait_dropped();
    let order = [
        Event::Armed,
        Event::Disarmed,
        Event::ShutDown,
        Event::Dropped,
    ];
    assert_eq!(spy.events(), order);
}

/// The connection preface, an empty SETTINGS frame, and HEADERS of `GET http://localhost/` that
/// end stream 1 (RFC 9113, 3.4 and 6.2; RFC 7541, appendix A).
const HTTP_2_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x09localhost";
/// DATA on stream 0, which is a connection error (RFC 9113, 6.1).
const HTTP_2_NONSENSE: &[u8] = b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x";

#[test]
fn an_http_2_connection_that_ends_in_the_middle_of_a_response_is_reset() {
    let serving = Setup::HTTP2.serve(|request| {
        Download::new("text/plain").respond(&request, |options| options.stream_out(endless(4096)))
    });
    let mut client = TcpStream::connect(serving.address()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    client.write_all(HTTP_2_REQUEST).unwrap();
    let mut received = [0; 40_000];
    client.read_exact(&mut received).unwrap();
    client.write_all(HTTP_2_NONSENSE).unwrap();
    let mut rest = Vec::new();
    let error = client.read_to_end(&mut rest).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    let spy = serving.spy(0);
    spy.wait_dropped();
    assert!(!spy.events().contains(&Event::Disarmed));
    assert!(!spy.events().contains(&Event::ShutDown), "a FIN first");
}

/// A socket that takes everything and records the calls.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Vec<Event>>>);

impl Fake {
    fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }
}

impl Socket for Fake {
    fn arm(&self, reset: bool) -> io::Result<()> {
        self.0.lock().unwrap().push(match reset {
            true => Event::Armed,
            false => Event::Disarmed,
        });
        Ok(())
    }

    fn is_sent(&self) -> bool {
        true
    }
}

impl AsyncRead for Fake {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Fake {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().push(Event::ShutDown);
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_wrapped_socket_sends_small_chunks_at_once_and_knows_its_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let armed = Armed::new(listener.accept().await.unwrap().0);
    assert!(armed.get_ref().nodelay().unwrap());
    assert_eq!(armed.connection().peer(), client.local_addr().ok());
}

#[tokio::test]
async fn a_kept_connection_keeps_no_stream_of_a_socket_that_is_gone() {
    let armed = Armed::with_socket(Fake::default(), None);
    let mut request = Request::new(());
    request.extensions_mut().insert(armed.connection());
    let mut streams = Vec::new();
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let response = Download::new("text/plain")
            .respond(&request, |options| {
                let chunks = options.stream_out(noise_source(1000, 1000));
                streams.push(chunks.handle());
                chunks
            })
            .await;
        bodies.push(response.into_body());
    }
    // One has ended and is not flushed, one ends after the socket was dropped.
    let late = bodies.pop().unwrap();
    bodies.pop().unwrap().collect().await.unwrap();
    assert_eq!(streams[0].record().outcome, None);
    drop(armed);
    late.collect().await.unwrap();
    for stream in streams {
        assert_eq!(stream.record().outcome, Some(Outcome::ClientGone));
    }
}

#[tokio::test]
async fn a_shutdown_in_the_middle_of_a_response_sends_no_fin() {
    let fake = Fake::default();
    let mut armed = Armed::with_socket(fake.clone(), None);
    let mut request = Request::new(());
    request.extensions_mut().insert(armed.connection());
    let response = Download::new("text/plain")
        .respond(&request, |options| options.stream_out(endless(4096)))
        .await;
    let cx = &mut Context::from_waker(Waker::noop());
    let mut io = Pin::new(&mut armed);
    assert!(io.as_mut().poll_write(cx, b"a head").is_ready());
    assert!(io.as_mut().poll_flush(cx).is_ready());
    assert_eq!(fake.events(), [Event::Armed]);
    // A client that reads a FIN before the reset may take it for the end.
    assert!(io.as_mut().poll_shutdown(cx).is_ready());
    assert_eq!(fake.events(), [Event::Armed]);
    drop(response);
    assert!(io.as_mut().poll_shutdown(cx).is_ready());
    assert_eq!(fake.events(), [Event::Armed], "it broke off");
}

/// Of all kernels only Linux has such a limit.
#[cfg(target_os = "linux")]
#[test]
fn the_kernel_may_hold_more_of_a_fast_connection_until_it_stalls() {
    const FEW: u32 = 128 * 1024;
    let serving = Setup::HTTP1.serve(|request| {
        Download::new("text/plain").respond(&request, |options| options.stream_out(endless(65_536)))
    });
    let mut client = Raw::connect(serving.address());
    client.ask("/");
    client.read_head();
    let spy = serving.spy(0);
    assert_eq!(spy.unsent_marks(), [FEW]);
    eventually("the limit grows while the client reads", || {
        client.read_at_least(1_000_000);
        spy.unsent_marks().last() > Some(&FEW)
    });
    eventually(
        "the client reads no more, and the limit is what it was",
        || spy.unsent_marks().last() == Some(&FEW),
    );
}
