//! `http_serve::streaming_body`, whose `BodyWriter` is an `io::Write` that collects chunks itself.

use bytes::Bytes;
use http::request::Parts;
use http_body_util::Empty;
use http_serve::{BodyWriter, streaming_body};

use super::{Body, BodyError, READ_BYTES, boxed};
use crate::{
    job::{Ending, Job},
    source::{self, Out},
};

pub(super) fn body(parts: &Parts, job: Job) -> Body {
    let builder = streaming_body(parts).with_chunk_size(READ_BYTES);
    // The response's only header is Vary, so its body is enough here.
    let (response, writer) = builder.build::<Bytes, BodyError>();
    let Some(mut out) = writer else {
        return boxed(Empty::new()); // HEAD
    };
    source::run_at(job.place, move || {
        let done = source::run(job, &mut out);
        if let (Err(error), Ending::Explicit) = (done, job.ending) {
            out.abort(error.into());
        }
    });
    boxed(response.into_body())
}

impl Out for BodyWriter<Bytes, BodyError> {}
