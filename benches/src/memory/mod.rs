//! What badly behaved clients cost the program: slow clients, stalled clients, and clients that
//! disconnect. Each measurement has a fresh server. The figures are the server's alone; the clients
//! run in this process.

use std::io;

use crate::cli::{Program, Scale};
use crate::client;
use crate::contender;
use crate::process::{self, Server};
use crate::report::Report;
use part::noise;

mod hangups;
mod part;
mod slow;
mod stalled;

/// Room for more streams than the program has by default.
const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/memory.toml");

/// Like [`CONFIG`], with small buffers for many clients that stall.
const SMALL_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/memory-small.toml");

/// With a file in the spool.
const PRODUCTIONS_CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/memory-productions.toml");

/// A first download makes the server start its threads and touch its code.
const WARM_UP_BYTES: u64 = 10_000_000;

/// Runs the measurements.
pub(crate) fn measure(program: &Program, scale: Scale) -> io::Result<Report> {
    let parts = [
        slow::measure(&start(program)?, scale)?,
        stalled::measure(&start(program)?, &stalled::DEFAULTS)?,
        stalled::measure(&start(&with(program, SMALL_CONFIG))?, &stalled::SMALL)?,
        stalled::measure(
            &start(&with(program, PRODUCTIONS_CONFIG))?,
            &stalled::PRODUCTION,
        )?,
        hangups::measure(&start(program)?, scale)?,
    ];
    let mut report = Report {
        title: "Memory, threads and descriptors".into(),
        notes: vec![
            "All of `datastreamer serve --demo`, a fresh process for each measurement, after one \
             download of 10 MB, with `benches/memory.toml`, or `benches/memory-small.toml` for the \
             small profile, or `benches/memory-productions.toml` for the spool. RSS is VmRSS in /proc/PID/status."
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

fn with(program: &Program, config: &str) -> Program {
    Program {
        config: Some(config.into()),
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
