//! How long it takes until a source learns that its client has disconnected.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{read_for, read_head},
    job::{Job, Way},
    peers::Peer,
    process::Server,
    servers::Threads,
    source::now_us,
};

/// A source that has not learned it by then never does.
pub const WAIT_MAX: Duration = Duration::from_secs(3);

/// How long a client reads, or reads nothing, before it disconnects.
const BEFORE: Duration = Duration::from_millis(300);

/// More than datastreamer-http waits for before it sends the head.
const BEFORE_SILENCE_BYTES: u64 = 128 * 1024;

/// How a source was busy when its client disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// It writes 8 KiB each millisecond, and the client reads them.
    Writing,
    /// It is blocked in a write, because the client reads nothing.
    Blocked,
    /// It writes nothing, and asks each millisecond.
    Silent,
}

/// All of them, in the order of the table.
pub const ALL: [Busy; 3] = [Busy::Writing, Busy::Blocked, Busy::Silent];

/// What a source learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noticed {
    /// After this many milliseconds.
    After(f64),
    /// It did not, within [`WAIT_MAX`].
    Never,
    /// It was not there any more: it had written everything.
    HadEnded,
}

/// What a peer does when a client disconnects.
#[derive(Clone, Debug)]
pub struct HangUp {
    /// For each of [`ALL`], the median of the rounds.
    pub noticed: Vec<Noticed>,
    /// CPU seconds of the server for each second in which source and client are silent.
    pub silent_cpu_share: f64,
}

/// Measures a peer.
///
/// # Errors
/// That of the operating system or of a connection.
pub fn measure(program: &Path, peer: &Peer, rounds: usize) -> io::Result<HangUp> {
    let mut silent_cpu_share = 0.0;
    let noticed = ALL.into_iter().map(|busy| {
        let mut milliseconds = Vec::new();
        for _ in 0..rounds {
            let (noticed, cpu_share) = once(program, peer, busy)?;
            silent_cpu_share = cpu_share;
            match noticed {
                Noticed::After(time) => milliseconds.push(time),
                other => return Ok(other),
            }
        }
        milliseconds.sort_by(f64::total_cmp);
        Ok(Noticed::After(milliseconds[milliseconds.len() / 2]))
    });
    Ok(HangUp {
        noticed: noticed.collect::<io::Result<_>>()?,
        silent_cpu_share,
    })
}

/// Measures one disconnection, and the server's CPU seconds for a second of silence before it.
///
/// # Errors
/// That of the operating system or of a connection.
pub fn once(program: &Path, peer: &Peer, busy: Busy) -> io::Result<(Noticed, f64)> {
    let job = match busy {
        Busy::Writing => Job::new(Way::Paced, 8192, 1 << 30),
        Busy::Blocked => Job::new(Way::Complete, 8192, 64_000_000),
        Busy::Silent => Job::new(Way::Silent, 8192, BEFORE_SILENCE_BYTES),
    };
    let server = Server::start(program, peer, Threads::Two)?;
    let mut client = read_head(server.address, &job.to_string())?;
    match busy {
        Busy::Blocked => thread::sleep(BEFORE),
        Busy::Writing | Busy::Silent => read_for(&mut client, BEFORE)?,
    }
    let cpu_before = server.cpu_seconds()?;
    if busy == Busy::Silent {
        thread::sleep(Duration::from_secs(1));
    }
    let cpu_share = server.cpu_seconds()? - cpu_before;
    let left_at_us = now_us();
    drop(client);
    let noticed = wait(&server, left_at_us, job.total_bytes, busy)?;
    Ok((noticed, cpu_share))
}

fn wait(server: &Server, left_at_us: u64, total_bytes: u64, busy: Busy) -> io::Result<Noticed> {
    let end = Instant::now() + WAIT_MAX;
    while Instant::now() < end {
        let report = server.report()?;
        if let Some(at_us) = report.noticed_at_us {
            let microseconds = at_us.saturating_sub(left_at_us);
            return Ok(Noticed::After(microseconds as f64 / 1000.0));
        }
        if busy == Busy::Blocked && report.accepted_bytes == total_bytes {
            return Ok(Noticed::HadEnded);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(Noticed::Never)
}
