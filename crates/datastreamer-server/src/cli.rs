//! The command line, as the user typed it.

pub(crate) mod cat;
pub(crate) mod check;
pub(crate) mod get;
#[cfg(feature = "tables")]
mod text;
mod waiting;

use std::{ffi::OsString, io, path::PathBuf, time::Duration};

use ::http::{HeaderName, HeaderValue};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::{Generator, Shell};
#[cfg(feature = "tables")]
use datastreamer_table::parquet::ParquetCompression;
use url::{ParseError, Url};

#[cfg(feature = "tables")]
use crate::config::parse_compression;
#[cfg(feature = "tables")]
use crate::sources::rows::{Format, format_names};
use crate::{
    config::{
        BadPaths, CONFIG_VARIABLE, CommandLine, Demo, LOG_FORMAT_VARIABLE, TextOptions,
        reference::help,
    },
    error::Fatal,
    get::{is_own_header, words_of_url},
    units::parse_duration,
};

/// Streams out large files that are produced on the fly.
#[derive(Debug, Parser)]
#[command(name = "datastreamer", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How log lines look, on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true, env = LOG_FORMAT_VARIABLE)]
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
    /// Serves tables, directories and configured routes over HTTP.
    ///
    /// A table PATH (Parquet, CSV, TSV, NDJSON, Arrow, FITS; text and FITS also as .gz or .zst) becomes
    /// /NAME.vot, /NAME.fits, /NAME.csv and so on, a directory PATH the archive /NAME.tar; with
    /// --table PATH the files of a directory are one table. Without any PATH or route the built-in
    /// demo is served: /stars.vot?rows=1e6 and /noise.bin?n=1e6.
    Serve(Serve),
    /// Writes a table or a route's bytes to standard output, without a server.
    ///
    /// A folder's files are one table, as a file is; `cat photos.tar photos` writes a folder as an
    /// archive. The built-in demo is named with a slash: /stars.vot, /noise.bin. Exit code 0: the
    /// file is complete. 7: it is not.
    Cat(Cat),
    /// Downloads a file: resumes after breaks, checks its digest, and never keeps a truncated one.
    ///
    /// The file is NAME.part until it is complete; what is there after a break or a kill is used by
    /// the next run, if the server proves (with a strong ETag) that the file is still the same. Exit
    /// codes: 0 complete, and verified if the server states a digest; 3 a file is in the way; 4 not
    /// allowed; 5 refused; 6 busy; 7 incomplete; 8 the digest differs; 9 changed on the server, again
    /// and again; 10 complete as far as can be told, but cut to a limit of rows, or without a provable
    /// end.
    Get(Get),
    /// Lists the formats of tables.
    #[cfg(feature = "tables")]
    Formats,
    /// Checks a configuration file, reads its tables, and lists what it serves.
    ///
    /// Settings, programs and queries are checked, and every row of the tables is read. No query is
    /// run and no directory is archived; no database is asked without --connect.
    Check(Check),
    /// Describes the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints completions for a shell, for example `datastreamer completions bash`.
    Completions(Completions),
    /// Prints the manual page: `datastreamer man | man -l -`.
    Man,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints the reference of all settings, as Markdown.
    Reference,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: Shell,
}

impl Cli {
    /// Ends the program as for any other mistake in the command line: exit code 2.
    pub(crate) fn refuse(text: &str) -> ! {
        let mut command = Self::command();
        command
            .error(clap::error::ErrorKind::ArgumentConflict, text)
            .exit()
    }

    /// Writes the completions of a shell.
    pub(crate) fn write_completions(shell: Shell, out: &mut impl io::Write) -> io::Result<()> {
        let mut command = Self::command();
        command.set_bin_name("datastreamer");
        command.build();
        shell.try_generate(&command, out)
    }

    /// Writes the manual page: the program's, and a section for each command behind it.
    pub(crate) fn write_manual(out: &mut impl io::Write) -> io::Result<()> {
        let mut command = Self::command();
        command.build();
        clap_mangen::Man::new(command.clone()).render(out)?;
        write_subcommands(&command, out)
    }
}

