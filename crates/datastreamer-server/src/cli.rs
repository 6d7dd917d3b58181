//! What the user typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Streams out large files that are produced on the fly.
#[derive(Debug, Parser)]
#[command(name = "datastreamer", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How log lines look, on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true, env = "DATASTREAMER_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One readable line for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves directories and configured routes over HTTP.
    ///
    /// A directory PATH becomes /NAME.tar. Without any PATH or route the built-in demo is served:
    /// /noise.bin?n=1e6.
    Serve(Serve),
    /// Writes a route's bytes to standard output, without a server.
    ///
    /// Exit code 0: the file is whole. 7: it is not.
    Cat(Cat),
    /// Checks a configuration file and says what it would serve.
    Check(Check),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) routes: Routes,
    /// Address to listen on [default: 127.0.0.1:8080]. Port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// What to write: a route as in its URL, for example 'noise.bin?n=1e6' or photos.tar.
    #[arg(value_name = "ROUTE")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) routes: Routes,
    /// Shows no progress line.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// What says which files there are.
#[derive(Debug, Default, Args)]
pub(crate) struct Routes {
    /// Directories to serve.
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "DATASTREAMER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Serves the built-in demo as well: /noise.bin.
    #[arg(long)]
    pub(crate) demo: bool,
}
