//! How fast a file is sent, against a body without a producer on the same server.
//!
//! Each transfer is paired with one of the static body, a moment before or after it. The figures are
//! medians of the ratios of pairs, because the machine is not at rest.

use std::{io, path::Path, time::Duration};

use crate::{
    client::Client,
    job::{Job, Way},
    peers::Peer,
    process::Server,
    servers::Threads,
};

/// The sizes of the writes, and the bytes of a transfer.
pub const SIZES: [(usize, u64); 3] = [
    (65536, 2_000_000_000),
    (8192, 2_000_000_000),
    (64, 800_000_000),
];

const WAIT_MAX: Duration = Duration::from_secs(120);

/// A peer for one size of writes.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// The rate of the peer over that of the static body: first quartile, median and third quartile of
    /// the pairs.
    pub ratio: [f64; 3],
    /// CPU seconds of the server for a gigabyte: the median.
    pub cpu_per_gb: f64,
    /// The same of the static body.
    pub static_cpu_per_gb: f64,
    /// MB/s of the static body: the median.
    pub static_rate: f64,
}

/// The speeds of one peer.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The peer.
    pub peer: &'static Peer,
    /// For each of [`SIZES`].
    pub speeds: [Speed; 3],
    /// The most memory that its server has had.
    pub peak_bytes: u64,
}

struct Pair {
    ours: Run,
    fixed: Run,
}

struct Run {
    rate: f64,
    cpu_per_gb: f64,
}

/// Measures all of these peers in rounds: one pair of each peer and size a round.
///
/// # Errors
/// That of the operating system, or of a transfer that is not complete.
pub fn measure(
    program: &Path,
    peers: &[&'static Peer],
    rounds: usize,
    mut progress: impl FnMut(usize),
) -> io::Result<Vec<Row>> {
    let servers = peers
        .iter()
        .map(|peer| Server::start(program, peer, Threads::Two));
    let servers: Vec<Server> = servers.collect::<io::Result<_>>()?;
    let mut pairs: Vec<[Vec<Pair>; 3]> = peers.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        for (server, pairs) in servers.iter().zip(&mut pairs) {
            for ((write_bytes, total_bytes), pairs) in SIZES.into_iter().zip(pairs) {
                pairs.push(pair(server, write_bytes, total_bytes, round % 2 == 0)?);
            }
        }
        progress(round);
    }
    let rows = peers.iter().zip(&servers).zip(&pairs);
    rows.map(|((peer, server), pairs)| {
        Ok(Row {
            peer,
            speeds: [&pairs[0], &pairs[1], &pairs[2]].map(|pairs| summary(pairs)),
            peak_bytes: server.peak_bytes()?,
        })
    })
    .collect()
}

fn pair(server: &Server, write_bytes: usize, bytes: u64, fixed_first: bool) -> io::Result<Pair> {
    let job = Job::new(Way::Complete, write_bytes, bytes).to_string();
    let static_path = format!("/static/{bytes}");
    if fixed_first {
        let fixed = run(server, &static_path, bytes)?;
        let ours = run(server, &job, bytes)?;
        Ok(Pair { ours, fixed })
    } else {
        let ours = run(server, &job, bytes)?;
        let fixed = run(server, &static_path, bytes)?;
        Ok(Pair { ours, fixed })
    }
}

fn run(server: &Server, path: &str, bytes: u64) -> io::Result<Run> {
    let cpu_before = server.cpu_seconds()?;
    let fetched = Client::Curl.fetch(server.address, path, WAIT_MAX)?;
    let cpu_seconds = server.cpu_seconds()? - cpu_before;
    if fetched.bytes != bytes || fetched.error.is_some() {
        return Err(io::Error::other(format!("{path}: {fetched:?}")));
    }
    Ok(Run {
        rate: bytes as f64 / 1e6 / fetched.seconds,
        cpu_per_gb: cpu_seconds / (bytes as f64 / 1e9),
    })
}

fn summary(pairs: &[Pair]) -> Speed {
    let [_, cpu_per_gb, _] = quartiles(pairs, |pair| pair.ours.cpu_per_gb);
    let [_, static_cpu_per_gb, _] = quartiles(pairs, |pair| pair.fixed.cpu_per_gb);
    let [_, static_rate, _] = quartiles(pairs, |pair| pair.fixed.rate);
    Speed {
        ratio: quartiles(pairs, |pair| pair.ours.rate / pair.fixed.rate),
        cpu_per_gb,
        static_cpu_per_gb,
        static_rate,
    }
}

fn quartiles(pairs: &[Pair], value: impl Fn(&Pair) -> f64) -> [f64; 3] {
    let mut values: Vec<f64> = pairs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [1, 2, 3].map(|quarter| values.get(last * quarter / 4).copied().unwrap_or_default())
}
