//! datastreamer's `ChunkReader`, which is a body, on plain hyper: without armed connections.

use datastreamer::{StreamWriter, stream_out};
use http::request::Parts;

use super::{Body, boxed};
use crate::{
    job::Job,
    source::{self, Out},
};

pub(super) fn body(_: &Parts, job: Job) -> Body {
    boxed(stream_out(move |out| source::run(job, out)))
}

impl Out for StreamWriter {
    fn is_gone(&mut self) -> Option<bool> {
        Some(self.is_stopped())
    }
}