fn write_subcommands(command: &clap::Command, out: &mut impl io::Write) -> io::Result<()> {
    for command in command
        .get_subcommands()
        .filter(|it| it.get_name() != "help")
    {
        let name = command.get_bin_name().unwrap_or_default().to_uppercase();
        writeln!(out, ".SH \"{name}\"")?;
        let page = clap_mangen::Man::new(command.clone());
        page.render_synopsis_section(out)?;
        page.render_description_section(out)?;
        page.render_options_section(out)?;
        write_subcommands(command, out)?;
    }
    Ok(())
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) routes: Routes,
    #[arg(long, value_name = "ADDR|PORT", help = help("server", "listen"))]
    pub(crate) listen: Option<String>,
    /// Ends if one PATH cannot be served. Without it that is a warning, and the others are served.
    #[arg(long)]
    pub(crate) fail_fast: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Cat {
    /// What to write: a table's file, folder or glob, for example stars.parquet,
    /// 'stars.parquet?dec=gt.30' or NAME=stars.parquet; or a route as in its URL, for example
    /// '/stars.vot?rows=1e6' or photos.tar.
    #[arg(value_name = "[NAME=]PATH|ROUTE")]
    pub(crate) target: OsString,
    /// The format of a table [default: what the route's suffix says, or votable]; `datastreamer
    /// formats` lists them.
    #[cfg(feature = "tables")]
    #[arg(long, short, value_name = "FORMAT", value_parser = parse_format)]
    pub(crate) format: Option<Format>,
    /// What becomes of columns that the format has no place for because they are nested, as FITS has
    /// none for structs: `skip` leaves them out [default: the table is refused].
    #[cfg(feature = "tables")]
    #[arg(long, value_name = "skip", value_parser = ["skip"])]
    pub(crate) nested: Option<String>,
    /// What becomes of texts beyond printable ASCII, where the format holds no others, as FITS: `replace`
    /// puts ? in the place of each such character [default: the table is refused].
    #[cfg(feature = "tables")]
    #[arg(long, value_name = "replace", value_parser = ["replace"])]
    pub(crate) ascii: Option<String>,
    /// Begins CSV with a byte order mark, without which some spreadsheets take UTF-8 for another encoding.
    #[cfg(feature = "tables")]
    #[arg(long)]
    pub(crate) bom: bool,
    /// Which table of a FITS file: its number (0 is the primary HDU, 1 the first extension) or its
    /// EXTNAME [default: the first table]; in a target, ?hdu=.
    #[cfg(feature = "tables")]
    #[arg(long, value_name = "NUMBER|NAME")]
    pub(crate) hdu: Option<String>,
    #[command(flatten)]
    pub(crate) routes: Routes,
    #[cfg(feature = "tables")]
    #[arg(
        long,
        value_name = "zstd|snappy|none",
        value_parser = parse_compression,
        help = help("tables", "parquet_compression"),
    )]
    pub(crate) parquet_compression: Option<ParquetCompression>,
    /// Shows no progress line.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl Cat {
    /// The parameters that options stand for, as in a URL.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        #[cfg(feature = "tables")]
        {
            let format = self
                .format
                .map(|format| ("format", format.name().to_owned()));
            let nested = self.nested.clone().map(|nested| ("nested", nested));
            let ascii = self.ascii.clone().map(|ascii| ("ascii", ascii));
            let bom = self.bom.then(|| ("bom", "1".to_owned()));
            [format, nested, ascii, bom].into_iter().flatten().collect()
        }
        #[cfg(not(feature = "tables"))]
        Vec::new()
    }

    /// The table of a FITS file that is asked for.
    pub(crate) fn hdu(&self) -> Option<&str> {
        #[cfg(feature = "tables")]
        return self.hdu.as_deref();
        #[cfg(not(feature = "tables"))]
        None
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Get {
    /// What to download: http://... or https://...; a user and a password in it become Basic
    /// authentication.
    #[arg(value_name = "URL", value_parser = parse_url)]
    pub(crate) url: Url,
    /// The file; - is standard output, which cannot be resumed [default: what the server calls it,
    /// or the last part of the URL].
    #[arg(long, short, value_name = "FILE|-")]
    pub(crate) output: Option<PathBuf>,
    /// Replaces a file that is there.
    #[arg(long, short)]
    pub(crate) force: bool,
    /// Connections at once, each for a part of the file, if the server offers that.
    #[arg(
        long,
        short = 'x',
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=16),
    )]
    pub(crate) connections: u8,
    /// Does not use what an earlier run has left.
    #[arg(long)]
    pub(crate) no_resume: bool,
    /// A header that is sent as well; may be given several times. Other hosts, behind redirects, get
    /// only Accept and User-Agent.
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(crate) header: Vec<(HeaderName, HeaderValue)>,
    /// Trusts the authorities in this file (PEM) besides those of the system or of SSL_CERT_FILE.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Vec<PathBuf>,
    /// How often to try again without any progress.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) retries: u32,
    /// How long the server may take for its first byte.
    #[arg(long, value_name = "DURATION", default_value = "120s", value_parser = parse_timeout)]
    pub(crate) head_timeout: Duration,
    /// How long nothing may come before the connection counts as broken, for example 30s or 5m.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_timeout)]
    pub(crate) timeout: Duration,
    /// Shows no progress, and of what happens only failures.
    #[arg(long, short, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Says also why something is not done.
    #[arg(long, short)]
    pub(crate) verbose: bool,
    /// Prints one JSON object at the end: file, bytes, sha256, etag, resumed, retries, verified,
    /// seconds, exit.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Reads the columns of Parquet, Arrow and FITS files, not their rows, and no rows of text files
    /// whose columns all have a type, as `serve` does when it starts.
    #[cfg(feature = "tables")]
    #[arg(long)]
    pub(crate) quick: bool,
    /// Connects to each database, within its time limits, and lets it prepare and plan the queries of
    /// its routes. None of them is run.
    #[cfg(feature = "tables")]
    #[arg(long)]
    pub(crate) connect: bool,
}

