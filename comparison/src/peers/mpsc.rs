//! A bounded `tokio::sync::mpsc` of chunks and a `ReceiverStream`: what most people write by hand.

use std::io::{self, BufWriter, Write};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::request::Parts;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

use super::{BUFFER_MESSAGES, Body, boxed};
use crate::{
    job::{Ending, Job},
    source::{self, Out},
};

pub(super) fn body(_: &Parts, job: Job) -> Body {
    let (sender, receiver) = channel(BUFFER_MESSAGES);
    source::run_at(job.place, move || {
        let mut out = BufWriter::new(ChannelWriter(sender));
        let done = source::run(job, &mut out);
        if let (Err(error), Ending::Explicit) = (done, job.ending) {
            let (writer, _unsent) = out.into_parts();
            let _client_gone = writer.0.blocking_send(Err(error));
        }
    });
    let chunks = ReceiverStream::new(receiver);
    boxed(StreamBody::new(chunks.map_ok(Frame::data)))
}

struct ChannelWriter(Sender<io::Result<Bytes>>);

impl Write for ChannelWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(data)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out for ChannelWriter {
    fn is_gone(&mut self) -> Option<bool> {
        Some(self.0.is_closed())
    }
}
