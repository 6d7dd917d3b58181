//! Clients that read a response's head and nothing more: what each costs the server and the kernel,
//! how long everybody else waits meanwhile, and what is left when they have hung up.

use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::part::{MIB, Part, growth_mib, noise, wait_until};
use crate::client::{self, Response};
use crate::process::Server;
use crate::report::{Bar, Limit, quantity};
use crate::stats::Sample;

const STREAM_BYTES: u64 = 1_000_000_000;
const PROBES: usize = 200;
const PROBE_EVERY: Duration = Duration::from_millis(10);

/// More than 1 % of the probes: the bar is missed, and each may take long.
const FAILURES_MAX: usize = 3;

/// All buffers are full long before; well below any stall time-out.
const FILL_MAX: Duration = Duration::from_secs(10);

/// How long the server may take to clean up.
const TIDY_MAX: Duration = Duration::from_secs(10);

/// What Linux counts TCP memory in.
const PAGE_BYTES: u64 = 4_096;

const KIB: f64 = 1_024.0;

/// More than the system takes for a client that reads nothing.
const PRODUCTION_BYTES: u64 = 100_000_000;

/// A stalled reader of a complete file in the spool has no thread; some are there for all of them.
const PRODUCTION_THREADS_MAX: f64 = 10.0;

/// What the clients ask for, with which configuration, and its bars.
pub(super) struct Profile {
    name: &'static str,
    streams: usize,
    /// The path that they ask for.
    path: fn() -> String,
    rss_max_kib: f64,
    threads_max: Option<f64>,
}

pub(super) const DEFAULTS: Profile = Profile {
    name: "defaults",
    streams: 1_000,
    path: || noise(STREAM_BYTES),
    rss_max_kib: 400.0,
    threads_max: None,
};

pub(super) const SMALL: Profile = Profile {
    name: "small profile",
    rss_max_kib: 200.0,
    ..DEFAULTS
};

/// 2,000 clients of one complete file in the spool.
pub(super) const PRODUCTION: Profile = Profile {
    name: "a file in the spool",
    streams: 2_000,
    path: || format!("/kept.bin?n={PRODUCTION_BYTES}&piece=65536"),
    rss_max_kib: 64.0,
    threads_max: Some(PRODUCTION_THREADS_MAX),
};

pub(super) fn measure(server: &Server, profile: &Profile) -> io::Result<Part> {
    eprintln!("{} stalled clients, {}", profile.streams, profile.name);
    if profile.threads_max.is_some() {
        // From now on it is complete.
        client::get(server.address(), &(profile.path)())?.count()?;
    }
    let threads_before = server.threads()?;
    let rss_before = server.resident_bytes()?;
    let kernel_before = sockstat_bytes()?;
    let stalled = stall(server, profile)?;
    wait_until_full(server)?;
    let costs = Costs {
        rss_bytes: server.resident_bytes()?.saturating_sub(rss_before),
        sockets: Sockets::of(server)?,
        threads: server.threads()?.saturating_sub(threads_before),
        both_ends_bytes: sockstat_bytes()?.saturating_sub(kernel_before),
    };
    let first_byte_ms = probes(server);
    let still = Sockets::of(server)?.count;
    drop(stalled);
    let left_most = rss_before + (50.0 * MIB) as u64;
    wait_until(TIDY_MAX, || Ok(server.resident_bytes()? <= left_most))?;
    let left_mib = growth_mib(server.resident_bytes()?, rss_before);
    Ok(Part {
        note: note(profile, &costs, still, &first_byte_ms),
        bars: bars(profile, &costs, still, &first_byte_ms, left_mib),
    })
}

/// What all stalled streams together cost.
struct Costs {
    rss_bytes: u64,
    sockets: Sockets,
    threads: u64,
    /// Of server and clients, all sockets of the machine.
    both_ends_bytes: u64,
}

impl Costs {
    /// Divided by the streams that are still there, not by those that were asked for.
    fn kib_per_stream(&self, bytes: u64) -> f64 {
        bytes as f64 / KIB / self.sockets.count as f64
    }
}

/// The server's ends of its connections.
struct Sockets {
    count: usize,
    /// `r` and `w` of `ss`'s `skmem`: what the receive and send queues hold,
    /// overhead included.
    queued_bytes: u64,
}

impl Sockets {
    fn of(server: &Server) -> io::Result<Self> {
        let filter = format!("sport = :{}", server.address().port());
        let output = Command::new("ss")
            .args(["-tmnH", "state", "connected", &filter])
            .output()?;
        Ok(Self::listed(&String::from_utf8_lossy(&output.stdout)))
    }

    fn listed(text: &str) -> Self {
        let mut sockets = Self {
            count: 0,
            queued_bytes: 0,
        };
        for (_, after) in text.lines().filter_map(|line| line.split_once("skmem:(")) {
            let fields = after.split([',', ')']);
            let of = |field: &str| field.strip_prefix(['r', 'w'])?.parse::<u64>().ok();
            sockets.count += 1;
            sockets.queued_bytes += fields.filter_map(of).sum::<u64>();
        }
        sockets
    }
}

