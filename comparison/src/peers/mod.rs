//! What is compared: one file for each peer, used as its own documentation shows.
//!
//! A server calls a peer with a job; the peer starts the source and returns the body. Whatever passes
//! each write on as it is gets a `std::io::BufWriter` with its default of 8 KiB, because all of them
//! are slow with small writes otherwise. Buffers hold [`BUFFER_BYTES`], queues of messages
//! [`BUFFER_MESSAGES`].

mod actix_writer;
mod base_http;
mod block_on;
mod chunk_reader;
mod duplex;
mod http_body_io;
mod http_serve;
mod mpsc;
mod piper;
mod util_channel;

use actix_web::HttpResponse;
use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

use crate::job::{Ending, Job, Place};

/// What a buffer that counts bytes may hold: as much as datastreamer holds for a client that is not
/// fast.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// What a queue of messages may hold: the same, in writes of 8 KiB.
pub const BUFFER_MESSAGES: usize = 32;

/// What a body reads from a pipe at a time.
pub const READ_BYTES: usize = 64 * 1024;

/// A body's error.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response of hyper.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Starts the source of a job and returns its body.
pub type BodyOf = fn(&Parts, Job) -> Body;

/// Does the same for actix-web.
pub type RespondOf = fn(Job) -> HttpResponse;

/// A way to stream a file.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its name in tables.
    pub title: &'static str,
    /// The crates whose versions are reported.
    pub crates: &'static [&'static str],
    /// What an author calls to report a failure; `None`: the peer has nothing for that, or needs
    /// nothing.
    pub explicit: Option<&'static str>,
    /// Where a handler may try to run its source.
    pub places: &'static [Place],
    /// The server and the peer's code.
    pub answer: Answer,
}

/// The server of a peer.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// hyper.
    Hyper(BodyOf),
    /// actix-web.
    Actix(RespondOf),
    /// axum over armed connections.
    Armed,
}

impl Peer {
    /// Returns the ways in which an author may report a failure.
    pub fn endings(&self) -> &'static [Ending] {
        match self.explicit {
            Some(_) => &[Ending::Default, Ending::Explicit],
            None => &[Ending::Default],
        }
    }
}

const ALL_PLACES: &[Place] = &[Place::Blocking, Place::Thread, Place::Task];

/// Everything that is compared, datastreamer last.
pub const ALL: [Peer; 10] = [
    Peer {
        name: "duplex",
        title: "SyncIoBridge + duplex",
        crates: &["tokio-util", "tokio"],
        explicit: None,
        places: ALL_PLACES,
        answer: Answer::Hyper(duplex::body),
    },
    Peer {
        name: "util-channel",
        title: "http-body-util Channel",
        crates: &["http-body-util"],
        explicit: Some("`abort`"),
        places: ALL_PLACES,
        answer: Answer::Hyper(util_channel::body),
    },
    Peer {
        name: "http-serve",
        title: "http-serve",
        crates: &["http-serve"],
        explicit: Some("`abort`"),
        places: ALL_PLACES,
        answer: Answer::Hyper(http_serve::body),
    },
    Peer {
        name: "http-body-io",
        title: "http-body-io",
        crates: &["http-body-io"],
        explicit: None,
        places: ALL_PLACES,
        answer: Answer::Hyper(http_body_io::body),
    },
    Peer {
        name: "actix-writer",
        title: "actix-web-lab writer",
        crates: &["actix-web-lab", "actix-web"],
        explicit: Some("`body::channel`, `close(Some(error))`"),
        places: ALL_PLACES,
        answer: Answer::Actix(actix_writer::respond),
    },
    Peer {
        name: "piper",
        title: "piper",
        crates: &["piper"],
        explicit: None,
        places: ALL_PLACES,
        answer: Answer::Hyper(piper::body),
    },
    Peer {
        name: "base-http",
        title: "base-http BodyWriter",
        crates: &["base-http"],
        explicit: Some("`close_write(Some(error))`"),
        places: ALL_PLACES,
        answer: Answer::Hyper(base_http::body),
    },
    Peer {
        name: "mpsc",
        title: "mpsc + ReceiverStream",
        crates: &["tokio-stream", "tokio"],
        explicit: Some("`send(Err(error))`"),
        places: ALL_PLACES,
        answer: Answer::Hyper(mpsc::body),
    },
    Peer {
        name: "chunk-reader",
        title: "datastreamer, bare",
        crates: &["datastreamer"],
        explicit: None,
        places: &[],
        answer: Answer::Hyper(chunk_reader::body),
    },
    Peer {
        name: "armed",
        title: "datastreamer-http, armed",
        crates: &["datastreamer-http", "axum"],
        explicit: None,
        places: &[],
        answer: Answer::Armed,
    },
];

/// Returns the peer of this name.
pub fn find(name: &str) -> Option<&'static Peer> {
    static PEERS: [Peer; 10] = ALL;
    PEERS.iter().find(|peer| peer.name == name)
}

/// Boxes a body, so that all peers have one type.
pub(crate) fn boxed<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}
