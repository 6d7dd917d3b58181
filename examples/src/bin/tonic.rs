//! tonic: a file in the messages of a gRPC call, written by ordinary blocking code.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin tonic # http://127.0.0.1:3008
//! ```
//!
//! A `ChunkReader` is a `futures` stream, so each chunk becomes a message. gRPC has a status at the end
//! of a call: a source that fails gives the client an error, however much has been sent, and no armed
//! connection is needed. If the client cancels the call, the next write of the source fails.
//!
//! The service is written by hand, as tonic's code generator would write it from
//! `rpc Download(File) returns (stream Chunk)`, so that the example needs no `protoc`.

use std::{
    convert::Infallible,
    env,
    error::Error,
    future::{Ready, ready},
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll},
};

use datastreamer::{ErrorKind, StreamWriter, stream_out};
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, ServerStreamingService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use tower::Service;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3008".into());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    Server::builder()
        .add_service(Files)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

/// `message File { string name = 1; }`
#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "1")]
    name: String,
}

/// `message Chunk { bytes data = 1; }`
#[derive(Clone, PartialEq, prost::Message)]
struct Chunk {
    #[prost(bytes = "bytes", tag = "1")]
    data: prost::bytes::Bytes,
}

/// `rpc Download(File) returns (stream Chunk)`
struct Download;

impl ServerStreamingService<File> for Download {
    type Response = Chunk;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<File>) -> Self::Future {
        let source = match &*request.into_inner().name {
            "stars.csv" => write_stars,
            "broken" => write_stars_and_fail,
            _ => return ready(Err(Status::not_found("no such file"))),
        };
        let chunks = stream_out(source).map(|chunk| match chunk {
            Ok(data) => Ok(Chunk { data }),
            Err(error) => Err(status_of(&error)),
        });
        ready(Ok(Response::new(chunks.boxed())))
    }
}

/// Says what the client may know; the error's own text is for the log.
fn status_of(error: &datastreamer::Error) -> Status {
    eprintln!("{error}");
    match error.kind() {
        ErrorKind::SourceStalled => Status::deadline_exceeded("the source has stalled"),
        _ if error.is_refusal() => Status::unavailable("too many downloads"),
        _ => Status::internal("the source failed"),
    }
}

/// `service Files`, in the package `examples`.
#[derive(Clone)]
struct Files;

impl NamedService for Files {
    const NAME: &'static str = "examples.Files";
}

impl Service<http::Request<Body>> for Files {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != "/examples.Files/Download" {
            return ready(Ok(Status::unimplemented("no such method").into_http())).boxed();
        }
        async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.server_streaming(Download, request).await)
        }
        .boxed()
    }
}

fn write_stars(out: &mut StreamWriter) -> io::Result<()> {
    writeln!(out, "id,name")?;
    for id in 0..200_000 {
        writeln!(out, "{id},star {id}")?; // blocks while the client is slow
    }
    Ok(())
}

fn write_stars_and_fail(out: &mut StreamWriter) -> io::Result<()> {
    for id in 0..20_000 {
        writeln!(out, "{id},star {id}")?;
    }
    Err(io::Error::other("the database is gone"))
}
