//! The kinds of files that there are readers for, by the suffixes of their names.

use std::{fmt, path::Path};

use datastreamer_text::{Compression, TextFormat};

/// The format of a file, and its compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Parquet,
    Text(TextFormat, Compression),
    Arrow,
    Fits(Compression),
}

/// The suffixes, for messages.
pub(crate) const SUFFIXES: &str = "parquet, csv, tsv, ndjson, jsonl, arrow, fits (csv, tsv, \
                                   ndjson and fits also with .gz or .zst)";

impl FileKind {
    /// Returns the kind of a file by its suffix; `None` if no reader knows it.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        // A suffix is ASCII, whatever the bytes before it are.
        let name = path.file_name()?.to_string_lossy();
        let (stem, compression) = match name.rsplit_once('.') {
            Some((stem, suffix)) if suffix.eq_ignore_ascii_case("gz") => (stem, Compression::Gzip),
            Some((stem, suffix)) if suffix.eq_ignore_ascii_case("zst") => (stem, Compression::Zstd),
            // Written by fpack. A table in it that is not compressed is one as in any FITS file.
            Some((stem, suffix)) if suffix.eq_ignore_ascii_case("fz") => {
                let is_fits = Self::of(Path::new(stem)) == Some(Self::Fits(Compression::None));
                return is_fits.then_some(Self::Fits(Compression::None));
            }
            _ => (&*name, Compression::None),
        };
        let (_, suffix) = stem.rsplit_once('.')?;
        let kind = match suffix.to_ascii_lowercase().as_str() {
            "parquet" | "parq" | "pq" => Self::Parquet,
            "csv" => Self::Text(TextFormat::Csv, compression),
            "tsv" | "tab" => Self::Text(TextFormat::Tsv, compression),
            "ndjson" | "jsonl" => Self::Text(TextFormat::Ndjson, compression),
            "arrow" | "arrows" | "feather" | "ipc" => Self::Arrow,
            "fits" | "fit" | "fts" => Self::Fits(compression),
            _ => return None,
        };
        let may_be = matches!(kind, Self::Text(..) | Self::Fits(_));
        (may_be || compression == Compression::None).then_some(kind)
    }

    /// Returns the usual suffix of files that are not compressed; `None` if they are, and of Arrow, whose
    /// two layouts share their suffixes.
    pub(crate) fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Parquet => Some("parquet"),
            Self::Text(TextFormat::Csv, Compression::None) => Some("csv"),
            Self::Text(TextFormat::Tsv, Compression::None) => Some("tsv"),
            Self::Text(TextFormat::Ndjson, Compression::None) => Some("ndjson"),
            Self::Fits(Compression::None) => Some("fits"),
            Self::Text(..) | Self::Arrow | Self::Fits(_) => None,
        }
    }

    /// Returns whether the columns are in the file's header.
    pub(crate) fn is_binary(self) -> bool {
        !matches!(self, Self::Text(..))
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, compression) = match self {
            Self::Parquet => ("Parquet", Compression::None),
            Self::Text(TextFormat::Csv, compression) => ("CSV", *compression),
            Self::Text(TextFormat::Tsv, compression) => ("TSV", *compression),
            Self::Text(TextFormat::Ndjson, compression) => ("NDJSON", *compression),
            Self::Arrow => ("Arrow", Compression::None),
            Self::Fits(compression) => ("FITS", *compression),
        };
        let compression = match compression {
            Compression::None => "",
            Compression::Gzip => " (gzip)",
            Compression::Zstd => " (zstd)",
        };
        write!(f, "{name}{compression}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_decides_its_kind() {
        let kind = |name: &str| FileKind::of(Path::new(name));
        let text = |format, compression| Some(FileKind::Text(format, compression));
        assert_eq!(kind("a.b.parquet"), Some(FileKind::Parquet));
        assert_eq!(kind("a.jsonl"), text(TextFormat::Ndjson, Compression::None));
        for name in ["a.csv.gz", "a.CSV.gz", "A.CSV.GZ"] {
            assert_eq!(
                kind(name),
                text(TextFormat::Csv, Compression::Gzip),
                "{name}"
            );
        }
        for name in ["a.tsv.zst", "A.TSV.ZST"] {
            assert_eq!(
                kind(name),
                text(TextFormat::Tsv, Compression::Zstd),
                "{name}"
            );
        }
        let fits = |compression| Some(FileKind::Fits(compression));
        assert_eq!(kind("a.fits.fz"), fits(Compression::None));
        assert_eq!(kind("a.FIT.gz"), fits(Compression::Gzip));
        assert_eq!(kind("a.fits.zst"), fits(Compression::Zstd));
        for name in [
            "a.txt",
            "parquet",
            "a.parquet.gz",
            "a.fz",
            "a.csv.fz",
            "a.gz",
        ] {
            assert_eq!(kind(name), None, "{name}");
        }
    }
}
