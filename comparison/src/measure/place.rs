//! Where a source may run: in `spawn_blocking`, on a plain thread, or, by mistake, in a task.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{Client, get_text},
    job::{Job, Place, Way},
    peers::Peer,
    process::Server,
    servers::Threads,
};

/// A transfer that takes longer hangs; it takes a fifth of a second.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// Enough to fill every buffer: about two hundred writes, each followed by a millisecond of sleep.
const FILE_BYTES: u64 = 1_600_000;

/// An event loop that answers another request only after this long has been blocked.
const BLOCKED_AFTER: Duration = Duration::from_millis(100);

/// What happens to a file whose source runs in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client gets it, and other requests are answered meanwhile.
    Works,
    /// The client gets it, but nothing else is answered before the source has ended.
    BlocksTheLoop,
    /// The source panics or fails, and the client sees an error.
    Fails,
    /// The source panics or fails, and the client takes the file for complete.
    LooksComplete,
    /// Nothing moves any more.
    Hangs,
}

/// Runs a source in a place. The event loop has one thread, so that whatever blocks it is seen.
///
/// # Errors
/// That of the operating system.
pub fn measure(program: &Path, peer: &Peer, place: Place) -> io::Result<Outcome> {
    let server = Server::start(program, peer, Threads::One)?;
    let job = Job {
        place,
        ..Job::new(Way::Paced, 8192, FILE_BYTES)
    };
    let path = job.to_string();
    let address = server.address;
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        let asked_at = Instant::now();
        get_text(address, "/report").map(|_| asked_at.elapsed())
    });
    let fetched = Client::Curl.fetch(address, &path, WAIT_MAX)?;
    drop(server); // ends the other request, if nothing has answered it
    let answered = other.join().unwrap_or(Ok(Duration::MAX));
    let is_blocked = answered.map_or(true, |after| after > BLOCKED_AFTER);
    Ok(match (fetched.error, fetched.bytes) {
        _ if fetched.hung => Outcome::Hangs,
        (Some(_), _) => Outcome::Fails,
        (None, bytes) if bytes < FILE_BYTES => Outcome::LooksComplete,
        (None, _) if is_blocked => Outcome::BlocksTheLoop,
        (None, _) => Outcome::Works,
    })
}
