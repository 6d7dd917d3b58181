//! `base_http::body::BodyReader` and `BodyWriter`, the bounded pair of the Base project.
//!
//! Its own server is for the schedulers of that project. Here the reader is a body of hyper, through
//! an adapter of ours, so that the pair is compared and not the servers.

use std::io::{self, BufWriter, Write};

use base_http::body::{BodyError as PairError, BodyFrame, BodyReader, BodyWriter, ReadableBody};
use base_scheduler::Cancellation;
use bytes::Bytes;
use futures_lite::future::block_on;
use futures_util::{Stream, stream};
use http::request::Parts;
use http_body::Frame;
use http_body_util::StreamBody;

use super::{BUFFER_BYTES, BUFFER_MESSAGES, Body, boxed};
use crate::{
    job::{Ending, Job},
    source::{self, Out},
};

pub(super) fn body(_: &Parts, job: Job) -> Body {
    let (reader, writer) = BodyReader::<Bytes>::bounded(BUFFER_BYTES, BUFFER_MESSAGES);
    source::run_at(job.place, move || {
        let mut out = BufWriter::new(PairWriter(writer));
        let done = source::run(job, &mut out);
        let (PairWriter(mut writer), _unsent) = out.into_parts();
        match (done, job.ending) {
            (Ok(()), _) => writer.close_write(None),
            (Err(error), Ending::Explicit) => writer.close_write(Some(error.into())),
            (Err(_), Ending::Default) => drop(writer),
        }
    });
    boxed(StreamBody::new(frames(reader)))
}

type PairFrame = Result<Frame<Bytes>, PairError>;

fn frames(reader: BodyReader<Bytes>) -> impl Stream<Item = PairFrame> + Send {
    stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.read(&Cancellation::never()).await {
            Ok(BodyFrame::Data { data, end }) => {
                Some((Ok(Frame::data(data)), (!end).then_some(reader)))
            }
            Ok(BodyFrame::Headers { .. } | BodyFrame::End) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

struct PairWriter(BodyWriter<Bytes>);

impl Write for PairWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(data);
        let written = block_on(self.0.write(chunk, &Cancellation::never()));
        written.map_err(io::Error::other)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        block_on(self.0.flush(&Cancellation::never())).map_err(io::Error::other)
    }
}

impl Out for PairWriter {
    /// A flush sends nothing, and fails once the reader has been dropped.
    fn is_gone(&mut self) -> Option<bool> {
        Some(self.flush().is_err())
    }
}
