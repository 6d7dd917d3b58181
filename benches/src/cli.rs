//! The command line: names, defaults and help texts of its options. The measurements decide what
//! the options do.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::table_format::TableFormat;

/// `SO_SNDBUF` of the magnified side-by-side run: small enough that the kernel
/// stays in the second-level cache, so that the designs of bodies separate.
const MAGNIFIED_SNDBUF_BYTES: usize = 256 * 1024;

/// Measures datastreamer side by side with the alternatives.
///
/// Prints Markdown on stdout and progress on stderr. Exit status: 0 if every bar was met, 1 if a
/// bar was missed, 2 if a measurement failed.
#[derive(Parser, Debug)]
#[command(name = "datastreamer-bench", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) scale: Scale,
}

/// Rows of the table for which the bars are stated.
const TABLE_ROWS: u64 = 5_000_000;

/// Enough to check that everything runs; start-up dominates the figures.
const TABLE_ROWS_QUICK: u64 = 200_000;

/// How long to measure.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Fewer and shorter runs, for continuous integration. The bars stay the same.
    #[arg(long, global = true)]
    pub(crate) quick: bool,
}

/// One measurement, or a server to be measured.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Throughput, server CPU and peak memory against other bodies, in pairs.
    SideBySide(SideBySide),
    /// Memory, threads and file descriptors of the program under clients that are slow, stall or
    /// disconnect.
    Memory(Program),
    /// Time from the client's disconnection to the source's notification.
    Hangup,
    /// Time per byte of one large write, compared with smaller ones.
    Linear,
    /// Time until written bytes reach the client when the source then pauses.
    Flush,
    /// Tables from a Parquet file to /dev/null, in every format, compared with other programs.
    Tables(Tables),
    /// Tables over HTTP: time to the first byte, and memory with slow and fast clients.
    TablesHttp(TablesHttp),
    /// Files in the spool: their first reader, later ones, and a hundred at once.
    Productions(Productions),
    /// Queries of clients, each in a process of its own: all rows of a table, and the first byte.
    Sql(Sql),
    /// All measurements of streams, as one Markdown document.
    All(All),
    /// Runs one of the measured servers.
    Peer(Peer),
    /// Runs a command and prints its CPU time, wall time and peak memory.
    #[command(hide = true)]
    Meter(Meter),
}

/// How often a comparison is repeated, and how quiet the machine must be.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct Repeats {
    /// Pairs per comparison, or rounds of all contenders per format; the measurement has a default, and
    /// with --quick a smaller one.
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,
    /// Seconds to wait, per comparison, until other processes are idle.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    patience: u64,
}

impl Repeats {
    /// How many pairs or rounds are to be run, at least one.
    pub(crate) fn count(self, usual: usize) -> usize {
        self.pairs.unwrap_or(usual).max(1)
    }

    pub(crate) fn patience(self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// Options of the side-by-side comparison.
#[derive(Args, Debug, Clone)]
pub(crate) struct SideBySide {
    /// SO_SNDBUF of accepted sockets, in bytes. Magnifies differences; not a production setting.
    #[arg(long, value_name = "BYTES")]
    pub(crate) sndbuf: Option<usize>,
    /// Download over HTTP/2, with so many streams at once on one connection.
    #[arg(long, value_name = "STREAMS", value_delimiter = ',')]
    pub(crate) http2: Vec<u16>,
    #[command(flatten)]
    pub(crate) repeats: Repeats,
    /// Sizes of the source's writes, in bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [65_536, 8_192, 512, 64])]
    pub(crate) writes: Vec<u64>,
    /// Run only the comparisons of these servers (`ours`), or exactly these comparisons
    /// (`ours/mpsc`). Default: all.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) program: Program,
}

/// The program to measure and its configuration.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Program {
    /// The datastreamer program (default: the one in this program's folder).
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    /// The program's configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Options of the comparison of table formats.
#[derive(Args, Debug, Clone)]
pub(crate) struct Tables {
    /// Rows of the table (default: 5,000,000, with --quick 200,000).
    #[arg(long)]
    pub(crate) rows: Option<u64>,
    #[command(flatten)]
    pub(crate) repeats: Repeats,
    /// Only these formats (default: all).
    #[arg(long, value_delimiter = ',')]
    pub(crate) formats: Vec<TableFormat>,
    /// Write the document to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) program: Program,
}

/// Options of the measurement of tables over HTTP.
#[derive(Args, Debug, Clone)]
pub(crate) struct TablesHttp {
    /// Rows of the table (default: 5,000,000, with --quick 200,000).
    #[arg(long)]
    pub(crate) rows: Option<u64>,
    /// Measure only these suffixes of the table's URL, such as `.vot` (default: all).
    #[arg(long, value_delimiter = ',')]
    pub(crate) paths: Vec<String>,
    /// Write the document to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) program: Program,
}

/// Options of the measurement of files in the spool.
#[derive(Args, Debug, Clone)]
pub(crate) struct Productions {
    #[command(flatten)]
    pub(crate) repeats: Repeats,
    /// Write the document to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) program: Program,
}

/// Options of the measurement of clients' queries.
#[derive(Args, Debug, Clone)]
pub(crate) struct Sql {
    /// Rows of the table (default: 5,000,000, with --quick 200,000).
    #[arg(long)]
    pub(crate) rows: Option<u64>,
    #[command(flatten)]
    pub(crate) repeats: Repeats,
    /// Write the document to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) program: Program,
}

/// The command to measure.
#[derive(Args, Debug, Clone)]
pub(crate) struct Meter {
    /// The file that receives the command's stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// Options of the run of all measurements.
#[derive(Args, Debug, Clone)]
pub(crate) struct All {
    /// Write the document to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) side_by_side: SideBySide,
}

/// Options of a measured server; only the response body differs.
#[derive(Args, Debug, Clone)]
pub(crate) struct Peer {
    /// The kind of response body.
    pub(crate) mode: Mode,
    /// SO_SNDBUF of accepted sockets, in bytes.
    #[arg(long, value_name = "BYTES")]
    pub(crate) sndbuf: Option<usize>,
}

/// The kinds of response body that are compared.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// No producer: clones of one 64 KiB chunk. The ceiling.
    Static,
    /// Like `static` with a chunk of 128 KiB.
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
    /// The default number of rows.
    pub(crate) const fn table_rows(self) -> u64 {
        if self.quick {
            TABLE_ROWS_QUICK
        } else {
            TABLE_ROWS
        }
    }
}

impl All {
    /// The side-by-side run with the system's socket buffers.
    pub(crate) fn default_sockets(&self) -> SideBySide {
        SideBySide {
            sndbuf: None,
            http2: Vec::new(),
            ..self.side_by_side.clone()
        }
    }

    /// The side-by-side run with a small socket buffer, which magnifies differences.
    pub(crate) fn magnified(&self) -> SideBySide {
        let sndbuf = self.side_by_side.sndbuf.or(Some(MAGNIFIED_SNDBUF_BYTES));
        SideBySide {
            sndbuf,
            http2: Vec::new(),
            ..self.side_by_side.clone()
        }
    }

    /// The side-by-side run over HTTP/2: one stream, and several at once.
    pub(crate) fn http2(&self) -> SideBySide {
        SideBySide {
            sndbuf: None,
            http2: vec![1, 16],
            writes: vec![65_536],
            ..self.side_by_side.clone()
        }
    }
}
