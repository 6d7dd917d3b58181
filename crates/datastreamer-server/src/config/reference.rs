//! The reference of the configuration: every setting, described once.
//!
//! `check.rs` refuses what is not in it, `environment.rs` takes its names of variables from it,
//! `cli.rs` its help, and `markdown.rs` writes it as a page. Tests compare it with what serde
//! accepts.

#[cfg(feature = "tables")]
mod tables;

#[cfg(not(feature = "tables"))]
#[path = "reference/no_tables.rs"]
mod tables;

use std::{ops::RangeInclusive, time::Duration};

use datastreamer::{
    DEFAULT_BUFFER_BYTES, DEFAULT_CHUNK_BYTES, DEFAULT_CONSUMER_STALL, DEFAULT_FAST_BUFFER_BYTES,
    DEFAULT_FAST_CHUNK_BYTES, DEFAULT_FLUSH_AFTER, DEFAULT_MAX_ACTIVE, DEFAULT_MAX_WAITING,
    DEFAULT_QUEUE_TIMEOUT, DEFAULT_RESERVE_BYTES, DEFAULT_SOURCE_STALL,
};
use datastreamer_http::{DEFAULT_COMMIT_AFTER, DEFAULT_COMMIT_BYTES};
use datastreamer_spool::{
    DEFAULT_CLIENT_BYTES_MAX, DEFAULT_KEEP, DEFAULT_PRODUCTION_BYTES_MAX, DEFAULT_TOTAL_BYTES_MAX,
};
use tokio::sync::Semaphore;

use super::{
    raw::Kind,
    resolve::{
        BUFFER_BYTES_MAX, CHUNK_BYTES_MAX, DEFAULT_ACTIVE_PER_CLIENT, DEFAULT_DRAIN,
        DEFAULT_HEADER_TIMEOUT, DEFAULT_IDLE_TIMEOUT, DEFAULT_LISTEN, DEFAULT_MAX_CONNECTIONS,
        DEFAULT_RECEIPTS,
    },
};
use crate::units::{show_bytes, show_duration};

/// Variables begin with this; `DATASTREAMER_SERVER__LISTEN` is `server.listen`.
pub(super) const ENV_PREFIX: &str = "DATASTREAMER_";

/// A table of the configuration.
pub(crate) struct Section {
    /// As in a file; of a table with a free name, the part in capitals stands for it.
    pub(crate) name: &'static str,
    pub(crate) about: String,
    /// Whether the environment may set its keys.
    pub(crate) has_variables: bool,
    pub(crate) settings: Vec<Setting>,
}

/// A key of a section.
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) value: ValueType,
    pub(crate) default: Default,
    /// What it does, and why it is as it is.
    pub(crate) about: String,
    /// The kinds of routes that take it; empty outside of routes.
    pub(crate) kinds: &'static [Kind],
}

