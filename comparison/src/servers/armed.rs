//! axum on armed connections, as datastreamer's guide has it: `Serve` and `Download`.

use std::{future::pending, io};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use datastreamer_http::{Download, Serve};
use tokio::net::TcpListener;

use crate::{
    job::Job,
    servers::{print_address, static_body, static_bytes},
    source,
};

pub(super) async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    print_address(listener.local_addr()?);
    let app = Router::new().fallback(answer);
    Serve::new(listener, app).until(pending()).await.map(drop)
}

async fn answer(request: Request) -> Response {
    let path = request.uri().path();
    if path == "/report" {
        return source::report().into_response();
    }
    if let Some(bytes) = static_bytes(path) {
        return Body::from_stream(static_body(bytes)).into_response();
    }
    let Some(job) = Job::parse(path) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    Download::new("application/octet-stream")
        .respond(&request, |options| {
            options.stream_out(move |out| source::run(job, out))
        })
        .await
        .map(Body::new)
}
