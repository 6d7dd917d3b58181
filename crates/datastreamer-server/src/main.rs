//! The program `datastreamer`: parse, resolve, run, exit code.

mod cat;
mod cli;
mod config;
mod error;
mod export;
mod index;
mod respond;
mod routes;
mod serve;
mod sources;
mod telemetry;
mod transfers;
mod units;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Check, Cli, Command},
    error::Fatal,
};

/// What `cat` logs: its output and its exit code say the rest.
const CAT_LOG_FILTER: &str = "warn";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let quieter = matches!(cli.command, Command::Cat(_)).then_some(CAT_LOG_FILTER);
    telemetry::start(cli.log_format, quieter);
    let done = match &cli.command {
        Command::Serve(serve) => {
            config::load(&serve.routes, serve.listen.as_deref()).and_then(serve::run)
        }
        Command::Cat(cat) => cat::run(cat),
        Command::Check(check) => run_check(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fatal::OutputClosed) => Fatal::OutputClosed.exit_code(),
        Err(error) => {
            eprintln!("datastreamer: {error}");
            error.exit_code()
        }
    }
}

fn run_check(check: &Check) -> Result<(), Fatal> {
    let config = config::load_file(&check.file)?;
    println!("{} is good", check.file.display());
    println!("listen {}", config.listen);
    for (file_name, route) in config.routes.iter() {
        println!("/{file_name} ({})", route.media_type());
    }
    Ok(())
}
