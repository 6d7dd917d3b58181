//! What can be typed on the command line. Owns names, defaults and help texts;
//! what they mean is decided by the measurements.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::tables::TableFormat;

/// `SO_SNDBUF` of the magnified side-by-side run: small enough that the kernel
/// stays in the second-level cache, so that the designs of bodies separate.
const MAGNIFIED_SNDBUF_BYTES: usize = 256 * 1024;

/// Measures datastreamer side by side with the alternatives.
///
/// Prints Markdown on stdout and progress on stderr. Exits with 0 when every
/// bar was met, with 1 when one was missed, with 2 when it could not measure.
#[derive(Parser, Debug)]
#[command(name = "datastreamer-bench", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) scale: Scale,
}

/// Rows of the table that the bars are stated for.
const TABLE_ROWS: u64 = 5_000_000;

/// Enough to see that everything runs; starting dominates.
const TABLE_ROWS_QUICK: u64 = 200_000;

/// How long to measure.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Fewer and shorter runs, for continuous integration; the same bars.
    #[arg(long, global = true)]
    pub(crate) quick: bool,
}

/// One measurement, or a server to be measured.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Throughput, server CPU and peak memory against other bodies, in pairs.
    SideBySide(SideBySide),
    /// Memory, threads and descriptors of the program under slow, stalled and leaving clients.
    Memory(Program),
    /// Time from the client's close to the source being told.
    Hangup,
    /// Time per byte of one huge write.
    Linear,
    /// Time until bytes are on the wire when the source goes silent.
    Flush,
    /// Tables from a Parquet file to nowhere, in every format, against other programs.
    Tables(Tables),
    /// Tables over HTTP: the first byte, and memory with slow and fast readers.
    TablesHttp(TablesHttp),
    /// Everything about streams, as one Markdown document.
    All(All),
    /// Runs one of the servers that are measured.
    Peer(Peer),
    /// Runs a command and prints what it cost.
    #[command(hide = true)]
    Meter(Meter),
}

/// What to put side by side.
#[derive(Args, Debug, Clone)]
pub(crate) struct SideBySide {
    /// SO_SNDBUF of accepted sockets, in bytes: a magnifier, not for production.
    #[arg(long, value_name = "BYTES")]
    pub(crate) sndbuf: Option<usize>,
    /// Pairs per comparison (default: 9, with --quick 3).
    #[arg(long)]
    pub(crate) pairs: Option<usize>,
    /// Sizes of one write, in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [65_536, 8_192, 512, 64])]
    pub(crate) writes: Vec<u64>,
    /// Seconds per comparison to wait for other processes to keep quiet.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) patience: u64,
    /// Only comparisons in which one of these takes part, or exactly this one
    /// (`ours`, `ours/mpsc`; default: all).
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) program: Program,
}

/// Where the program is and how to run it.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Program {
    /// The datastreamer program (default: next to this one).
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    /// Its configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Which tables to write.
#[derive(Args, Debug, Clone)]
pub(crate) struct Tables {
    /// Rows of the table (default: 5,000,000, with --quick 200,000).
    #[arg(long)]
    pub(crate) rows: Option<u64>,
    /// Rounds per format, in each of which every contender runs once (default: 7, with --quick 1).
    #[arg(long, value_name = "N")]
    pub(crate) pairs: Option<usize>,
    /// Only these formats (default: all).
    #[arg(long, value_delimiter = ',')]
    pub(crate) formats: Vec<TableFormat>,
    /// Seconds per format to wait for other processes to keep quiet.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) patience: u64,
    /// Write the document there instead of to stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) program: Program,
}

/// Which tables to download.
#[derive(Args, Debug, Clone)]
pub(crate) struct TablesHttp {
    /// Rows of the table (default: 5,000,000, with --quick 200,000).
    #[arg(long)]
    pub(crate) rows: Option<u64>,
    /// Only these paths under the table's name, such as `.vot` (default: all).
    #[arg(long, value_delimiter = ',')]
    pub(crate) paths: Vec<String>,
    /// Write the document there instead of to stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) program: Program,
}

/// A command whose cost is wanted.
#[derive(Args, Debug, Clone)]
pub(crate) struct Meter {
    /// Where its stdout goes.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// Everything, as one document.
#[derive(Args, Debug, Clone)]
pub(crate) struct All {
    /// Write the document there instead of to stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) side_by_side: SideBySide,
}

/// A server whose only variable is the body.
#[derive(Args, Debug, Clone)]
pub(crate) struct Peer {
    /// The body.
    pub(crate) mode: Mode,
    /// SO_SNDBUF of accepted sockets, in bytes.
    #[arg(long, value_name = "BYTES")]
    pub(crate) sndbuf: Option<usize>,
}

/// The bodies that are compared.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// No producer: clones of one 64 KiB chunk. The ceiling.
    Static,
    /// The same with a chunk of 128 KiB, as large as ours.
    StaticLarge,
    /// `tokio::io::duplex` with `SyncIoBridge` and `ReaderStream`.
    Bridge,
    /// A bounded tokio channel of coalesced 64 KiB chunks.
    Mpsc,
    /// `datastreamer::stream_out` and `write_all`.
    Ours,
    /// `datastreamer::stream_out` and `write_bytes`.
    OursBytes,
    /// `datastreamer_http::Download` behind an `ArmedListener`.
    OursArmed,
}

impl Mode {
    /// The name on the command line and in the tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::StaticLarge => "static-large",
            Self::Bridge => "bridge",
            Self::Mpsc => "mpsc",
            Self::Ours => "ours",
            Self::OursBytes => "ours-bytes",
            Self::OursArmed => "ours-armed",
        }
    }
}

impl Scale {
    /// How many rows a table has, unless told.
    pub(crate) const fn table_rows(self) -> u64 {
        if self.quick {
            TABLE_ROWS_QUICK
        } else {
            TABLE_ROWS
        }
    }
}

impl All {
    /// The side-by-side run as a service would see it.
    pub(crate) fn default_sockets(&self) -> SideBySide {
        SideBySide {
            sndbuf: None,
            ..self.side_by_side.clone()
        }
    }

    /// The side-by-side run under the magnifier.
    pub(crate) fn magnified(&self) -> SideBySide {
        let sndbuf = self.side_by_side.sndbuf.or(Some(MAGNIFIED_SNDBUF_BYTES));
        SideBySide {
            sndbuf,
            ..self.side_by_side.clone()
        }
    }
}
