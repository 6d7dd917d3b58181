//! The program `datastreamer`: parse, resolve, run, exit code.

#[cfg(unix)]
mod allocator;
mod cat;
mod cli;
mod config;
mod connection;
mod error;
mod export;
mod index;
mod posted;
mod respond;
mod routes;
mod serve;
mod sources;
mod telemetry;
mod transfers;
mod units;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use datastreamer_table::Format;

use crate::{
    cli::{Check, Cli, Command},
    config::Config,
    error::Fatal,
    telemetry::Pace,
};

/// What `cat` logs: its output and its exit code say the rest.
const CAT_LOG_FILTER: &str = "warn";

fn main() -> ExitCode {
    #[cfg(unix)]
    allocator::give_back_soon();
    let cli = Cli::parse();
    let quieter = matches!(cli.command, Command::Cat(_)).then_some(CAT_LOG_FILTER);
    let pace = match cli.command {
        Command::Serve(_) => Pace::OfTheProgram,
        _ => Pace::OfTheReader,
    };
    let log = telemetry::start(cli.log_format, quieter, pace);
    let done = match &cli.command {
        Command::Serve(serve) => {
            config::load(&serve.routes, serve.listen.as_deref()).and_then(serve::run)
        }
        Command::Cat(cat) => cat::run(cat),
        Command::Check(check) => run_check(check),
        Command::Formats => print_with(list_formats),
        Command::Completions(wanted) => print_with(|out| Cli::write_completions(wanted.shell, out)),
        Command::Man => print_with(Cli::write_manual),
    };
    drop(log);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fatal::OutputClosed) => Fatal::OutputClosed.exit_code(),
        Err(error) => {
            // Who has closed standard error has the exit code.
            let _closed = writeln!(io::stderr(), "datastreamer: {error}");
            error.exit_code()
        }
    }
}

/// Prints to standard output; a reader that closes it early ends the program.
fn print_with(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<(), Fatal> {
    let mut page = Vec::new();
    let written = write(&mut page).and_then(|()| {
        let mut out = io::stdout().lock();
        out.write_all(&page)?;
        out.flush()
    });
    written.map_err(|_| Fatal::OutputClosed)
}

fn list_formats(out: &mut Vec<u8>) -> io::Result<()> {
    for format in Format::ALL {
        let (name, suffix) = (format.name(), format.suffix());
        let description = format.description();
        writeln!(
            out,
            "{name:<16} .{suffix:<8} {description} ({})",
            format.media_type()
        )?;
    }
    Ok(())
}

fn run_check(check: &Check) -> Result<(), Fatal> {
    let config = config::load_file(&check.file)?;
    print_with(|out| say_good(out, check, &config))
}

fn say_good(out: &mut Vec<u8>, check: &Check, config: &Config) -> io::Result<()> {
    writeln!(out, "{} is good", check.file.display())?;
    writeln!(out, "listen {}", config::show(&config.listen))?;
    for (file_name, route) in config.routes.iter() {
        let forms = route.other_suffixes();
        writeln!(out, "/{file_name}{forms} ({})", route.media_type())?;
    }
    Ok(())
}
