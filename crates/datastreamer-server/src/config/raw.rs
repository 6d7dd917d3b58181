//! What a configuration file says, as written: every key that there is, unchecked.
//!
//! serde reads it; `resolve.rs` checks it.

use std::{
    collections::BTreeMap,
    fmt,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
};

use serde::Deserialize;
use toml::Spanned;

use crate::units::{ByteSize, Span};

/// The complete file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) server: RawServer,
    pub(super) stream: RawStream,
    pub(super) limits: RawLimits,
    pub(super) spool: RawSpool,
    pub(super) tables: RawTables,
    pub(super) sql: RawSql,
    pub(super) databases: BTreeMap<String, Spanned<RawDatabase>>,
    pub(super) routes: BTreeMap<String, Spanned<RawRoute>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServer {
    /// An address, or a port as a number.
    pub(super) listen: Option<RawValue>,
    pub(super) drain: Option<Span>,
    pub(super) trusted_proxies: Option<RawTexts>,
    pub(super) half_close: Option<RawHalfClose>,
    pub(super) receipts: Option<Span>,
    pub(super) cors: Option<RawTexts>,
}

/// Texts in a list; of the environment, with commas between them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RawTexts {
    List(Vec<String>),
    WithCommas(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStream {
    pub(super) chunk_bytes: Option<ByteSize>,
    pub(super) buffer_bytes: Option<ByteSize>,
    pub(super) fast_buffer_bytes: Option<ByteSize>,
    pub(super) flush_after: Option<Span>,
    pub(super) commit_after: Option<Span>,
    pub(super) commit_bytes: Option<ByteSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) max_active: Option<NonZeroUsize>,
    pub(super) max_waiting: Option<usize>,
    pub(super) max_active_per_client: Option<NonZeroUsize>,
    pub(super) reserve_bytes: Option<ByteSize>,
    pub(super) max_connections: Option<NonZeroUsize>,
    pub(super) queue_timeout: Option<Span>,
    pub(super) header_timeout: Option<Span>,
    pub(super) idle_timeout: Option<Span>,
    pub(super) client_stall: Option<Span>,
    pub(super) client_min_rate: Option<ByteSize>,
    pub(super) source_stall: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSpool {
    pub(super) folder: Option<PathBuf>,
    pub(super) bytes: Option<ByteSize>,
    pub(super) production_bytes: Option<ByteSize>,
    pub(super) client_bytes: Option<ByteSize>,
    pub(super) keep: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTables {
    pub(super) memory_bytes: Option<ByteSize>,
    pub(super) spill_bytes: Option<ByteSize>,
    pub(super) spill_folder: Option<PathBuf>,
    pub(super) time_limit: Option<Span>,
    pub(super) plan_timeout: Option<Span>,
    pub(super) open_wait: Option<Span>,
    pub(super) threads: Option<NonZeroUsize>,
    pub(super) length_wait: Option<Span>,
    pub(super) spool_bytes: Option<ByteSize>,
    pub(super) parquet_compression: Option<String>,
    pub(super) votable_version: Option<String>,
    pub(super) html_rows: Option<u64>,
    pub(super) fits_strict: Option<bool>,
    pub(super) expansion_max: Option<NonZeroU64>,
    pub(super) unpack_bytes: Option<ByteSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSql {
    pub(super) enabled: bool,
    pub(super) max_rows: Option<u64>,
    pub(super) memory_bytes: Option<ByteSize>,
    pub(super) max_active: Option<NonZeroUsize>,
    pub(super) min_rate: Option<ByteSize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    pub(super) kind: Kind,
    pub(super) suffix: Option<String>,
    pub(super) media_type: Option<String>,
    pub(super) description: Option<String>,
    pub(super) compress: Option<bool>,
    pub(super) keep: Option<RawKeep>,
    pub(super) resume: Option<RawResume>,
    pub(super) max_active: Option<NonZeroUsize>,
    pub(super) min_rate: Option<ByteSize>,
    pub(super) path: Option<PathBuf>,
    pub(super) hdu: Option<RawValue>,
    pub(super) argv: Option<Vec<String>>,
    pub(super) sql: Option<String>,
    pub(super) database: Option<String>,
    pub(super) parameters: Option<Vec<RawParameter>>,
    pub(super) columns: Option<RawMetadata>,
    pub(super) delimiter: Option<String>,
    pub(super) quote: Option<String>,
    pub(super) header: Option<bool>,
    pub(super) names: Option<Vec<String>>,
    pub(super) null: Option<Vec<String>>,
    pub(super) comment: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) decimal: Option<String>,
    pub(super) max_rows: Option<u64>,
    pub(super) on_more: Option<RawOnMore>,
    pub(super) on_change: Option<RawOnChange>,
    pub(super) hidden: Option<bool>,
    pub(super) stable: Option<bool>,
}

/// What becomes of a file with more rows than `max_rows`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawOnMore {
    Cap,
    Refuse,
}

/// What happens if a file of a directory changes while it is archived.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawOnChange {
    Abort,
    Freeze,
}

/// How a route's files are resumed that are not kept.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawResume {
    Rerun,
}

/// When a route's files are kept in the spool.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub(super) enum RawKeep {
    Word(KeepWord),
    For(Span),
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeepWord {
    None,
    Auto,
    WhileRunning,
}

/// Metadata of columns, by their names.
pub(super) type RawMetadata = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Noise,
    Directory,
    File,
    Command,
    Table,
    Query,
    Postgres,
    Stars,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawHalfClose {
    HangUp,
    Allow,
}

/// A PostgreSQL server, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDatabase {
    pub(super) url: String,
    pub(super) password_file: Option<PathBuf>,
    pub(super) tls_ca_file: Option<PathBuf>,
    pub(super) max_connections: Option<NonZeroUsize>,
    pub(super) acquire_timeout: Option<Span>,
    pub(super) statement_timeout: Option<Span>,
}

/// A parameter of a query, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawParameter {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) default: Option<RawValue>,
    pub(super) min: Option<RawValue>,
    pub(super) max: Option<RawValue>,
    pub(super) max_length: Option<usize>,
    pub(super) description: Option<String>,
}

/// A value as TOML has it: numbers and booleans bare, dates as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RawValue {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl RawTexts {
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::List(texts) => Box::new(texts.iter().map(String::as_str)),
            Self::WithCommas(text) => {
                let texts = text.split(',').map(str::trim);
                Box::new(texts.filter(|text| !text.is_empty()))
            }
        }
    }
}

impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl Kind {
    pub(crate) const ALL: &[Self] = &[
        Self::Noise,
        Self::Directory,
        Self::File,
        Self::Command,
        Self::Table,
        Self::Query,
        Self::Postgres,
        Self::Stars,
    ];

    pub(super) fn from_name(name: &str) -> Option<Self> {
        let mut kinds = Self::ALL.iter().copied();
        kinds.find(|kind| kind.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Directory => "directory",
            Self::File => "file",
            Self::Command => "command",
            Self::Table => "table",
            Self::Query => "query",
            Self::Postgres => "postgres",
            Self::Stars => "stars",
        }
    }
}
