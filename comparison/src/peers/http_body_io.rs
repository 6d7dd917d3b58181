//! `http_body_io::channel`, with a `BufWriter` around the writer as in its documentation.

use std::{io::BufWriter, num::NonZeroUsize};

use http::request::Parts;
use http_body_io::BodyWriter;

use super::{BUFFER_MESSAGES, Body, boxed};
use crate::{
    job::Job,
    source::{self, Out},
};

pub(super) fn body(_: &Parts, job: Job) -> Body {
    let messages = NonZeroUsize::new(BUFFER_MESSAGES).unwrap_or(NonZeroUsize::MIN);
    let (writer, reader) = http_body_io::channel(messages);
    source::run_at(job.place, move || {
        let mut out = BufWriter::new(writer);
        // An error cannot reach the client: a log gets it.
        let _logged = source::run(job, &mut out);
    });
    boxed(reader)
}

impl Out for BodyWriter {}
