//! hyper, as its examples have it: HTTP/1.1, a task for each connection.

use std::{convert::Infallible, io};

use futures_util::TryStreamExt;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Empty, Full, StreamBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::{
    job::Job,
    peers::{Body, BodyOf, boxed},
    servers::{print_address, static_body, static_bytes},
    source,
};

pub(super) async fn serve(body: BodyOf) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    print_address(listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| async move {
                Ok::<_, Infallible>(answer(body, request))
            });
            // It ends with an error whenever a body fails or a client disconnects.
            let _ended = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

fn answer(body: BodyOf, request: Request<Incoming>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let path = parts.uri.path();
    if path == "/report" {
        return Response::new(boxed(Full::from(source::report())));
    }
    if let Some(bytes) = static_bytes(path) {
        let chunks = static_body(bytes).map_ok(Frame::data);
        return Response::new(boxed(StreamBody::new(chunks)));
    }
    match Job::parse(path) {
        Some(job) => Response::new(body(&parts, job)),
        None => {
            let mut response = Response::new(boxed(Empty::new()));
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}
