//! What a client sees when a source fails.

use std::{io, path::Path, thread};

use crate::{
    client::{self, Client, Fetched, SHORT_MAX},
    job::{Ending, Job, Way},
    peers::Peer,
    process::Server,
    servers::Threads,
};

/// How the source ends, in the order of the table.
pub const WAYS: [Way; 4] = [Way::Fails, Way::Panics, Way::FailsEarly, Way::Quits];

/// What a source writes before it fails. The file would be longer.
pub const WRITTEN_BYTES: u64 = 1_000_000;

const WRITE_BYTES: usize = 8192;

/// What one client made of one failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took the truncated file for a complete one.
    LooksComplete,
    /// It reports that the file is not complete: curl's exit code or urllib's exception.
    Visible(String),
    /// It got this status instead of a file.
    Status(u16),
    /// It had to be stopped.
    Hung,
}

/// The outcomes of a peer and a way to report failures.
#[derive(Clone, Debug)]
pub struct Row {
    /// The peer.
    pub peer: &'static Peer,
    /// How its handler reports a failure.
    pub ending: Ending,
    /// For each of [`WAYS`], what each of [`client::ALL`] saw.
    pub outcomes: Vec<Vec<Outcome>>,
    /// Of the [`WRITTEN_BYTES`] before an error, how many curl received.
    pub received_bytes: u64,
}

/// Runs every failure of these peers with every client, a few peers at a time: nothing here is timed.
///
/// # Errors
/// That of the operating system.
pub fn measure_all(program: &Path, peers: &[&'static Peer]) -> io::Result<Vec<Row>> {
    const AT_A_TIME: usize = 4;
    let mut rows = Vec::new();
    for some in peers.chunks(AT_A_TIME) {
        thread::scope(|scope| {
            let threads: Vec<_> = some
                .iter()
                .map(|peer| scope.spawn(|| measure(program, peer)))
                .collect();
            for thread in threads {
                let measured = thread.join().map_err(|_| io::Error::other("a panic"))?;
                rows.extend(measured?);
            }
            Ok::<_, io::Error>(())
        })?;
    }
    Ok(rows)
}

fn measure(program: &Path, peer: &'static Peer) -> io::Result<Vec<Row>> {
    let server = Server::start(program, peer, Threads::Two)?;
    let rows = peer.endings().iter().map(|ending| {
        let outcomes = WAYS.iter().map(|way| {
            let outcomes = client::ALL.iter();
            let outcomes =
                outcomes.map(|client| fetch(&server, *client, *way, *ending).map(classify));
            outcomes.collect()
        });
        let outcomes = outcomes.collect::<io::Result<_>>()?;
        Ok(Row {
            peer,
            ending: *ending,
            outcomes,
            received_bytes: client::received_bytes(
                server.address,
                &job(Way::Fails, *ending).to_string(),
            )?,
        })
    });
    rows.collect()
}

fn fetch(server: &Server, client: Client, way: Way, ending: Ending) -> io::Result<Fetched> {
    client.fetch(server.address, &job(way, ending).to_string(), SHORT_MAX)
}

fn job(way: Way, ending: Ending) -> Job {
    Job {
        ending,
        ..Job::new(way, WRITE_BYTES, WRITTEN_BYTES)
    }
}

fn classify(fetched: Fetched) -> Outcome {
    match (fetched.error, fetched.status) {
        _ if fetched.hung => Outcome::Hung,
        (Some(error), _) => Outcome::Visible(error),
        (None, 200) => Outcome::LooksComplete,
        (None, status) => Outcome::Status(status),
    }
}
