//! Which files a table is made of: one file, a glob, or a directory with or without hive
//! partitions.
//!
//! The kind follows from the names' suffixes. Finding **blocks**: it walks directories.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs::File,
    io::Read,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use arrow::datatypes::{DataType, Schema};
use datafusion::{
    common::ScalarValue,
    datasource::file_format::{
        FileFormat, arrow::ArrowFormat, csv::CsvFormat, file_compression_type::FileCompressionType,
        json::JsonFormat, parquet::ParquetFormat,
    },
    error::DataFusionError,
};
use percent_encoding::percent_decode_str;

use crate::error::EngineError;

/// Files that are looked at in one directory: what has more is listed in seconds by no system.
const FILES_MAX: usize = 100_000;
/// No byte of UTF-8: TSV has no quotes (IANA, text/tab-separated-values), and Arrow's reader always
/// has one.
const NO_QUOTE: u8 = 0xff;

/// Where a table's rows are.
#[derive(Clone, Debug)]
pub struct TableFiles {
    place: Place,
    kind: FileKind,
    /// Hive partitions, outermost first: `year=2026/` is a column `year`.
    partitions: Vec<(String, DataType)>,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Directory(PathBuf),
    /// Over hive partitions: one that takes all of them.
    Glob(String),
}

/// How a file's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Parquet,
    Csv(Packing),
    Tsv(Packing),
    Ndjson(Packing),
    Arrow,
    Fits,
}

/// How a text file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

const SUFFIXES: &str = "parquet, csv, tsv, ndjson, jsonl, arrow, fits (csv, tsv and ndjson also \
                        with .gz or .zst)";

