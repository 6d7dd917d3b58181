//! The servers: hyper, actix-web, and axum over armed connections. One process serves one peer.
//!
//! Each answers `/report` with the counters of its sources, `/static/BYTES` with a body that nothing
//! produces, and the path of a [`Job`] with the peer's body.

mod actix;
mod armed;
mod plain;

use std::{io, net::SocketAddr};

use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::peers::{Answer, Peer};

/// How many threads the event loop has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// One: whatever blocks it blocks everything.
    One,
    /// Two, as many as the machine has cores.
    Two,
}

/// Serves a peer until the process is killed. Prints the address first.
///
/// # Errors
/// The runtime's or the listener's error.
pub fn serve(peer: &Peer, threads: Threads) -> io::Result<()> {
    match peer.answer {
        Answer::Hyper(body) => runtime(threads)?.block_on(plain::serve(body)),
        Answer::Armed => runtime(threads)?.block_on(armed::serve()),
        Answer::Actix(respond) => actix::serve(respond, threads),
    }
}

fn runtime(threads: Threads) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Two => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2);
            builder
        }
    };
    builder.enable_all().build()
}

fn print_address(address: SocketAddr) {
    println!("{address}");
}

/// Returns the length that `/static/BYTES` asks for.
fn static_bytes(path: &str) -> Option<u64> {
    path.strip_prefix("/static/")?.parse().ok()
}

/// A body without a producer: the same 64 KiB, again and again, without a length.
fn static_body(bytes: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    static CHUNK: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    stream::unfold(bytes, |left| async move {
        let next = left.min(CHUNK.len() as u64);
        (next > 0).then(|| (Ok(Bytes::from_static(&CHUNK[..next as usize])), left - next))
    })
}
