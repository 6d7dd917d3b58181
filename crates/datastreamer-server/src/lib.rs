//! The program `datastreamer`, as a library: what it serves, and the server.
//!
//! [`Config`] is what a configuration file says; [`Site::build`] opens what it names; [`Server`]
//! answers requests with the current [`Site`], and takes a new one while it runs. [`run`] is the
//! program: it parses the command line and runs one of its commands.
//!
//! A program that embeds the server calls [`run_if_child`] first in its `main`. Otherwise there is no
//! `/sql`, and the programs of routes may outlive it if it is killed.
//!
//! ```
//! use datastreamer_server::{Config, Server, Site};
//!
//! let config = Config::parse("[routes.noise]\nkind = \"noise\"\n", "".as_ref())?;
//! let server = Server::new(Site::build(&config)?);
//! let _router: axum::Router = server.router(); // nest it into a service of your own
//! server.replace(Site::build(&config)?); // requests from now on see the new site
//! # Ok::<(), datastreamer_server::Fatal>(())
//! ```

#![cfg_attr(
    not(feature = "tables"),
    allow(
        dead_code,
        unreachable_code,
        unused_variables,
        reason = "what only rows use stays in its place; nothing else is cut apart for that"
    )
)]

mod cli;
mod config;
mod error;
mod escapes;
mod export;
mod get;
mod http;
mod refusal;
mod site;
mod sources;
mod telemetry;
mod temporary_room;
mod units;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use crate::{
    cli::{Cli, Command, ConfigCommand},
    config::{BadPaths, CommandLine, Demo},
    telemetry::Pace,
};

pub use crate::{
    config::Config, error::ConfigError, error::Fatal, http::serve::Server, site::Site,
};

/// Does what this process was started for, and ends it, if that is the query of a client, or to end
/// the processes of a server that was killed; otherwise returns at once. To be called first in
/// `main`, before there are threads: both start this program once more.
///
/// ```no_run
/// datastreamer_server::run_if_child();
/// // The program itself.
/// ```
pub fn run_if_child() {
    #[cfg(feature = "tables")]
    datastreamer_engine::isolate::run_if_child();
    #[cfg(not(feature = "tables"))]
    datastreamer_process::run_if_guardian();
}

/// What `cat` and `get` log; their output and their exit codes are enough for everything else.
const QUIET_LOG_FILTER: &str = "warn";

/// Runs the program: parses the command line, runs its command, and returns the exit code. Prints
/// errors to standard error. Blocks.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let quieter =
        matches!(cli.command, Command::Cat(_) | Command::Get(_)).then_some(QUIET_LOG_FILTER);
    let pace = match cli.command {
        Command::Serve(_) => Pace::OfTheProgram,
        _ => Pace::OfTheReader,
    };
    let log = telemetry::start(cli.log_format, quieter, pace);
    let done = match &cli.command {
        Command::Serve(serve) => {
            let command_line = CommandLine {
                listen: serve.listen.as_deref(),
                bad_paths: match serve.fail_fast {
                    true => BadPaths::Refuse,
                    false => BadPaths::LeaveOut,
                },
                ..serve.routes.command_line(Demo::IfNothingElse)
            };
            let checked = serve.routes.check_flags(false);
            let config = checked.and_then(|()| Config::of_command_line(&command_line));
            config.and_then(http::serve::run)
        }
        Command::Cat(cat) => cli::cat::run(cat),
        Command::Get(get) => cli::get::run(get),
        Command::Check(check) => cli::check::run(check),
        #[cfg(feature = "tables")]
        Command::Formats => print_with(list_formats),
        Command::Config(ConfigCommand::Reference) => {
            print_with(|out| out.write_all(config::markdown::page().as_bytes()))
        }
        Command::Completions(wanted) => print_with(|out| Cli::write_completions(wanted.shell, out)),
        Command::Man => print_with(Cli::write_manual),
    };
    drop(log);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fatal::OutputClosed) => Fatal::OutputClosed.exit_code(),
        Err(error) => {
            for line in error.lines() {
                // If standard error is closed, the exit code remains.
                let _closed = writeln!(io::stderr(), "datastreamer: {line}");
            }
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
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Fatal::OutputClosed,
        // A full disk, for example.
        _ => Fatal::Incomplete(format!("cannot write to standard output: {error}")),
    })
}

#[cfg(feature = "tables")]
fn list_formats(out: &mut Vec<u8>) -> io::Result<()> {
    for format in sources::rows::Format::ALL {
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