impl TableFiles {
    /// Finds the files of a path: a file, a directory, or a glob such as `data/*.parquet`.
    /// What exists under the name as it stands is no glob.
    ///
    /// # Errors
    /// There is no such file; a suffix that no reader knows; files of several kinds.
    pub fn find(path: &Path) -> Result<Self, EngineError> {
        let refuse = |text: String| EngineError::data(format!("{}: {text}", path.display()));
        if path.is_file() {
            let (kind, _) = FileKind::of(path).ok_or_else(|| {
                refuse(format!("is no table by its suffix: known are {SUFFIXES}"))
            })?;
            if path.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                return Err(refuse("is empty".into()));
            }
            return Ok(Self {
                place: Place::File(absolute(path)?),
                kind,
                partitions: Vec::new(),
            });
        }
        if path.is_dir() {
            let root = absolute(path)?;
            let mut files = Vec::new();
            walk(&root, &mut files)?;
            let kind = one_kind(&files).map_err(refuse)?;
            files.retain(|file| FileKind::of(file).is_some());
            let partitions = hive_partitions(&root, &files).map_err(refuse)?;
            return Ok(Self {
                place: Place::Directory(root),
                kind,
                partitions,
            });
        }
        let text = path.to_str().filter(|text| text.contains(['*', '?', '[']));
        let Some(text) = text else {
            return Err(refuse("no such file or directory".into()));
        };
        let pattern = absolute(Path::new(text))?.to_string_lossy().into_owned();
        let files = expand(&pattern)?;
        if files.is_empty() {
            return Err(refuse("matches no file".into()));
        }
        let kind = one_kind(&files).map_err(refuse)?;
        let (root, folders) = folders_of_glob(&pattern);
        let partitions = hive_partitions(&root, &files).map_err(refuse)?;
        let takes_all = |folder: &&str| matches!(*folder, "*" | "**") || folder.ends_with("=*");
        if !partitions.is_empty() && !folders.iter().all(takes_all) {
            let text = "takes some partitions only: name their folder, and narrow the table";
            return Err(refuse(text.into()));
        }
        Ok(Self {
            place: Place::Glob(pattern),
            kind,
            partitions,
        })
    }

    /// Says whether this is one file, and no directory or glob of some.
    pub(crate) fn is_one(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    pub(crate) fn kind(&self) -> FileKind {
        self.kind
    }

    pub(crate) fn partitions(&self) -> &[(String, DataType)] {
        &self.partitions
    }

    /// Lists the files as they are now, in the order of their names, without hidden ones: one that
    /// is being written may be called so until it is whole.
    pub(crate) fn list(&self) -> Result<Vec<PathBuf>, EngineError> {
        let mut files = match &self.place {
            Place::File(path) => vec![path.clone()],
            Place::Directory(root) => {
                let mut files = Vec::new();
                walk(root, &mut files)?;
                files.retain(|file| FileKind::of(file).is_some());
                files
            }
            Place::Glob(pattern) => expand(pattern)?,
        };
        if files.is_empty() {
            let place = match &self.place {
                Place::File(path) | Place::Directory(path) => path.display().to_string(),
                Place::Glob(pattern) => pattern.clone(),
            };
            return Err(EngineError::data(format!("{place}: there are no files")));
        }
        if !self.partitions.is_empty() {
            self.check_partitions(&files).map_err(EngineError::data)?;
        }
        files.sort();
        Ok(files)
    }

    /// Where folders begin to be partitions.
    pub(crate) fn root(&self) -> PathBuf {
        match &self.place {
            Place::File(path) | Place::Directory(path) => path.clone(),
            Place::Glob(pattern) => folders_of_glob(pattern).0,
        }
    }

    /// Checks that the path of each file has the partitions of the table, with values of their
    /// types.
    fn check_partitions(&self, files: &[PathBuf]) -> Result<(), String> {
        let now = hive_partitions(&self.root(), files)?;
        let fits = |((name, data_type), (other, now)): (&(String, DataType), &(_, _))| {
            name == other && (now == data_type || *data_type == DataType::Utf8)
        };
        match now.len() == self.partitions.len() && self.partitions.iter().zip(&now).all(fits) {
            true => Ok(()),
            false => Err(format!(
                "the partitions are {now:?} now, and were {:?} when the table was opened",
                self.partitions
            )),
        }
    }

    /// Refuses columns in the files that are called as a partition.
    pub(crate) fn check_columns(&self, inside: &Schema) -> Result<(), EngineError> {
        let mut names = self.partitions.iter().map(|(name, _)| name);
        match names.find(|name| inside.field_with_name(name).is_ok()) {
            Some(name) => Err(EngineError::data(format!(
                "{name:?} is a partition, and a column in the files, too"
            ))),
            None => Ok(()),
        }
    }

    /// Reads the values of the partitions from a file's path. This is the one place where a text
    /// of a path becomes a value.
    ///
    /// # Errors
    /// A text is no value of its column's type.
    pub(crate) fn partition_values(&self, file: &Path) -> Result<Vec<ScalarValue>, EngineError> {
        let folders = folders_of(&self.root(), file);
        let texts = folders.iter().filter_map(|folder| folder.split_once('='));
        let values = texts
            .zip(&self.partitions)
            .map(|((_, text), (_, data_type))| {
                // Hive writes what a folder's name may not have as %XX.
                let decoded = percent_decode_str(text).decode_utf8();
                let text = decoded.map_or_else(|_| text.to_owned(), Cow::into_owned);
                ScalarValue::try_from_string(text, data_type)
            });
        Ok(values.collect::<Result<_, _>>()?)
    }
}

