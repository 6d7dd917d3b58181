//! Runs of two servers in alternation (A B A B ...), so that other load on the machine affects both.
//! Which runs are compared, and how long they are, is decided by the measurements.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{self, Server};
use crate::quiet::{self, Watched};
use crate::stats::Sample;

/// The end of a stream counts as part of it: threads that end, chunks that are freed.
const SETTLE: Duration = Duration::from_millis(20);

/// One download, or several at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

impl Run {
    /// Runs a download, which returns its bytes: the time until it returns, and the server's CPU time
    /// until a little later.
    pub(crate) fn timed(
        server: &Server,
        download: impl FnOnce() -> io::Result<u64>,
    ) -> io::Result<Self> {
        let cpu_before = server.cpu_seconds()?;
        let started = Instant::now();
        let bytes = download()?;
        let seconds = started.elapsed().as_secs_f64();
        thread::sleep(SETTLE);
        Ok(Self {
            bytes,
            seconds,
            cpu_seconds: server.cpu_seconds()? - cpu_before,
        })
    }

    /// Megabytes (10^6) a second.
    pub(crate) fn rate(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds
    }

    /// Server CPU seconds a gigabyte (10^9).
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu_seconds / (self.bytes as f64 / 1e9)
    }
}

/// A run of each, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) baseline: Run,
    pub(crate) candidate: Run,
}

/// The pairs of one comparison.
#[derive(Debug)]
pub(crate) struct Pairs {
    pairs: Vec<Watched<Pair>>,
    /// Pairs that do not count, because other processes used the machine.
    repeated: usize,
}

impl Pairs {
    /// Runs so many pairs and, within `patience`, waits until other processes than the servers are
    /// idle. Disturbed pairs are run again.
    pub(crate) fn measure(
        wanted: usize,
        patience: Duration,
        servers: &[&Server],
        mut pair: impl FnMut() -> io::Result<Pair>,
    ) -> io::Result<Self> {
        let (pairs, repeated) =
            quiet::undisturbed(wanted, patience, || watched(servers, &mut pair))?;
        Ok(Self { pairs, repeated })
    }

    pub(crate) fn first(&self) -> Option<&Pair> {
        self.pairs.first().map(|pair| &pair.found)
    }

    pub(crate) fn sample(&self, figure: impl Fn(&Pair) -> f64) -> Sample {
        Sample::new(self.pairs.iter().map(|pair| figure(&pair.found)))
    }

    pub(crate) fn rate_ratio(&self) -> Sample {
        self.sample(|pair| pair.candidate.rate() / pair.baseline.rate())
    }

    pub(crate) fn cpu_ratio(&self) -> Sample {
        self.sample(|pair| pair.candidate.cpu() / pair.baseline.cpu())
    }

    /// How much of the machine other processes used, and how many pairs were dropped for that.
    pub(crate) fn used_by_others(&self) -> String {
        let shares = self.pairs.iter().map(|pair| pair.foreign_cpu_share);
        let share = Sample::new(shares).median().max(0.0);
        format!("{:.0} % ({})", 100.0 * share, self.repeated)
    }
}

/// Runs a pair and measures how much of the machine other processes used meanwhile.
fn watched(
    servers: &[&Server],
    pair: &mut impl FnMut() -> io::Result<Pair>,
) -> io::Result<Watched<Pair>> {
    let foreign = || -> io::Result<f64> {
        let mut concerned = process::own_cpu_seconds()?;
        for server in servers {
            concerned += server.cpu_seconds()?;
        }
        Ok(process::machine_cpu_seconds()? - concerned)
    };
    let (started, before) = (Instant::now(), foreign()?);
    let found = pair()?;
    let foreign_cpu_share = (foreign()? - before) / quiet::capacity(started.elapsed());
    Ok(Watched {
        found,
        foreign_cpu_share,
    })
}