/// What holds for a setting that is not written.
pub(crate) enum Default {
    /// There is none: the key must be written.
    Required,
    /// A value, as in a file.
    Value(String),
    /// What happens, in words.
    Words(&'static str),
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ValueType {
    Address,
    Size(RangeInclusive<u64>),
    Rate,
    Duration,
    /// Not 0.
    PositiveDuration,
    /// A duration, or a word for when a file is kept.
    Keep,
    /// 0 means never.
    DurationOrNever,
    Integer(RangeInclusive<u64>),
    Flag,
    Text,
    Path,
    OneOf(Vec<&'static str>),
    Texts,
    /// Addresses and prefixes, in a list or with commas.
    Networks,
    /// Origins of pages, in a list or with commas; `*` is all.
    Origins,
    /// A number, a truth value or a text.
    Scalar,
    /// The number or the name of a part of a FITS file.
    Hdu,
    /// Tables of this section, in a list.
    Tables(&'static str),
    /// Tables with free keys and texts, by name.
    Metadata,
}

/// Tables of this name have a name of their own behind it.
pub(crate) const ROUTES: &str = "routes.NAME";
pub(crate) const DATABASES: &str = "databases.NAME";
pub(crate) const PARAMETERS: &str = "routes.NAME.parameters";

const FILES: &[Kind] = &[Kind::Noise, Kind::Directory, Kind::File, Kind::Command];
const PATHS: &[Kind] = &[Kind::Directory, Kind::File, Kind::Table];
const KEPT: &[Kind] = &[
    Kind::Noise,
    Kind::Directory,
    Kind::Command,
    Kind::Table,
    Kind::Query,
    Kind::Postgres,
    Kind::Stars,
];
const TABLES: &[Kind] = &[Kind::Table];
const QUERIES: &[Kind] = &[Kind::Query, Kind::Postgres];
const DESCRIBED: &[Kind] = &[Kind::Table, Kind::Query, Kind::Postgres];
const ROWS: &[Kind] = &[Kind::Table, Kind::Query, Kind::Postgres, Kind::Stars];

/// Returns all sections, in the order of the page.
pub(crate) fn sections() -> Vec<Section> {
    let mut sections = vec![server(), stream(), limits(), spool()];
    sections.extend(tables::settings());
    sections.push(routes());
    sections.extend(tables::beside_routes());
    sections
}

const ACTIVE_DEFAULT: &str = "8 of `command`, `query` and `postgres`, which hold a process, memory or a connection; no limit \
     of the others";
const ACTIVE: &str = "Streams of the route at once, of which one client has at most half. More \
                      requests wait; those that wait for too long get 503 with Retry-After.";
const RATE_DEFAULT: &str = "at least 1000 of `command`, `query`, `postgres` and of a sorted `table`, else \
     `limits.client_min_rate`";
const RATE: &str = "A client slower than this many bytes per second is disconnected, as with \
                    `limits.client_min_rate`; 0: never.";

fn server() -> Section {
    section("server", "Where the program listens, and how it ends.")
        .with(setting("listen", ValueType::Address).default(format!("\"{DEFAULT_LISTEN}\"")).about(
            "Address to listen on, or a port alone, which is that port on 127.0.0.1. Port 0 takes \
             a free one. Only programs on the same machine reach the default.",
        ))
        .with(setting("drain", ValueType::Duration).time(DEFAULT_DRAIN).about(
            "After SIGTERM, SIGINT or SIGHUP, running transfers may go on for this long; then they \
             are aborted. 0 aborts them at once, and so does a second signal. Must be shorter than \
             the time after which a service manager sends SIGKILL (systemd: 90s), because clients \
             see a clean abort only before that.",
        ))
        .with(setting("trusted_proxies", ValueType::Networks).default("[]".into()).about(
            "Proxies in front of the program, as addresses and prefixes; in the environment with \
             commas. If the connection comes from one, the client is the last address in \
             `Forwarded` (RFC 7239) or `X-Forwarded-For` that is not one of them. If these headers \
             are malformed, or contradict each other, the last proxy counts as the client. Without \
             this setting all clients behind a proxy count as one.",
        ))
        .with(setting("half_close", ValueType::OneOf(vec!["hang-up", "allow"]))
            .default("\"hang-up\"".into()).about(
            "What it means that an HTTP/1 client closes its half of the connection before it has the \
             response. Most servers take it for a disconnection, because a client that disconnects \
             sends the same; with `allow` the response goes on until the connection is reset or the \
             client takes nothing for `limits.client_stall`, so a client that has gone may be noticed \
             late.",
        ))
        .with(setting("receipts", ValueType::Duration).time(DEFAULT_RECEIPTS).about(
            "For how long the receipt of a transfer (`/transfers/ID`, named in the `Link` header of \
             its response) can be read after the end of the transfer. The last 1000 transfers have \
             one, which takes at most 8 MB. 0: there are no receipts.",
        ))
        .with(setting("cors", ValueType::Origins).default("[]".into()).about(
            "Origins whose pages may read the files with scripts (CORS), for example \
             `[\"https://example.org\"]`; in the environment with commas. `\"*\"`: all. Cookies and \
             passwords of browsers are never allowed, and `/transfers` is for no other origin.",
        ))
}

fn stream() -> Section {
    let about = "Buffers of each stream. Larger ones save thread switches, smaller ones memory.";
    section("stream", about)
        .with(setting("chunk_bytes", size(1, CHUNK_BYTES_MAX)).size(DEFAULT_CHUNK_BYTES).about(format!(
            "Bytes that go through a stream at a time. If unset, chunks grow to {} for a client \
             that reads fast, and are at most half of `buffer_bytes`.",
            show_bytes(DEFAULT_FAST_CHUNK_BYTES as u64)
        )))
        .with(setting("buffer_bytes", size(2, BUFFER_BYTES_MAX)).size(DEFAULT_BUFFER_BYTES).about(
            "The most that a stream holds for any client; at least two chunks. If set and \
             `fast_buffer_bytes` is not, fast clients get no deeper buffer.",
        ))
        .with(setting("fast_buffer_bytes", size(2, BUFFER_BYTES_MAX)).size(DEFAULT_FAST_BUFFER_BYTES).about(
            "The same for a client that reads as fast as the source writes, out of \
             `limits.reserve_bytes`; at least `buffer_bytes`.",
        ))
        .with(setting("flush_after", ValueType::Duration).time(DEFAULT_FLUSH_AFTER).about(
            "Bytes that are written but do not fill a chunk are sent after this time, if the source \
             writes no more.",
        ))
        .with(setting("commit_after", ValueType::Duration).time(DEFAULT_COMMIT_AFTER).about(
            "The response head is held back for this time after the file has been planned, so that an \
             early failure gets an error status instead of an abort.",
        ))
        .with(setting("commit_bytes", size(0, BUFFER_BYTES_MAX)).size(DEFAULT_COMMIT_BYTES).about(
            "The response head is held back at most until this many bytes are there. They must fit \
             into `buffer_bytes` beside one chunk.",
        ))
}

fn limits() -> Section {
    let count = |min: u64| ValueType::Integer(min..=i64::MAX as u64);
    section("limits", "What all clients together and each of them may use, and how long a silence may last.")
        .with(setting("max_active", count(1)).number(DEFAULT_MAX_ACTIVE as u64).about(
            "Streams at once; each takes a thread and its buffers. More requests wait.",
        ))
        .with(setting("max_waiting", count(0)).number(DEFAULT_MAX_WAITING as u64).about(
            "Requests that wait for a place. If this many wait already, a request gets 503 with \
             Retry-After.",
        ))
        .with(setting("max_active_per_client", count(1)).number(DEFAULT_ACTIVE_PER_CLIENT as u64).about(
            "Streams at once of one client: an address, or of IPv6 a /64 network. As many more \
             requests wait; further ones, and those that wait for longer than `queue_timeout`, get \
             429 with Retry-After.",
        ))
        .with(setting("reserve_bytes", size(0, usize::MAX)).size(DEFAULT_RESERVE_BYTES).about(
            "Memory of all streams for fast clients, beyond their `buffer_bytes`.",
        ))
        .with(setting("queue_timeout", ValueType::PositiveDuration).time(DEFAULT_QUEUE_TIMEOUT).about(
            "A request that has waited for a place for this long gets 503. To let no request wait, \
             set `max_waiting = 0`.",
        ))
        .with(setting("max_connections", ValueType::Integer(1..=Semaphore::MAX_PERMITS as u64))
            .number(DEFAULT_MAX_CONNECTIONS as u64).about(
            "Connections at once, about 20 KiB of memory each. Waiting clients and index pages need \
             one too, so there are more than streams.",
        ))
        .with(setting("header_timeout", ValueType::PositiveDuration).time(DEFAULT_HEADER_TIMEOUT).about(
            "Time from the connection, or from the last response of HTTP/1.1, to the complete head \
             of the next request. Then the connection is closed.",
        ))
        .with(setting("idle_timeout", ValueType::PositiveDuration).time(DEFAULT_IDLE_TIMEOUT).about(
            "An HTTP/2 connection without requests is closed after this time.",
        ))
        .with(setting("client_stall", ValueType::DurationOrNever).time(DEFAULT_CONSUMER_STALL).about(
            "A client that takes no byte for this time is disconnected.",
        ))
        .with(setting("client_min_rate", ValueType::Rate).number(0).about(
            "A client slower than this many bytes per second, measured over `client_stall`, is \
             disconnected. `client_stall` must not be 0 then.",
        ))
        .with(setting("source_stall", ValueType::DurationOrNever).time(DEFAULT_SOURCE_STALL).about(
            "A source that writes no byte for this time is stopped.",
        ))
}

fn spool() -> Section {
    let about = "Where *productions* are kept: files that are made once, shared by all clients that ask for \
                 them, resumed after a break, and read in ranges. Which files are kept is a setting of \
                 the route, `keep`.";
    section("spool", about)
        .with(setting("folder", ValueType::Path)
            .words("one below the folder for temporary files, made when it is needed").about(
            "The folder; no other process may use it. Complete productions in it survive a restart, and so \
             does the knowledge of who has parts of which version, which clients need that resume without \
             `If-Range` (curl, wget, aria2).",
        ))
        .with(setting("bytes", size(0, usize::MAX)).bytes(DEFAULT_TOTAL_BYTES_MAX).about(
            "Bytes of all productions, and of the temporary files of FITS tables. The productions that were \
             used least recently go first, and never one that is being read. If nothing can go, a request \
             gets 507.",
        ))
        .with(setting("production_bytes", size(0, usize::MAX)).bytes(DEFAULT_PRODUCTION_BYTES_MAX).about(
            "Bytes of one production. A longer one is aborted.",
        ))
        .with(setting("client_bytes", size(0, usize::MAX)).bytes(DEFAULT_CLIENT_BYTES_MAX).about(
            "Bytes of all productions that one client has begun.",
        ))
        .with(setting("keep", ValueType::PositiveDuration).time(DEFAULT_KEEP).about(
            "For how long a production of a route with `keep = \"auto\"` is kept after its last use.",
        ))
}

fn routes() -> Section {
    let kinds = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let about = "A route: what is served as `/NAME.SUFFIX`. Kinds: `noise` (test bytes), \
                 `directory` (a tar archive of a directory tree), `file` (a file as it is, with ranges), `command` (what a program \
                 prints), `table` (files of rows), `query` (SQL over the tables), `postgres` (SQL \
                 on a PostgreSQL server), `stars` (an invented star catalogue). Routes of the last \
                 four kinds have every format of tables.";
    let metadata = format!(
        "`[routes.NAME.columns.COLUMN]`: metadata of a column, which overrides that of the files: \
         {}. Of a `table` of CSV, TSV or NDJSON also `type`, which is not inferred then: `text`, \
         `boolean`, `int8` to `int64`, `uint8` to `uint64`, `float32`, `float64`, `decimal(10,2)`, \
         `date`, `time`, `timestamp`, `timestamp with zone`, the last three also with a unit, as in \
         `timestamp(ns)`. If every column has one, no row is read before the first request.",
        tables::column_keys().join(", ")
    );
    let mut section = section(ROUTES, about)
        .with(setting("kind", ValueType::OneOf(kinds)).kinds(Kind::ALL).required().about(
            "What kind of route it is. The other keys depend on it.",
        ))
        .with(setting("description", ValueType::Text).kinds(Kind::ALL).words("none").about(
            "What it is, for the index page; also the description of a table in its files.",
        ))
        .with(setting("compress", ValueType::Flag).kinds(Kind::ALL).default("false".into()).about(
            "Whether the response is compressed (gzip or zstd) for clients that accept it.",
        ))
        .with(setting("keep", ValueType::Keep).kinds(KEPT).words("`auto` of tables, else `none`").about(
            "Which files of the route are kept in the spool, so that clients may resume them and read \
             ranges of them. `none`: each client has its own run, and no bytes are stored. `auto`: those \
             of clients that ask for ranges; of a table until its files change, of a query, which says \
             nothing of its data, for one client and a minute after its last use. What began as a \
             plain download is resumed if another run writes the same bytes (tables, in most formats). `while_running`: all, \
             while somebody receives them; equal requests at the same time share one run, and a slow \
             client does not hold the source. A duration: all, for this time after their last use; equal \
             requests within it get the same bytes, of a table unless its files have changed. \
             The answer must not depend on who asks.",
        ))
        .with(setting("resume", ValueType::OneOf(vec!["rerun"])).kinds(KEPT).words("none").about(
            "`rerun`: nothing is kept, and a client that resumes gets the rest of another run. That run is \
             compared with the digests of the earlier one up to the place of the break; if it differs, the \
             client is refused (412), or gets the complete file. It needs a source that writes the same \
             bytes each time, and a length that is known: from the source, or from an earlier run that was \
             complete. SQL must have an ORDER BY.",
        ))
        .with(setting("max_active", ValueType::Integer(1..=i64::MAX as u64)).kinds(Kind::ALL)
            .words(ACTIVE_DEFAULT).about(ACTIVE))
        .with(setting("min_rate", ValueType::Rate).kinds(Kind::ALL).words(RATE_DEFAULT).about(RATE))
        .with(setting("path", ValueType::Path).kinds(PATHS).required().about(
            "The directory or the file; of a table, a file, a directory (hive partitions) or a glob of Parquet, \
             CSV, TSV, NDJSON, Arrow or FITS files.",
        ))
        .with(setting("hdu", ValueType::Hdu).kinds(&[Kind::Table])
            .words("the first table, and the others for requests with `?hdu=`").about(
            "Which table of a FITS file, or of each of several: its number, as astropy counts (0 is the primary \
             HDU, 1 the first extension), or its EXTNAME. The route then has no other.",
        ))
        .with(setting("argv", ValueType::Texts).kinds(&[Kind::Command]).required().about(
            "The program and its arguments; there is no shell. Its file is complete only if it \
             exits with code 0.",
        ))
        .with(setting("suffix", ValueType::Text).kinds(FILES).words("`bin`; of a directory `tar`, of a file its own").about(
            "What the name of the file ends with: letters, digits, `.`, `-` and `_`.",
        ))
        .with(setting("media_type", ValueType::Text).kinds(FILES)
            .words("`application/octet-stream`; of a directory `application/x-tar`, of a file that of its suffix").about(
            "The Content-Type of the response.",
        ))
        .with(setting("on_change", ValueType::OneOf(vec!["abort", "freeze"])).kinds(&[Kind::Directory])
            .default("\"abort\"".into()).about(
            "What happens if a file changes while it is archived. `abort`: the download fails. `freeze`: a \
             file that grows, as a log does, is archived with the size that it had when its turn came, and \
             the log and the record of the transfer say that the rest was left out; a file that shrinks, or \
             is rewritten, still fails.",
        ))
        .with(setting("stable", ValueType::Flag).kinds(&[Kind::Directory]).default("false".into()).about(
            "`true`: the files change rarely. The archive then has a length and an ETag before its first byte, \
             so that clients show their progress, ask only for a new one, and resume it (`resume = \"rerun\"`, \
             or `keep`). The directory is walked before each response, some 10 µs a file, and a download fails \
             at its end if a file has changed before its turn came.",
        ))
        .with(setting("hidden", ValueType::Flag).kinds(&[Kind::Directory]).default("false".into()).about(
            "Whether files and directories whose names begin with `.` are archived: they often hold \
             passwords (`.env`), keys (`.ssh`) or histories (`.git`).",
        ))
        .with(setting("sql", ValueType::Text).kinds(QUERIES).required().about(
            "One SELECT; `$name` stands for a parameter.",
        ))
        .with(setting("database", ValueType::Text).kinds(&[Kind::Postgres]).words("the only one").about(
            "The NAME of a `[databases.NAME]`. The query runs in one read-only snapshot there, and \
             is cancelled if the client disconnects.",
        ))
        .with(setting("parameters", ValueType::Tables(PARAMETERS)).kinds(QUERIES).words("none").about(
            "What a client may set in the URL; see below.",
        ))
        .with(setting("columns", ValueType::Metadata).kinds(DESCRIBED).words("none").about(metadata))
        .with(setting("delimiter", ValueType::Text).kinds(TABLES)
            .words("`,` of CSV, a tab of TSV; another one that every row agrees with").about(
            "Of CSV and TSV: the ASCII character between fields; `\"tab\"` is a tab.",
        ))
        .with(setting("quote", ValueType::Text).kinds(TABLES).words("`\"` of CSV; TSV has escapes instead").about(
            "Of CSV and TSV: the ASCII character around fields, doubled within them. `\"\"`: none, and no \
             escapes.",
        ))
        .with(setting("header", ValueType::Flag).kinds(TABLES).default("true".into()).about(
            "Of CSV and TSV: whether the first row has the names of the columns. Without, they are \
             `names`, or else `column1`, `column2` and so on.",
        ))
        .with(setting("names", ValueType::Texts).kinds(TABLES).words("those of the header").about(
            "The names of all columns, in their order. Of CSV and TSV they need `header`: with `true` \
             they replace those of the header. Of NDJSON they are the members that an object may have; \
             any other is an error.",
        ))
        .with(setting("null", ValueType::Texts).kinds(TABLES).words("none").about(
            "Of CSV and TSV: texts that are null, besides the empty one, for example `[\"NA\", \"-\"]`. \
             In quotes they are null beside numbers, and texts beside texts.",
        ))
        .with(setting("comment", ValueType::Text).kinds(TABLES).words("none").about(
            "Of CSV and TSV: lines that begin with this ASCII character are left out.",
        ))
        .with(setting("encoding", ValueType::Text).kinds(TABLES).words("that of a byte order mark, else `utf-8`").about(
            "Of CSV, TSV and NDJSON: `utf-8`, `latin-1`, `windows-1252`, `utf-16` (with a byte order \
             mark), `utf-16le` or `utf-16be`. Bytes that are no character are an error.",
        ))
        .with(setting("decimal", ValueType::OneOf(vec![".", ","])).kinds(TABLES).text(".").about(
            "Of CSV and TSV: what is before the decimals of a number. With `,` a number has no point.",
        ))
        .with(setting("max_rows", ValueType::Integer(0..=i64::MAX as u64)).kinds(ROWS).words("no limit").about(
            "A download never has more rows. If this cuts a table, the client is told: see `on_more`.",
        ))
        .with(setting("on_more", ValueType::OneOf(vec!["cap", "refuse"])).kinds(ROWS).default("\"cap\"".into()).about(
            "What becomes of a table with more rows than `max_rows`. `cap`: it is cut, which the header \
             `datastreamer-row-limit` and the file's name say where it is known before, and the record \
             and a trailer otherwise. `refuse`: 422, or an abort where it is not known before; with \
             `limit` a client can ask for as many rows as it may have. HEAD reads no rows: where their \
             number takes reading them (a condition, PostgreSQL) it is 200, and GET may still be 422.",
        ));
    section.has_variables = false;
    section
}

fn section(name: &'static str, about: &str) -> Section {
    Section {
        name,
        about: about.into(),
        has_variables: true,
        settings: Vec::new(),
    }
}

fn setting(key: &'static str, value: ValueType) -> Setting {
    Setting {
        key,
        value,
        default: Default::Words("none"),
        about: String::new(),
        kinds: &[],
    }
}

fn size(min: u64, max: usize) -> ValueType {
    ValueType::Size(min..=max as u64)
}

impl Section {
    fn with(mut self, setting: Setting) -> Self {
        self.settings.push(setting);
        self
    }

    pub(crate) fn find(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// Names the variable of one of its keys.
    pub(crate) fn variable(&self, key: &str) -> Option<String> {
        let name = format!("{ENV_PREFIX}{}__{key}", self.name).to_uppercase();
        self.has_variables.then_some(name)
    }
}

impl Setting {
    fn default(self, text: String) -> Self {
        Self {
            default: Default::Value(text),
            ..self
        }
    }

    fn text(self, text: &str) -> Self {
        self.default(format!("\"{text}\""))
    }

    fn number(self, number: u64) -> Self {
        self.default(number.to_string())
    }

    fn size(self, bytes: usize) -> Self {
        self.bytes(bytes as u64)
    }

    fn bytes(self, bytes: u64) -> Self {
        self.text(&show_bytes(bytes))
    }

    fn time(self, time: Duration) -> Self {
        self.text(&show_duration(time))
    }

    fn words(self, words: &'static str) -> Self {
        Self {
            default: Default::Words(words),
            ..self
        }
    }

    fn required(self) -> Self {
        Self {
            default: Default::Required,
            ..self
        }
    }

    pub(crate) fn is_required(&self) -> bool {
        matches!(self.default, Default::Required)
    }

    fn kinds(self, kinds: &'static [Kind]) -> Self {
        Self { kinds, ..self }
    }

    fn about(self, about: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            ..self
        }
    }
}

impl ValueType {
    /// Says what it is, for the page.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Address => "address or port".into(),
            Self::Size(range) => describe_range("size", range, show_bytes),
            Self::Rate => "size, per second".into(),
            Self::Duration => "duration".into(),
            Self::PositiveDuration => "duration, not 0".into(),
            Self::Keep => "`\"none\"`, `\"auto\"`, `\"while_running\"` or duration".into(),
            Self::DurationOrNever => "duration; 0: never".into(),
            Self::Integer(range) => describe_range("integer", range, |number| number.to_string()),
            Self::Flag => "`true` or `false`".into(),
            Self::Text => "text".into(),
            Self::Path => "path".into(),
            Self::OneOf(choices) => {
                let choices: Vec<_> = choices.iter().map(|one| format!("`\"{one}\"`")).collect();
                choices.join(", ")
            }
            Self::Texts => "list of texts".into(),
            Self::Networks => "list of networks".into(),
            Self::Origins => "`\"*\"` or list of origins".into(),
            Self::Scalar => "number, text, `true` or `false`".into(),
            Self::Hdu => "integer or text".into(),
            Self::Tables(_) => "list of tables".into(),
            Self::Metadata => "tables of texts".into(),
        }
    }

    /// Says what is allowed, for an error.
    pub(crate) fn allowed(&self) -> String {
        match self {
            Self::Address => "an address or a port, for example \"127.0.0.1:8080\" or 8080".into(),
            Self::Size(range) => {
                let size = describe_range("a size", range, show_bytes);
                format!("{size}, for example 1000000, 1e9, 64KiB or 1.5GB")
            }
            Self::Rate => "a size, for example 1000000, 1e9, 64KiB or 1.5GB".into(),
            Self::Duration | Self::DurationOrNever => {
                "a duration of at most 100 years, for example 250ms, 30s or 10m".into()
            }
            Self::Keep => {
                "\"none\", \"auto\", \"while_running\" or a duration, for example \"1h\"".into()
            }
            Self::PositiveDuration => {
                "a duration longer than 0, at most 100 years, for example 250ms, 30s or 10m".into()
            }
            Self::Integer(range) => {
                let number = describe_range("a whole number", range, |number| number.to_string());
                format!("{number}, for example 8")
            }
            Self::Flag => "true or false".into(),
            Self::Text => "text in quotes".into(),
            Self::Path => "a path in quotes".into(),
            Self::OneOf(choices) => {
                let choices: Vec<_> = choices.iter().map(|one| format!("\"{one}\"")).collect();
                format!("one of {}", choices.join(", "))
            }
            Self::Texts => format!("a list of texts, for example {}", self.example()),
            Self::Networks => {
                format!(
                    "a list of addresses and prefixes, for example {}",
                    self.example()
                )
            }
            Self::Origins => {
                format!(
                    "\"*\" or a list of origins as browsers write them, for example {}",
                    self.example()
                )
            }
            Self::Scalar => "a number, text in quotes, true or false".into(),
            Self::Hdu => "the number of an HDU, of which the primary is 0, or its EXTNAME".into(),
            Self::Tables(_) => {
                "a list of tables, for example [{ name = \"limit\", type = \"number\" }]".into()
            }
            Self::Metadata => format!("tables of texts, for example {}", self.example()),
        }
    }

    /// Returns a value that it allows, as in a file.
    pub(crate) fn example(&self) -> String {
        match self {
            Self::Address => "\"127.0.0.1:8080\"".into(),
            Self::Size(_) | Self::Rate => "\"64KiB\"".into(),
            Self::Duration | Self::PositiveDuration | Self::DurationOrNever => "\"30s\"".into(),
            Self::Keep => "\"auto\"".into(),
            Self::Integer(_) => "8".into(),
            Self::Flag => "true".into(),
            Self::Text => "\"a text\"".into(),
            Self::Path => "\"/tmp\"".into(),
            Self::OneOf(choices) => format!("{:?}", choices.first().unwrap_or(&"")),
            Self::Texts => "[\"pg_dump\", \"stars\"]".into(),
            Self::Networks => "[\"127.0.0.1\", \"10.0.0.0/8\"]".into(),
            Self::Origins => "[\"https://example.org\", \"http://localhost:8000\"]".into(),
            Self::Scalar => "1.5".into(),
            Self::Hdu => "1".into(),
            Self::Tables(_) => "[]".into(),
            Self::Metadata => "{ ra = { unit = \"deg\" } }".into(),
        }
    }
}

/// Bounds that the type of a number has anyway are not said.
fn describe_range(what: &str, range: &RangeInclusive<u64>, show: impl Fn(u64) -> String) -> String {
    let (min, max) = (*range.start(), *range.end());
    match (min > 0, max < i64::MAX as u64) {
        (false, false) => what.into(),
        (true, false) => format!("{what}, at least {}", show(min)),
        (false, true) => format!("{what}, at most {}", show(max)),
        (true, true) => format!("{what}, from {} to {}", show(min), show(max)),
    }
}

/// Says whether a key of the file belongs to what this program was built without: then
/// `no_tables.rs` refuses what matters.
pub(crate) fn is_left_out(name: &str) -> bool {
    tables::LEFT_OUT.contains(&name)
}

/// Finds a setting by its section and key, and says in a flag's help what the page says.
pub(crate) fn help(section: &str, key: &str) -> String {
    let sections = sections();
    let section = sections.iter().find(|it| it.name == section);
    let setting = section.and_then(|section| section.find(key));
    setting.map_or_else(String::new, |setting| match &setting.default {
        Default::Value(value) => {
            let value = value.trim_matches('"');
            format!("{} [default: {value}]", setting.about)
        }
        _ => setting.about.clone(),
    })
}

#[cfg(test)]
#[cfg(feature = "tables")]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::config::raw::{
        Raw, RawDatabase, RawLimits, RawParameter, RawRoute, RawServer, RawSpool, RawSql,
        RawStream, RawTables,
    };