/// The flags that name what is served.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Routes {
    /// Tables and directories to serve; NAME=PATH serves it as /NAME.
    #[arg(value_name = "[NAME=]PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// A directory of files, hive partitions or a quoted glob that is one table.
    #[arg(long = "table", value_name = "[NAME=]PATH")]
    pub(crate) tables: Vec<PathBuf>,
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    pub(crate) config: Option<PathBuf>,
    /// Serves the built-in demo as well: /stars.vot and /noise.bin.
    #[arg(long)]
    pub(crate) demo: bool,
    #[cfg(feature = "tables")]
    #[command(flatten)]
    pub(crate) text: text::TextFlags,
}

impl Routes {
    /// Says the same to the configuration, with `demo` unless the flag is there.
    pub(crate) fn command_line(&self, demo: Demo) -> CommandLine<'_> {
        CommandLine {
            config: self.config.as_deref(),
            listen: None,
            paths: &self.paths,
            bad_paths: BadPaths::Refuse,
            tables: &self.tables,
            text: self.text_options(),
            demo: if self.demo { Demo::Always } else { demo },
        }
    }
}

impl Routes {
    /// Returns what the flags say of the files of tables.
    pub(crate) fn text_options(&self) -> TextOptions {
        #[cfg(feature = "tables")]
        return self.text.options();
        #[cfg(not(feature = "tables"))]
        TextOptions
    }

    /// Refuses flags that hold for no table, and those that contradict each other. `has_file`: there is a
    /// file beside the paths.
    ///
    /// # Errors
    /// There is such a flag.
    pub(crate) fn check_flags(&self, has_file: bool) -> Result<(), Fatal> {
        #[cfg(feature = "tables")]
        self.text.check().map_err(Fatal::config)?;
        match self.text_options().set().first() {
            Some(option) if !has_file && self.paths.is_empty() && self.tables.is_empty() => {
                let text = "holds for tables of the command line, and there are none";
                Err(Fatal::config(format!("--{option} {text}")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "tables")]
fn parse_format(text: &str) -> Result<Format, String> {
    Format::from_name(text).ok_or_else(|| format!("there are {}", format_names()))
}

fn parse_url(text: &str) -> Result<Url, String> {
    let without_scheme = || {
        let rest = text.trim_start_matches('/');
        format!("write http:// or https:// before it, for example http://{rest}")
    };
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        // `localhost:8080/x`, of which `localhost` would be the scheme.
        Ok(url) if url.path().starts_with(|first: char| first.is_ascii_digit()) => {
            Err(without_scheme())
        }
        Ok(url) => Err(format!("{} is neither http nor https", url.scheme())),
        Err(ParseError::RelativeUrlWithoutBase) if text.is_empty() => Err("it is empty".into()),
        Err(ParseError::RelativeUrlWithoutBase) => Err(without_scheme()),
        Err(error) => Err(words_of_url(error)),
    }
}

fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a header is written as NAME: VALUE")?;
    let name: HeaderName = name
        .trim()
        .parse()
        .map_err(|_| "that is no header's name")?;
    if is_own_header(&name) {
        return Err(format!("{name} is set by the download itself"));
    }
    let value = HeaderValue::from_str(value.trim());
    Ok((name, value.map_err(|_| "that is no header's value")?))
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    match timeout.is_zero() {
        true => Err("there must be some time".into()),
        false => Ok(timeout),
    }
}