/// Memory of all TCP sockets of the machine.
fn sockstat_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/sockstat")?;
    let tcp = text
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .unwrap_or_default();
    let mut words = tcp.split_whitespace().skip_while(|word| *word != "mem");
    let pages = words.nth(1).and_then(|word| word.parse::<u64>().ok());
    pages
        .map(|pages| pages * PAGE_BYTES)
        .ok_or_else(|| io::Error::other("no TCP mem in sockstat"))
}

fn stall(server: &Server, profile: &Profile) -> io::Result<Vec<Response>> {
    (0..profile.streams)
        .map(|_| client::get(server.address(), &(profile.path)()))
        .collect()
}

/// Waits until resident memory has not changed by 1 % for a second.
fn wait_until_full(server: &Server) -> io::Result<()> {
    let mut last = (Instant::now(), server.resident_bytes()?);
    wait_until(FILL_MAX, || {
        let now = server.resident_bytes()?;
        if now.abs_diff(last.1) > last.1 / 100 {
            last = (Instant::now(), now);
        }
        Ok(last.0.elapsed() >= Duration::from_secs(1))
    })
}

/// Milliseconds from connecting to the first body byte, of healthy clients one
/// after the other; infinite for those that were not served.
fn probes(server: &Server) -> Sample {
    let mut milliseconds = Vec::new();
    let mut failures = 0;
    while milliseconds.len() < PROBES && failures < FAILURES_MAX {
        thread::sleep(PROBE_EVERY);
        milliseconds.push(probe(server).unwrap_or_else(|error| {
            eprintln!("a healthy client: {error}");
            failures += 1;
            f64::INFINITY
        }));
    }
    milliseconds.resize(PROBES, f64::INFINITY);
    Sample::new(milliseconds)
}

fn probe(server: &Server) -> io::Result<f64> {
    let started = Instant::now();
    client::get(server.address(), &noise(1_000))?.read_some(1, 1_024)?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

fn note(profile: &Profile, costs: &Costs, still: usize, first_byte_ms: &Sample) -> String {
    format!(
        "Stalled, {}: {} clients read the head of a large file and nothing more, with the \
         default SO_RCVBUF; {} threads more served them; {} connections were up when memory was read, {still} after the probes. \
         Kernel memory is what `ss -tm` gives for the server's ends (r and w of skmem); all TCP \
         sockets of the machine, the clients' ends included, took {:.0} KiB a stream \
         (/proc/net/sockstat). Healthy clients' first byte, {} probes one after the other: p50 \
         {}, p99 {}, worst {}.",
        profile.name,
        profile.streams,
        costs.threads,
        costs.sockets.count,
        costs.kib_per_stream(costs.both_ends_bytes),
        first_byte_ms.len(),
        quantity(first_byte_ms.nearest_rank(0.5), "ms"),
        quantity(first_byte_ms.nearest_rank(0.99), "ms"),
        quantity(first_byte_ms.max(), "ms"),
    )
}

fn bars(
    profile: &Profile,
    costs: &Costs,
    still: usize,
    first_byte_ms: &Sample,
    left_mib: f64,
) -> Vec<Bar> {
    let bar = |promise: &str, figure, limit, unit| Bar {
        promise: format!("{promise} ({})", profile.name),
        figure,
        limit,
        unit,
    };
    let kernel = costs.kib_per_stream(costs.sockets.queued_bytes);
    let threads = |most| {
        bar(
            "threads for all of them",
            costs.threads as f64,
            Limit::AtMost(most),
            "",
        )
    };
    let mut bars = vec![
        bar(
            "stalled streams held",
            still as f64,
            Limit::AtLeast(profile.streams as f64),
            "",
        ),
        bar(
            "RSS per stalled stream",
            costs.kib_per_stream(costs.rss_bytes),
            Limit::AtMost(profile.rss_max_kib),
            "KiB",
        ),
        bar(
            "kernel TCP memory per stalled stream",
            kernel,
            Limit::AtMost(260.0),
            "KiB",
        ),
        bar(
            "first byte of healthy clients meanwhile, p99",
            first_byte_ms.nearest_rank(0.99),
            Limit::AtMost(50.0),
            "ms",
        ),
        bar(
            "RSS left after all stalled clients hung up",
            left_mib,
            Limit::AtMost(50.0),
            "MiB",
        ),
    ];
    bars.extend(profile.threads_max.map(threads));
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_read_from_what_ss_lists() {
        let text = "ESTAB 0 2304 127.0.0.1:80 127.0.0.1:4242\n\
                    \t skmem:(r10,rb131072,t7,tb2626560,f1792,w2304,o0,bl0,d0)\n\
                    ESTAB 0 0 127.0.0.1:80 127.0.0.1:4243\n\
                    \t skmem:(r0,rb131072,t0,tb2626560,f0,w0,o0,bl0,d0)\n";
        let sockets = Sockets::listed(text);
        assert_eq!((sockets.count, sockets.queued_bytes), (2, 2_314));
    }
}
