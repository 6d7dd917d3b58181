//! Throughput, server CPU and peak memory of two servers at a time: which pairs are compared, the
//! bars, and the table. A figure is the median over pairs of the pair's ratio. Calls [`duel`] to
//! run the pairs.

use std::io;

use crate::cli::{Mode, Scale, SideBySide};
use crate::contender::{Contender, Setup};
use crate::quiet::FOREIGN_CPU_SHARE_MAX;
use crate::report::{Bar, Limit, Report, Table, extremes, quantity, quartiles};
use crate::stats::Sample;
use duel::{Comparison, Effort, Outcome};

mod duel;

const STATIC: Contender = Contender::Peer(Mode::Static);
const STATIC_LARGE: Contender = Contender::Peer(Mode::StaticLarge);
const BRIDGE: Contender = Contender::Peer(Mode::Bridge);
const MPSC: Contender = Contender::Peer(Mode::Mpsc);
const OURS: Contender = Contender::Peer(Mode::Ours);
const OURS_ARMED: Contender = Contender::Peer(Mode::OursArmed);
const OURS_BYTES: Contender = Contender::Peer(Mode::OursBytes);
const ORIGINAL: Contender = Contender::Original;
const PROGRAM: Contender = Contender::Program;

/// Candidate and baseline: every server against the ceiling, then ours against each alternative.
const MATCHES: [(Contender, Contender); 10] = [
    (STATIC_LARGE, STATIC),
    (BRIDGE, STATIC),
    (MPSC, STATIC),
    (OURS, STATIC),
    (OURS_BYTES, STATIC),
    (OURS_ARMED, STATIC),
    (PROGRAM, STATIC),
    (OURS, BRIDGE),
    (OURS, MPSC),
    (OURS, ORIGINAL),
];

/// Over HTTP/2: what the server costs there, and what of it is the copy into the chunk.
const HTTP2_MATCHES: [(Contender, Contender); 4] = [
    (OURS, STATIC),
    (OURS_BYTES, STATIC),
    (OURS_ARMED, STATIC),
    (PROGRAM, STATIC),
];

/// Runs every comparison that is requested and possible.
pub(crate) fn measure(wanted: &SideBySide, scale: Scale) -> io::Result<Report> {
    let setup = Setup {
        sndbuf: wanted.sndbuf,
        program: wanted.program.clone(),
    };
    let effort = Effort::new(scale, wanted);
    let mut notes = vec![method(&setup, effort, wanted)];
    let mut absent = Vec::new();
    for contender in [ORIGINAL, PROGRAM, OURS_ARMED] {
        if let Some(obstacle) = contender.obstacle(&setup) {
            notes.push(format!(
                "Left out: {}, because {obstacle}.",
                contender.name()
            ));
            absent.push(contender);
        }
    }
    notes.iter().skip(1).for_each(|note| eprintln!("{note}"));
    let mut outcomes = Vec::new();
    let plan = plan(wanted, &absent);
    if plan.is_empty() {
        return Err(io::Error::other("nothing is left to compare"));
    }
    for comparison in plan {
        let outcome = duel::compare(comparison, &setup, effort)?;
        eprintln!("{}", row(&outcome, &bars(&outcome, &setup)).join(" | "));
        outcomes.push(outcome);
    }
    Ok(report(&setup, notes, &outcomes))
}

fn plan(wanted: &SideBySide, absent: &[Contender]) -> Vec<Comparison> {
    let chosen = |(candidate, baseline): &(Contender, Contender)| {
        let names = [candidate.name(), baseline.name()];
        let named = |only: &String| names.contains(&&**only) || *only == names.join("/");
        let present = !absent.contains(candidate) && !absent.contains(baseline);
        present && (wanted.only.is_empty() || wanted.only.iter().any(named))
    };
    let (matches, streams): (&[_], &[u16]) = match wanted.http2.as_slice() {
        [] => (&MATCHES, &[0]),
        streams => (&HTTP2_MATCHES, streams),
    };
    let mut plan = Vec::new();
    for &http2_streams in streams {
        for &piece_bytes in &wanted.writes {
            let chosen = matches.iter().copied().filter(chosen);
            plan.extend(chosen.map(|(candidate, baseline)| Comparison {
                candidate,
                baseline,
                piece_bytes,
                http2_streams,
            }));
        }
    }
    plan
}

/// The bars of one comparison; may be none.
fn bars(outcome: &Outcome, setup: &Setup) -> Vec<Bar> {
    let Comparison {
        candidate,
        baseline,
        piece_bytes,
        http2_streams,
    } = outcome.comparison;
    let bar = |what: &str, sample: Sample, limit| Bar {
        promise: format!(
            "{what} of {} to {} at {}",
            candidate.name(),
            baseline.name(),
            outcome.comparison.size()
        ),
        figure: sample.median(),
        limit,
        unit: "",
    };
    let rate = |least| bar("rate", outcome.pairs.rate_ratio(), Limit::AtLeast(least));
    let cpu = |most| bar("CPU", outcome.pairs.cpu_ratio(), Limit::AtMost(most));
    if setup.sndbuf.is_some() {
        return match (candidate, baseline, piece_bytes) {
            (OURS, STATIC, _) => vec![rate(0.84)],
            // Smaller buffers are copied.
            (OURS_BYTES, STATIC, 65_536) => vec![rate(0.88)],
            _ => Vec::new(),
        };
    }
    if http2_streams > 0 {
        return match candidate {
            PROGRAM => vec![rate(0.9)],
            _ => Vec::new(),
        };
    }
    match (candidate, baseline, piece_bytes) {
        (PROGRAM, STATIC, 64) => vec![rate(0.85), cpu(1.6)],
        (PROGRAM, STATIC, _) => vec![rate(0.92), cpu(1.3)],
        (OURS, STATIC, _) => vec![rate(0.95), cpu(1.2)],
        (OURS, MPSC, _) => vec![rate(1.0)],
        (OURS, BRIDGE, 8_192) => vec![rate(2.0)],
        (OURS, BRIDGE, 64) => vec![rate(5.0)],
        (OURS, ORIGINAL, 65_536) => vec![rate(20.0)],
        (OURS, ORIGINAL, 64) => vec![rate(50.0)],
        _ => Vec::new(),
    }
}

