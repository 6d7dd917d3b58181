//! 10,000 clients that disconnect, early and late: whether threads, descriptors and memory return
//! to where they were.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::part::{MIB, Part, growth_mib, noise, wait_until};
use crate::cli::Scale;
use crate::client;
use crate::process::Server;
use crate::report::{Bar, Limit};

/// Clients at a time: more than the cores, less than any admission limit.
const CLIENTS: usize = 16;
const STREAM_BYTES: u64 = 1_000_000_000;

/// Before the baseline, so that pools are as full as this load fills them.
const WARM_UP_HANGUPS: usize = 1_000;

/// Idle threads of the pool end after 5 s: before that a leaked thread could hide behind them.
const SETTLE: Duration = Duration::from_secs(13);

/// Threads end and memory goes back after a while.
const TIDY_MAX: Duration = Duration::from_secs(30);

/// The allocator's own movements; a leak of 1 KiB a hang-up would be 10 MiB.
const RSS_LEFT_MAX_MIB: f64 = 8.0;

/// What a server holds.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    threads: u64,
    descriptors: u64,
    resident_bytes: u64,
}

pub(super) fn measure(server: &Server, scale: Scale) -> io::Result<Part> {
    let hangups = if scale.quick { 2_000 } else { 10_000 };
    eprintln!("{hangups} hang-ups");
    leave(server.address(), WARM_UP_HANGUPS)?;
    thread::sleep(SETTLE);
    let before = Holdings::of(server)?;
    let started = Instant::now();
    leave(server.address(), hangups)?;
    let took = started.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    wait_until(TIDY_MAX - SETTLE, || {
        Ok(bars(before, Holdings::of(server)?).iter().all(Bar::met))
    })?;
    // Not the one good moment that ended the wait.
    thread::sleep(Duration::from_secs(1));
    let after = Holdings::of(server)?;
    Ok(Part {
        note: note(hangups, took, before, after),
        bars: bars(before, after).into(),
    })
}

impl Holdings {
    fn of(server: &Server) -> io::Result<Self> {
        Ok(Self {
            threads: server.threads()?,
            descriptors: server.descriptors()?,
            resident_bytes: server.resident_bytes()?,
        })
    }
}

/// Hangs up this many times, from several threads.
fn leave(address: SocketAddr, hangups: usize) -> io::Result<()> {
    let client = move |first: usize| -> io::Result<()> {
        (first..hangups)
            .step_by(CLIENTS)
            .try_for_each(|number| leave_once(address, number))
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|first| scope.spawn(move || client(first)))
            .collect();
        clients.into_iter().try_for_each(|client| {
            client
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a client panicked")))
        })
    })
}

/// Disconnects after the request, after the head, in the first chunk, or late.
fn leave_once(address: SocketAddr, number: usize) -> io::Result<()> {
    let path = noise(STREAM_BYTES);
    match number / CLIENTS % 4 {
        0 => client::send(address, &path).map(drop),
        1 => client::get(address, &path).map(drop),
        2 => client::get(address, &path)?.read_some(1, 1_024).map(drop),
        _ => client::get(address, &path)?
            .read_some(3_000_000, 64 * 1024)
            .map(drop),
    }
}

fn note(hangups: usize, took: f64, before: Holdings, after: Holdings) -> String {
    let text = |holdings: Holdings| {
        format!(
            "{} threads, {} descriptors, {:.1} MiB",
            holdings.threads,
            holdings.descriptors,
            holdings.resident_bytes as f64 / MIB
        )
    };
    format!(
        "Leaving: {hangups} hang-ups in {took:.1} s, {CLIENTS} clients at a time, a quarter each \
         after the request, after the head, after the first bytes and after 3 MB; the baseline \
         follows {WARM_UP_HANGUPS} such hang-ups and {} s of rest. Before: {}; at most {} s \
         after: {}.",
        SETTLE.as_secs(),
        text(before),
        TIDY_MAX.as_secs(),
        text(after),
    )
}

fn bars(before: Holdings, after: Holdings) -> [Bar; 3] {
    let bar = |what: &str, figure, most, unit| Bar {
        promise: format!("{what} more than before the hang-ups"),
        figure,
        limit: Limit::AtMost(most),
        unit,
    };
    let more = |after: u64, before: u64| after as f64 - before as f64;
    let rss_mib = growth_mib(after.resident_bytes, before.resident_bytes);
    [
        bar("threads", more(after.threads, before.threads), 0.0, ""),
        bar(
            "descriptors",
            more(after.descriptors, before.descriptors),
            0.0,
            "",
        ),
        bar("RSS", rss_mib, RSS_LEFT_MAX_MIB, "MiB"),
    ]
}