    /// Returns the keys that serde knows, from its error for one that it does not.
    fn keys_of<T: DeserializeOwned>() -> BTreeSet<String> {
        let Err(error) = toml::from_str::<T>("no_such_key = 1") else {
            panic!("it takes any key");
        };
        let (_, expected) = error
            .message()
            .split_once(", expected ")
            .expect("a list of what is expected");
        let keys = expected.split('`').skip(1).step_by(2);
        keys.map(ToOwned::to_owned).collect()
    }

    fn keys_in(section: &Section) -> BTreeSet<String> {
        let keys = section.settings.iter();
        keys.map(|setting| setting.key.to_owned()).collect()
    }

    #[test]
    fn the_reference_has_exactly_the_keys_that_serde_accepts() {
        let structs = [
            ("server", keys_of::<RawServer>()),
            ("stream", keys_of::<RawStream>()),
            ("limits", keys_of::<RawLimits>()),
            ("spool", keys_of::<RawSpool>()),
            ("tables", keys_of::<RawTables>()),
            ("sql", keys_of::<RawSql>()),
            (ROUTES, keys_of::<RawRoute>()),
            (PARAMETERS, keys_of::<RawParameter>()),
            (DATABASES, keys_of::<RawDatabase>()),
        ];
        let sections = sections();
        assert_eq!(sections.len(), structs.len());
        for (section, (name, keys)) in sections.iter().zip(structs) {
            assert_eq!(section.name, name);
            assert_eq!(keys_in(section), keys, "[{name}]");
            assert_eq!(section.settings.len(), keys.len(), "[{name}]: one twice");
        }
        let of_file = sections
            .iter()
            .map(|section| section.name.split('.').next());
        let of_file: BTreeSet<_> = of_file.flatten().map(ToOwned::to_owned).collect();
        assert_eq!(of_file, keys_of::<Raw>());
    }