impl FileKind {
    /// Tells a file's kind, and how its name ends.
    fn of(path: &Path) -> Option<(Self, String)> {
        let name = path.file_name()?.to_str()?;
        let (stem, packing) = match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Packing::Gzip),
            Some((stem, "zst")) => (stem, Packing::Zstd),
            _ => (name, Packing::Plain),
        };
        let (before, suffix) = stem.rsplit_once('.')?;
        let kind = match suffix.to_ascii_lowercase().as_str() {
            "parquet" | "parq" | "pq" => Self::Parquet,
            "csv" => Self::Csv(packing),
            "tsv" | "tab" => Self::Tsv(packing),
            "ndjson" | "jsonl" => Self::Ndjson(packing),
            "arrow" | "arrows" | "feather" | "ipc" => Self::Arrow,
            "fits" | "fit" | "fts" => Self::Fits,
            _ => return None,
        };
        let may_be = packing == Packing::Plain || !kind.is_binary();
        may_be.then(|| (kind, name[before.len()..].to_owned()))
    }

    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow | Self::Fits)
    }

    /// Of CSV and TSV the delimiter and the quote.
    pub(crate) fn delimiter(self) -> Option<(u8, u8)> {
        match self {
            Self::Csv(_) => Some((b',', b'"')),
            Self::Tsv(_) => Some((b'\t', NO_QUOTE)),
            _ => None,
        }
    }

    /// Reads a file's bytes as they were before it was packed.
    pub(crate) fn unpack(self, file: File) -> Result<Box<dyn Read + Send>, DataFusionError> {
        match self {
            Self::Csv(packing) | Self::Tsv(packing) | Self::Ndjson(packing) => {
                packing.datafusion().convert_read(file)
            }
            _ => Ok(Box::new(file)),
        }
    }

    /// Returns the format that DataFusion reads such files with.
    pub(crate) fn format(self) -> Arc<dyn FileFormat> {
        let (delimiter, quote) = self.delimiter().unwrap_or_default();
        match self {
            // FITS has a provider of its own, and never comes here.
            // Columns keep the types that they have in the file.
            Self::Parquet | Self::Fits => {
                Arc::new(ParquetFormat::default().with_force_view_types(false))
            }
            Self::Csv(packing) | Self::Tsv(packing) => Arc::new(
                CsvFormat::default()
                    .with_has_header(true)
                    .with_delimiter(delimiter)
                    .with_quote(quote)
                    .with_newlines_in_values(true)
                    .with_file_compression_type(packing.datafusion()),
            ),
            Self::Ndjson(packing) => {
                let packing = packing.datafusion();
                Arc::new(JsonFormat::default().with_file_compression_type(packing))
            }
            Self::Arrow => Arc::new(ArrowFormat),
        }
    }
}

impl Packing {
    fn datafusion(self) -> FileCompressionType {
        match self {
            Self::Plain => FileCompressionType::UNCOMPRESSED,
            Self::Gzip => FileCompressionType::GZIP,
            Self::Zstd => FileCompressionType::ZSTD,
        }
    }
}

/// Makes a path absolute, and resolves it up to its last `..`: links behind that stay links, so
/// that who changes them changes the table.
fn absolute(path: &Path) -> Result<PathBuf, EngineError> {
    let refuse = |error| EngineError::data(format!("{}: {error}", path.display()));
    let path = std::path::absolute(path).map_err(refuse)?;
    let parts: Vec<_> = path.components().collect();
    let Some(last) = parts.iter().rposition(|part| *part == Component::ParentDir) else {
        return Ok(path);
    };
    let (before, behind) = parts.split_at(last + 1);
    let before: PathBuf = before.iter().collect();
    Ok(before
        .canonicalize()
        .map_err(refuse)?
        .join(behind.iter().collect::<PathBuf>()))
}

/// Gathers the files below a directory, without hidden ones.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), EngineError> {
    let refuse = |error| EngineError::data(format!("{}: {error}", folder.display()));
    for entry in folder.read_dir().map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            let text = format!("{}: more than {FILES_MAX} files", folder.display());
            return Err(EngineError::data(text));
        }
    }
    Ok(())
}

fn bad_glob(pattern: &str, error: &glob::PatternError) -> EngineError {
    EngineError::data(format!("{pattern}: {error}"))
}

/// The folder before the first one that a glob leaves open, and the folders below it.
fn folders_of_glob(pattern: &str) -> (PathBuf, Vec<&str>) {
    let parts: Vec<_> = pattern.split('/').collect();
    let (folders, _name) = parts.split_at(parts.len() - 1);
    let is_open = |part: &&str| part.contains(['*', '?', '[']);
    let from = folders.iter().position(is_open).unwrap_or(folders.len());
    let root = format!("{}/", folders[..from].join("/"));
    (PathBuf::from(root), folders[from..].to_vec())
}

