//! Measures datastreamer side by side with the alternatives: this file turns
//! the command line into one measurement, prints its report, and exits with 1
//! when a bar is missed. It measures nothing itself.
//!
//! Reading order: [`cli`] (the command line), [`side_by_side`], [`memory`], [`hangup`], [`linear`],
//! [`flush`], [`tables`], [`tables_http`], [`productions`] and [`sql`] (one measurement each), [`peer`] (the
//! measured servers), then the tools: [`contender`], [`process`], [`client`], [`pairs`], [`compared`],
//! [`quiet`], [`report`].

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Command, Options, Scale};
use crate::report::Report;

mod cli;
mod client;
mod client_h2;
mod compared;
mod contender;
mod flush;
mod hangup;
mod in_process;
mod linear;
mod machine;
mod memory;
mod pairs;
mod pattern;
mod peer;
mod process;
mod productions;
mod quiet;
mod report;
mod scratch;
mod side_by_side;
mod sql;
mod stats;
mod table_format;
mod tables;
mod tables_http;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("datastreamer-bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the requested command; returns whether every bar was met.
fn run(options: Options) -> io::Result<bool> {
    let Options { command, scale } = options;
    match command {
        Command::Peer(peer) => peer::serve(&peer).map(|()| true),
        Command::SideBySide(wanted) => show(side_by_side::measure(&wanted, scale)?),
        Command::Memory(wanted) => {
            process::raise_own_descriptor_limit()?;
            show(memory::measure(&wanted, scale)?)
        }
        Command::Hangup => show(hangup::measure(scale)?),
        Command::Linear => show(linear::measure(scale)?),
        Command::Flush => show(flush::measure(scale)?),
        Command::Tables(wanted) => {
            let reports = tables::measure(&wanted, scale)?;
            finish("tables", wanted.out.as_deref(), scale, &reports)
        }
        Command::TablesHttp(wanted) => {
            let reports = tables_http::measure(&wanted, scale)?;
            finish("tables-http", wanted.out.as_deref(), scale, &reports)
        }
        Command::Productions(wanted) => {
            let reports = productions::measure(&wanted, scale)?;
            finish("productions", wanted.out.as_deref(), scale, &reports)
        }
        Command::Sql(wanted) => {
            let reports = sql::measure(&wanted, scale)?;
            finish("sql", wanted.out.as_deref(), scale, &reports)
        }
        Command::Meter(wanted) => tables::meter::serve(&wanted),
        Command::All(wanted) => {
            process::raise_own_descriptor_limit()?;
            all(&wanted, scale)
        }
    }
}

/// Prints one report; returns whether every bar was met.
fn show(report: Report) -> io::Result<bool> {
    println!("{}", report.markdown());
    Ok(report.passed())
}

/// Runs every measurement and writes one document.
fn all(wanted: &cli::All, scale: Scale) -> io::Result<bool> {
    // Fail now rather than after half an hour if the program is missing.
    contender::program_command(&wanted.side_by_side.program)?;
    let reports = [
        side_by_side::measure(&wanted.default_sockets(), scale)?,
        side_by_side::measure(&wanted.magnified(), scale)?,
        side_by_side::measure(&wanted.http2(), scale)?,
        memory::measure(&wanted.side_by_side.program, scale)?,
        hangup::measure(scale)?,
        linear::measure(scale)?,
        flush::measure(scale)?,
    ];
    finish("all", wanted.out.as_deref(), scale, &reports)
}

/// Writes one document of all reports; returns whether every bar was met.
fn finish(command: &str, out: Option<&Path>, scale: Scale, reports: &[Report]) -> io::Result<bool> {
    let document = report::document(command, &machine::facts(), scale, reports);
    match out {
        Some(path) => std::fs::write(path, document)?,
        None => println!("{document}"),
    }
    for line in reports.iter().flat_map(Report::missed) {
        eprintln!("missed: {line}");
    }
    Ok(reports.iter().all(Report::passed))
}
