//! `actix_web_lab::body::writer`; for errors its sibling `body::channel`, which can send one.

use std::io::{self, BufWriter, Write};

use actix_web::HttpResponse;
use actix_web_lab::body::{self, Sender};
use bytes::Bytes;

use super::block_on::Blocking;
use crate::{
    job::{Ending, Job, Place},
    source::{self, Out},
};

pub(super) fn respond(job: Job) -> HttpResponse {
    match job.ending {
        Ending::Default => writer(job),
        Ending::Explicit => channel(job),
    }
}

fn writer(job: Job) -> HttpResponse {
    let (writer, body) = body::writer();
    run_at(job.place, move || {
        let mut out = BufWriter::new(Blocking(writer));
        // An error cannot reach the client: a log gets it.
        let _logged = source::run(job, &mut out);
    });
    HttpResponse::Ok().body(body)
}

fn channel(job: Job) -> HttpResponse {
    let (sender, body) = body::channel::<io::Error>();
    run_at(job.place, move || {
        let mut out = BufWriter::new(ChannelWriter(sender));
        let done = source::run(job, &mut out);
        let (writer, _unsent) = out.into_parts();
        let _client_gone = writer.0.close(done.err());
    });
    HttpResponse::Ok().body(body)
}

/// The handler runs on actix's thread, so its task is one of that thread.
fn run_at(place: Place, closure: impl FnOnce() + Send + 'static) {
    match place {
        Place::Task => drop(actix_web::rt::spawn(async move { closure() })),
        Place::Blocking | Place::Thread => source::run_at(place, closure),
    }
}

struct ChannelWriter(Sender<io::Error>);

impl Write for ChannelWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(Bytes::copy_from_slice(data));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out for ChannelWriter {}
