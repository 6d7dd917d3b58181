//! `http_body_util::channel::Channel`.

use std::io::{self, BufWriter, Write};

use bytes::Bytes;
use futures_lite::future::block_on;
use http::request::Parts;
use http_body_util::channel::{Channel, Sender};

use super::{BUFFER_MESSAGES, Body, BodyError, boxed};
use crate::{
    job::{Ending, Job},
    source::{self, Out},
};

pub(super) fn body(_: &Parts, job: Job) -> Body {
    let (sender, body) = Channel::<Bytes, BodyError>::new(BUFFER_MESSAGES);
    source::run_at(job.place, move || {
        let mut out = BufWriter::new(ChannelWriter(sender));
        let done = source::run(job, &mut out);
        if let (Err(error), Ending::Explicit) = (done, job.ending) {
            let (writer, _unsent) = out.into_parts();
            writer.0.abort(error.into());
        }
    });
    boxed(body)
}

struct ChannelWriter(Sender<Bytes, BodyError>);

impl Write for ChannelWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(data);
        block_on(self.0.send_data(chunk)).map_err(io::Error::other)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `Sender` has no method that tells whether the body is there.
impl Out for ChannelWriter {}