fn expand(pattern: &str) -> Result<Vec<PathBuf>, EngineError> {
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        ..glob::MatchOptions::new()
    };
    let paths = glob::glob_with(pattern, options).map_err(|error| bad_glob(pattern, &error))?;
    let files: Result<Vec<_>, _> = paths
        .filter(|path| !matches!(path, Ok(path) if path.is_dir()))
        .collect();
    files.map_err(|error| EngineError::data(error.to_string()))
}

/// Finds the one kind that all files have which are tables.
fn one_kind(files: &[PathBuf]) -> Result<FileKind, String> {
    let kinds: BTreeSet<_> = files.iter().filter_map(|file| FileKind::of(file)).collect();
    let mut kinds = kinds.into_iter();
    match (kinds.next(), kinds.next()) {
        (Some((kind, _)), None) => Ok(kind),
        (None, _) => Err(format!("no file has a suffix of a table: {SUFFIXES}")),
        (Some((_, one)), Some((_, other))) => {
            Err(format!("has files of several kinds, *{one} and *{other}"))
        }
    }
}

/// Reads the names of the partitions from the folders: all files must be equally deep in folders
/// `name=value`, or none. A column all of whose values are integers is one of integers.
fn hive_partitions(root: &Path, files: &[PathBuf]) -> Result<Vec<(String, DataType)>, String> {
    let mut names: Option<Vec<String>> = None;
    let mut all_integers: Vec<bool> = Vec::new();
    for file in files {
        let folders = folders_of(root, file);
        let pairs: Vec<_> = folders
            .iter()
            .filter_map(|folder| folder.split_once('='))
            .collect();
        let here: Vec<_> = pairs.iter().map(|(name, _)| (*name).to_owned()).collect();
        match &names {
            None => {
                all_integers = vec![true; here.len()];
                names = Some(here);
            }
            Some(names) if *names != here => {
                return Err(format!(
                    "the partitions of {} are {here:?}, those of other files {names:?}",
                    file.display()
                ));
            }
            Some(_) => {}
        }
        for (all, (_, value)) in all_integers.iter_mut().zip(&pairs) {
            *all &= value.parse::<i64>().is_ok();
        }
    }
    let types = all_integers.into_iter().map(|all| match all {
        true => DataType::Int64,
        false => DataType::Utf8,
    });
    Ok(names.unwrap_or_default().into_iter().zip(types).collect())
}

fn folders_of(root: &Path, file: &Path) -> Vec<String> {
    let below = file.strip_prefix(root).unwrap_or(file);
    let folders = below.parent().unwrap_or(Path::new(""));
    folders
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_kind_is_in_its_name() {
        let kind = |name: &str| FileKind::of(Path::new(name));
        assert_eq!(
            kind("a.b.parquet"),
            Some((FileKind::Parquet, ".parquet".into()))
        );
        assert_eq!(
            kind("a.CSV.gz"),
            Some((FileKind::Csv(Packing::Gzip), ".CSV.gz".into()))
        );
        assert_eq!(
            kind("a.jsonl"),
            Some((FileKind::Ndjson(Packing::Plain), ".jsonl".into()))
        );
        for name in ["a.txt", "parquet", "a.parquet.gz", "a.fits.gz", "a.gz"] {
            assert_eq!(kind(name), None, "{name}");
        }
    }

    #[test]
    fn partitions_are_integers_if_all_their_values_are() {
        let root = Path::new("/t");
        let files = |names: &[&str]| names.iter().map(|name| root.join(name)).collect::<Vec<_>>();
        let found = hive_partitions(root, &files(&["y=1/b=x/f.csv", "y=2/b=3/f.csv"]));
        let wanted = vec![("y".into(), DataType::Int64), ("b".into(), DataType::Utf8)];
        assert_eq!(found, Ok(wanted));
        assert_eq!(
            hive_partitions(root, &files(&["a/f.csv", "f.csv"])),
            Ok(Vec::new())
        );
        assert!(hive_partitions(root, &files(&["y=1/f.csv", "f.csv"])).is_err());
    }
}