impl Comparison {
    /// The size of the writes, and over HTTP/2 how many streams there are.
    fn size(&self) -> String {
        match self.http2_streams {
            0 => format!("{} B", self.piece_bytes),
            streams => format!("{} B, {streams} streams", self.piece_bytes),
        }
    }
}

fn report(setup: &Setup, notes: Vec<String>, outcomes: &[Outcome]) -> Report {
    let with_bars: Vec<_> = outcomes
        .iter()
        .map(|outcome| (outcome, bars(outcome, setup)))
        .collect();
    let table = Table {
        header: vec![
            "write",
            "server",
            "against",
            "MB/s (min–max)",
            "the other's",
            "ratio (quartiles)",
            "CPU s/GB",
            "the other's",
            "CPU ratio",
            "peak RSS MB",
            "the other's",
            "GB a run",
            "used by others (pairs dropped)",
            "verdict",
        ],
        rows: with_bars
            .iter()
            .map(|(outcome, bars)| row(outcome, bars))
            .collect(),
    };
    let over_http2 = outcomes.iter().any(|it| it.comparison.http2_streams > 0);
    let title = match setup.sndbuf {
        Some(bytes) => format!("Side by side, SO_SNDBUF {bytes} (a magnifier)"),
        None if over_http2 => "Side by side, HTTP/2".into(),
        None => "Side by side, default socket settings".into(),
    };
    let bars = with_bars.into_iter().flat_map(|(_, bars)| bars).collect();
    Report {
        title,
        notes,
        tables: vec![table],
        bars,
    }
}

fn row(outcome: &Outcome, bars: &[Bar]) -> Vec<String> {
    let Comparison {
        candidate,
        baseline,
        ..
    } = outcome.comparison;
    let short = |figure| quantity(figure, "");
    let megabytes = |bytes: u64| short(bytes as f64 / 1e6);
    let lengths = outcome
        .pairs
        .first()
        .map_or((0, 0), |p| (p.candidate.bytes, p.baseline.bytes));
    vec![
        outcome.comparison.size(),
        candidate.name().into(),
        baseline.name().into(),
        extremes(&outcome.pairs.sample(|pair| pair.candidate.rate())),
        extremes(&outcome.pairs.sample(|pair| pair.baseline.rate())),
        quartiles(&outcome.pairs.rate_ratio()),
        short(outcome.pairs.sample(|pair| pair.candidate.cpu()).median()),
        short(outcome.pairs.sample(|pair| pair.baseline.cpu()).median()),
        quartiles(&outcome.pairs.cpu_ratio()),
        megabytes(outcome.peak_candidate_bytes),
        megabytes(outcome.peak_baseline_bytes),
        gigabytes(lengths),
        outcome.pairs.used_by_others(),
        verdicts(bars),
    ]
}

fn gigabytes((candidate_bytes, baseline_bytes): (u64, u64)) -> String {
    let text = |bytes: u64| quantity(bytes as f64 / 1e9, "");
    if candidate_bytes == baseline_bytes {
        return text(candidate_bytes);
    }
    format!("{}, {}", text(candidate_bytes), text(baseline_bytes))
}

fn verdicts(bars: &[Bar]) -> String {
    let what = |bar: &Bar| bar.promise.split(' ').next().unwrap_or_default().to_owned();
    let verdicts: Vec<String> = bars
        .iter()
        .map(|bar| format!("{} {}", what(bar), bar.verdict()))
        .collect();
    if verdicts.is_empty() {
        "–".into()
    } else {
        verdicts.join("; ")
    }
}

fn method(setup: &Setup, effort: Effort, wanted: &SideBySide) -> String {
    let sockets = match setup.sndbuf {
        Some(bytes) => format!(
            "SO_SNDBUF {bytes} on accepted sockets: not for production, it only makes the kernel \
             cheap enough for the bodies to differ"
        ),
        None => "Default socket settings".into(),
    };
    let (protocol, client) = match wanted.http2.is_empty() {
        true => ("HTTP/1.1", "a plain blocking socket with a 256 KiB buffer"),
        false => (
            "HTTP/2 with prior knowledge, the bytes shared out among the streams",
            "the crate h2 on one thread, with windows of 4 MiB a stream and 64 MiB",
        ),
    };
    format!(
        "{sockets}. Loopback {protocol}, a connection a run, {} pairs a comparison (A B A B ...), \
         after a checked download (every byte compared) and a warm-up of {} MB. A ratio is the \
         median of the pairs' ratios. CPU is the server's user and system time; the client is \
         {client}. The sources of the bodies read no more \
         memory than the ceiling (64 KiB, again and again), which sends chunks of 64 KiB, and \
         static-large of 128 KiB; the original's read 1 MiB. A pair during which other processes used \
         more than {:.0} % of the machine is run again, at most as many as there are pairs; the \
         quietest are kept, whatever their figures.",
        effort.pairs,
        effort.warm_up_bytes / 1_000_000,
        FOREIGN_CPU_SHARE_MAX * 100.0,
    )
}
