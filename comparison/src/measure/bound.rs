//! How much a source can write while its client reads nothing, and what that costs.

use std::{io, path::Path, thread, time::Duration};

use crate::{
    client::read_head,
    job::{Job, Way},
    peers::Peer,
    process::Server,
    servers::Threads,
};

/// The sizes of the writes.
pub const WRITE_BYTES: [usize; 2] = [8192, 64];

/// The file of a single client: more than any bounded peer and the kernel take.
pub const FILE_BYTES: u64 = 256_000_000;

/// How many clients there are when memory is measured.
pub const CLIENTS: usize = 50;

/// The file of each of them: also more than a bounded peer and the kernel take, and not so much that
/// an unbounded peer fills the machine.
pub const CLIENT_FILE_BYTES: u64 = 16_000_000;

/// The sizes of the writes when memory is measured: what a queue of messages holds depends on them.
pub const GROWTH_WRITE_BYTES: [usize; 2] = [65536, 8192];

/// What a peer let its source write.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// For each of [`WRITE_BYTES`], what the writer accepted.
    pub accepted: [Accepted; 2],
    /// For each of [`GROWTH_WRITE_BYTES`], by how much the server's memory grew with [`CLIENTS`]
    /// clients.
    pub growth_bytes: [u64; 2],
}

/// What a writer accepted while a client read nothing.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// How many bytes.
    pub bytes: u64,
    /// CPU seconds of the server for each second of the second half of the time.
    pub cpu_share: f64,
}

/// Measures a peer with clients that read nothing for this time.
///
/// # Errors
/// That of the operating system or of a connection.
pub fn measure(program: &Path, peer: &Peer, wait: Duration) -> io::Result<Bound> {
    let [large, small] = WRITE_BYTES;
    let [huge, usual] = GROWTH_WRITE_BYTES;
    Ok(Bound {
        accepted: [
            accepted(program, peer, large, wait)?,
            accepted(program, peer, small, wait)?,
        ],
        growth_bytes: [
            growth(program, peer, huge, wait)?,
            growth(program, peer, usual, wait)?,
        ],
    })
}

/// Measures one client.
///
/// # Errors
/// That of the operating system or of a connection.
pub fn accepted(
    program: &Path,
    peer: &Peer,
    write_bytes: usize,
    wait: Duration,
) -> io::Result<Accepted> {
    let server = Server::start(program, peer, Threads::Two)?;
    let job = Job::new(Way::Complete, write_bytes, FILE_BYTES);
    let _client = read_head(server.address, &job.to_string())?;
    thread::sleep(wait / 2);
    let cpu_before = server.cpu_seconds()?;
    thread::sleep(wait / 2);
    let cpu_seconds = server.cpu_seconds()? - cpu_before;
    Ok(Accepted {
        bytes: server.report()?.accepted_bytes,
        cpu_share: cpu_seconds / (wait / 2).as_secs_f64(),
    })
}

fn growth(program: &Path, peer: &Peer, write_bytes: usize, wait: Duration) -> io::Result<u64> {
    let server = Server::start(program, peer, Threads::Two)?;
    server.report()?;
    let before = server.resident_bytes()?;
    let job = Job::new(Way::Complete, write_bytes, CLIENT_FILE_BYTES).to_string();
    let clients = (0..CLIENTS).map(|_| read_head(server.address, &job));
    let _clients: Vec<_> = clients.collect::<io::Result<_>>()?;
    thread::sleep(wait);
    Ok(server.resident_bytes()?.saturating_sub(before))
}