    /// A section with one key, and those that it cannot be without.
    fn file_with(section: &Section, setting: &Setting, value: &str) -> String {
        let required: &str = match section.name {
            ROUTES => "kind = \"noise\"\n",
            PARAMETERS => "name = \"a\"\ntype = \"text\"\n",
            DATABASES => "url = \"host=a\"\n",
            _ => "",
        };
        let required: Vec<_> = required
            .lines()
            .filter(|line| !line.starts_with(&format!("{} ", setting.key)))
            .collect();
        let head = match section.name {
            ROUTES => "[routes.a]".to_owned(),
            PARAMETERS => "[routes.a]\nkind = \"query\"\n[[routes.a.parameters]]".to_owned(),
            DATABASES => "[databases.a]".to_owned(),
            name => format!("[{name}]"),
        };
        format!(
            "{head}\n{}\n{} = {value}\n",
            required.join("\n"),
            setting.key
        )
    }

    #[test]
    fn serde_accepts_the_default_and_an_example_of_every_setting() {
        for section in sections() {
            for setting in &section.settings {
                let default = match &setting.default {
                    Default::Value(value) => Some(value.clone()),
                    _ => None,
                };
                for value in default.into_iter().chain([setting.value.example()]) {
                    let file = file_with(&section, setting, &value);
                    let read = toml::from_str::<Raw>(&file);
                    assert!(read.is_ok(), "{file}: {read:?}");
                }
            }
        }
    }
}
