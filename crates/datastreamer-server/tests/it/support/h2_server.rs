//! A server of HTTP/2 over TLS that ends its responses as a test says.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ::h2::{Reason, SendStream, server};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::TcpListener;

use super::{noise, tls};

/// How a response ends behind its bytes.
#[derive(Clone, Debug)]
pub(crate) enum H2End {
    /// `END_STREAM`.
    Stream,
    /// Trailers.
    Trailers(HeaderMap),
    /// `RST_STREAM`.
    Reset(Reason),
    /// The connection is closed.
    Closed,
}

/// Starts the server, which lives as long as the process: it answers with the first `sent` bytes of
/// the noise, with these headers, and ends so. Returns its URL.
pub(crate) fn start(headers: HeaderMap, sent: usize, end: H2End) -> String {
    let (sender, port) = mpsc::channel();
    let acceptor = tls::acceptor(&["h2"]);
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            sender.send(address.port()).expect("the test waits");
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(tcp).await else {
                    continue;
                };
                let (headers, end) = (headers.clone(), end.clone());
                tokio::spawn(async move {
                    let mut connection = server::handshake(stream).await.expect("HTTP/2");
                    let Some(Ok((_, mut respond))) = connection.accept().await else {
                        return;
                    };
                    let mut response = Response::new(());
                    *response.headers_mut() = headers;
                    let body = respond.send_response(response, false).expect("a stream");
                    let closes = matches!(end, H2End::Closed);
                    let answered = tokio::spawn(send(body, sent, end));
                    if closes {
                        // What was sent arrives.
                        let pause = tokio::time::sleep(Duration::from_millis(300));
                        tokio::select! {
                            _ = connection.accept() => {}
                            () = pause => {}
                        }
                        answered.abort();
                    } else {
                        // Until the client leaves.
                        while connection.accept().await.is_some() {}
                    }
                });
            }
        });
    });
    let port = port.recv().expect("it serves");
    format!("https://127.0.0.1:{port}/f")
}

async fn send(mut body: SendStream<Bytes>, sent: usize, end: H2End) {
    let bytes = Bytes::from(noise::bytes(0, sent));
    let ends = matches!(end, H2End::Stream);
    body.send_data(bytes, ends).expect("a stream");
    match end {
        H2End::Stream => {}
        H2End::Trailers(trailers) => body.send_trailers(trailers).expect("a stream"),
        H2End::Reset(reason) => {
            // A reset throws away what was not sent yet.
            tokio::time::sleep(Duration::from_millis(300)).await;
            body.send_reset(reason);
        }
        H2End::Closed => tokio::time::sleep(Duration::from_secs(10)).await,
    }
}

/// Headers from pairs.
pub(crate) fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(*name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}
