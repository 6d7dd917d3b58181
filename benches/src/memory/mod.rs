//! What clients that do not behave cost the program: slow ones, stalled ones,
//! ones that leave. A fresh server for each; the figures are the server's own,
//! the clients live in this process.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::{Program, Scale};
use crate::client;
use crate::contender;
use crate::process::{self, Server};
use crate::report::Report;

mod hangups;
mod slow;
mod stalled;

/// 2^20 bytes.
const MIB: f64 = 1_048_576.0;

/// Room for more streams than the program has by default.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/memory.toml");

/// The same with buffers for many clients that stall.
const SMALL_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/memory-small.toml");

/// A first download makes the server start its threads and touch its code.
const WARM_UP_BYTES: u64 = 10_000_000;

/// Runs the three measurements.
pub(crate) fn measure(program: &Program, scale: Scale) -> io::Result<Report> {
    let parts = [
        slow::measure(&start(program)?, scale)?,
        stalled::measure(&start(program)?, &stalled::DEFAULTS)?,
        stalled::measure(&start(&small(program))?, &stalled::SMALL)?,
        hangups::measure(&start(program)?, scale)?,
    ];
    let mut report = Report {
        title: "Memory, threads and descriptors".into(),
        notes: vec![
            "All of `datastreamer serve --demo`, a fresh process for each measurement, after one \
             download of 10 MB, with `benches/memory.toml`, or `benches/memory-small.toml` for the small profile. RSS is VmRSS in /proc/PID/status."
                .into(),
        ],
        ..Report::default()
    };
    for part in parts {
        report.notes.push(part.note);
        report.bars.extend(part.bars);
    }
    Ok(report)
}

/// One measurement's share of the report.
struct Part {
    note: String,
    bars: Vec<crate::report::Bar>,
}

fn small(program: &Program) -> Program {
    Program {
        config: Some(SMALL_CONFIG.into()),
        ..program.clone()
    }
}

fn start(program: &Program) -> io::Result<Server> {
    let config = program.config.clone().or_else(|| Some(CONFIG.into()));
    let program = Program {
        config,
        ..program.clone()
    };
    let server = process::start(&contender::program_command(&program)?)?;
    client::get(server.address(), &noise(WARM_UP_BYTES))?.count()?;
    Ok(server)
}

/// The path of `total_bytes` in ordinary pieces.
fn noise(total_bytes: u64) -> String {
    format!("/noise.bin?n={total_bytes}&piece=65536")
}

/// Looks every 100 ms until `done` or until `most` has passed.
fn wait_until(most: Duration, mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let started = Instant::now();
    while !done()? && started.elapsed() < most {
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// By how much `now` exceeds `before`, in MiB; 0 when it does not.
fn growth_mib(now: u64, before: u64) -> f64 {
    now.saturating_sub(before) as f64 / MIB
}
