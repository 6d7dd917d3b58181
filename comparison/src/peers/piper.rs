//! `piper::pipe`, with a blocking writer as in its documentation.
//!
//! A pipe has no way to say that a file has failed: its end is its end.

use std::io::{self, BufWriter, Write};

use futures_lite::{AsyncWriteExt, future::block_on};
use futures_util::TryStreamExt;
use http::request::Parts;
use http_body::Frame;
use http_body_util::StreamBody;
use piper::Writer;
use tokio_util::{compat::FuturesAsyncReadCompatExt, io::ReaderStream};

use super::{BUFFER_BYTES, Body, READ_BYTES, boxed};
use crate::{
    job::Job,
    source::{self, Out},
};

pub(super) fn body(_: &Parts, job: Job) -> Body {
    let (reader, writer) = piper::pipe(BUFFER_BYTES);
    source::run_at(job.place, move || {
        let mut out = BufWriter::new(PipeWriter(writer));
        // An error cannot reach the client: a log gets it.
        let _logged = source::run(job, &mut out);
    });
    let chunks = ReaderStream::with_capacity(reader.compat(), READ_BYTES);
    boxed(StreamBody::new(chunks.map_ok(Frame::data)))
}

struct PipeWriter(Writer);

impl Write for PipeWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        block_on(self.0.write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        block_on(self.0.flush())
    }
}

impl Out for PipeWriter {
    fn is_gone(&mut self) -> Option<bool> {
        Some(self.0.is_closed())
    }
}
