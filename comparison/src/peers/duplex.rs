//! `tokio::io::duplex` between a `SyncIoBridge` and a `ReaderStream`.
//!
//! A pipe has no way to say that a file has failed: its end is its end.

use std::io::{BufWriter, Write};

use futures_util::TryStreamExt;
use http::request::Parts;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{io::AsyncWrite, runtime::Handle};
use tokio_util::io::{ReaderStream, SyncIoBridge};

use super::{BUFFER_BYTES, Body, READ_BYTES, boxed};
use crate::{
    job::Job,
    source::{self, Out},
};

pub(super) fn body(_: &Parts, job: Job) -> Body {
    let (near, far) = tokio::io::duplex(BUFFER_BYTES);
    // `SyncIoBridge::new` needs a thread of the runtime.
    let runtime = Handle::current();
    source::run_at(job.place, move || {
        let mut out = BufWriter::new(SyncIoBridge::new_with_handle(near, runtime));
        // An error cannot reach the client: a log gets it.
        let _logged = source::run(job, &mut out);
    });
    let chunks = ReaderStream::with_capacity(far, READ_BYTES);
    boxed(StreamBody::new(chunks.map_ok(Frame::data)))
}

impl<W: AsyncWrite + Unpin> Out for SyncIoBridge<W> where Self: Write {}
