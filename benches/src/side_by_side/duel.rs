//! Two servers, compared in pairs: how they are started, checked and warmed up, and how long a run
//! is. [`super`] chooses the servers and the bars.

use std::io;
use std::time::Duration;

use crate::cli::{Scale, SideBySide};
use crate::client;
use crate::client_h2;
use crate::contender::{Contender, Setup};
use crate::pairs::{Pair, Pairs, Run};
use crate::process::Server;

/// Not a multiple of any piece, chunk or buffer.
const VERIFIED_BYTES: u64 = 16 * 1024 * 1024 + 12_345;

/// Two servers and a size of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) candidate: Contender,
    pub(super) baseline: Contender,
    pub(super) piece_bytes: u64,
    /// HTTP/2 with so many streams at once on one connection; 0: HTTP/1.1.
    pub(super) http2_streams: u16,
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) pairs: usize,
    /// Of one run, unless it would take longer than `run_max`.
    pub(super) run_bytes: u64,
    pub(super) run_max: Duration,
    pub(super) warm_up_bytes: u64,
    /// How long one comparison waits until other processes are idle.
    pub(super) patience: Duration,
}

impl Effort {
    pub(super) fn new(scale: Scale, wanted: &SideBySide) -> Self {
        // 2 GB at 4 GB/s is half a second: 50 ticks of CPU time, 2 % each.
        let full = Self {
            pairs: wanted.repeats.count(9),
            run_bytes: 2_000_000_000,
            run_max: Duration::from_secs(4),
            warm_up_bytes: 128_000_000,
            patience: wanted.repeats.patience(),
        };
        if !scale.quick {
            return full;
        }
        Self {
            pairs: wanted.repeats.count(3),
            run_bytes: 1_000_000_000,
            run_max: Duration::from_secs(1),
            warm_up_bytes: 32_000_000,
            ..full
        }
    }
}

/// The results of one comparison.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) comparison: Comparison,
    pub(super) pairs: Pairs,
    pub(super) peak_baseline_bytes: u64,
    pub(super) peak_candidate_bytes: u64,
}

/// Starts both, checks their bytes, warms them up, then runs the pairs.
pub(super) fn compare(
    comparison: Comparison,
    setup: &Setup,
    effort: Effort,
) -> io::Result<Outcome> {
    let Comparison {
        candidate,
        baseline,
        piece_bytes,
        http2_streams,
    } = comparison;
    let download = |contender, server: &Server, bytes| {
        download(contender, server, bytes, piece_bytes, http2_streams)
    };
    let baseline_server = baseline.start(setup)?;
    let candidate_server = candidate.start(setup)?;
    baseline.verify(&baseline_server, VERIFIED_BYTES, piece_bytes)?;
    candidate.verify(&candidate_server, VERIFIED_BYTES, piece_bytes)?;
    let warm = |contender, server| download(contender, server, effort.warm_up_bytes);
    let (baseline_bytes, candidate_bytes) = run_lengths(
        warm(baseline, &baseline_server)?,
        warm(candidate, &candidate_server)?,
        effort,
    );
    baseline_server.reset_peak()?;
    candidate_server.reset_peak()?;
    let servers = [&baseline_server, &candidate_server];
    let pairs = Pairs::measure(effort.pairs, effort.patience, &servers, || {
        Ok(Pair {
            baseline: download(baseline, &baseline_server, baseline_bytes)?,
            candidate: download(candidate, &candidate_server, candidate_bytes)?,
        })
    })?;
    Ok(Outcome {
        comparison,
        pairs,
        peak_baseline_bytes: baseline_server.peak_resident_bytes()?,
        peak_candidate_bytes: candidate_server.peak_resident_bytes()?,
    })
}

/// The same length for both, as long as the slower one's run stays within
/// `run_max` or near; the original is so slow that its runs are shorter.
fn run_lengths(baseline: Run, candidate: Run, effort: Effort) -> (u64, u64) {
    let within = |run: Run| {
        let most = (run.rate() * 1e6 * effort.run_max.as_secs_f64()) as u64;
        most.min(effort.run_bytes)
    };
    let (baseline_bytes, candidate_bytes) = (within(baseline), within(candidate));
    let shorter = baseline_bytes.min(candidate_bytes);
    if shorter >= effort.run_bytes / 4 {
        (shorter, shorter)
    } else {
        (baseline_bytes, candidate_bytes)
    }
}

/// One download, checked for its length.
fn download(
    contender: Contender,
    server: &Server,
    bytes: u64,
    piece: u64,
    http2_streams: u16,
) -> io::Result<Run> {
    let bytes_each = bytes / u64::from(http2_streams.max(1));
    let bytes = bytes_each * u64::from(http2_streams.max(1));
    let run = Run::timed(server, || match http2_streams {
        0 => client::get(server.address(), &contender.path(bytes, piece))?.count(),
        streams => {
            let path = contender.path(bytes_each, piece);
            client_h2::download(server.address(), &vec![path; streams.into()])
        }
    })?;
    if run.bytes != bytes {
        let what = format!(
            "{} sent {} bytes instead of {bytes}",
            contender.name(),
            run.bytes
        );
        return Err(io::Error::other(what));
    }
    Ok(run)
}
