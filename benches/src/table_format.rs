//! The table formats that are compared: their names in reports and in
//! `check.py`. Uses no other file; `tables/contenders.rs` lists the programs
//! that write each format.

use clap::ValueEnum;

/// A format, and for Parquet its compression.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableFormat {
    Votable,
    VotableBinary2,
    Fits,
    Csv,
    Tsv,
    Ndjson,
    Json,
    ParquetSnappy,
    ParquetZstd,
    Arrow,
}

impl TableFormat {
    /// The format's title in the report.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Votable => "VOTable TABLEDATA",
            Self::VotableBinary2 => "VOTable BINARY2",
            Self::Fits => "FITS",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Ndjson => "NDJSON",
            Self::Json => "JSON",
            Self::ParquetSnappy => "Parquet, snappy",
            Self::ParquetZstd => "Parquet, zstd 1",
            Self::Arrow => "Arrow IPC",
        }
    }

    /// The format's name in `check.py`.
    pub(crate) const fn check_name(self) -> &'static str {
        match self {
            Self::Votable => "votable",
            Self::VotableBinary2 => "votable-binary2",
            Self::Fits => "fits",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::ParquetSnappy | Self::ParquetZstd => "parquet",
            Self::Arrow => "arrow",
        }
    }
}
