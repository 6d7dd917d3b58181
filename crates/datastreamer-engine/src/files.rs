//! The files of a table: one file, a glob, or a directory, with or without hive partitions. It lists
//! files and reads their names, not their contents.
//!
//! The suffix of the names decides the kind. Listing **blocks**: it walks directories.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs::File,
    io::Read,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
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

/// At most 100,000 files in a table: listing more takes seconds for each scan.
const FILES_MAX: usize = 100_000;
/// A byte that is never in UTF-8. TSV has no quotes (IANA, text/tab-separated-values), but Arrow's
/// reader needs one.
const NO_QUOTE: u8 = 0xff;

/// The files of a table, listed anew for each scan.
#[derive(Clone, Debug)]
pub struct TableFiles {
    place: Place,
    kind: FileKind,
    /// Names and types of the hive partitions, outermost first: `year=2026/` is a column `year`.
    partitions: Vec<(String, DataType)>,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Directory(PathBuf),
    /// Over hive partitions only if it matches all of them.
    Glob(String),
}

/// The format of a file, and its compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Parquet,
    Csv(Compression),
    Tsv(Compression),
    Ndjson(Compression),
    Arrow,
    Fits,
}

/// How a text file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

const SUFFIXES: &str = "parquet, csv, tsv, ndjson, jsonl, arrow, fits (csv, tsv and ndjson also \
                        with .gz or .zst)";

impl TableFiles {
    /// Finds the files of a path: a file, a directory, or a glob such as `data/*.parquet`. If a file
    /// or directory of exactly this name exists, it is not a glob. **Blocks** to walk directories.
    ///
    /// # Errors
    /// There is no such file; no reader knows the suffix; there are files of several kinds, or more
    /// than 100,000.
    pub fn find(path: &Path) -> Result<Self, EngineError> {
        let refuse = |text: String| EngineError::data(format!("{}: {text}", path.display()));
        if path.is_file() {
            let (kind, _) = FileKind::of(path)
                .ok_or_else(|| refuse(format!("has an unknown suffix; known are {SUFFIXES}")))?;
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
            let text =
                "matches only some of the partitions: name their folder, and narrow the table";
            return Err(refuse(text.into()));
        }
        Ok(Self {
            place: Place::Glob(pattern),
            kind,
            partitions,
        })
    }

    /// Returns whether this is a file, as opposed to a directory or glob.
    pub(crate) fn is_one(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    pub(crate) fn kind(&self) -> FileKind {
        self.kind
    }

    /// Returns the columns of the partitions.
    pub(crate) fn partition_fields(&self) -> Vec<FieldRef> {
        let partitions = self.partitions.iter();
        partitions
            .map(|(name, data_type)| Arc::new(Field::new(name, data_type.clone(), false)))
            .collect()
    }

    /// Lists the files as they are now, in the order of their names. Hidden files are left out: a
    /// file may have a hidden name until it is complete. **Blocks** to walk directories.
    ///
    /// # Errors
    /// A directory cannot be read; there are no files; the partitions are not those of the table.
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

    /// Returns the folder below which folders are partitions.
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

    /// Checks that no column in the files has the name of a partition.
    pub(crate) fn check_columns(&self, inside: &Schema) -> Result<(), EngineError> {
        let mut names = self.partitions.iter().map(|(name, _)| name);
        match names.find(|name| inside.field_with_name(name).is_ok()) {
            Some(name) => Err(EngineError::data(format!(
                "{name:?} is a partition, and a column in the files"
            ))),
            None => Ok(()),
        }
    }

    /// Reads the values of the partitions from a file's path. No other function makes typed values of
    /// a path.
    ///
    /// # Errors
    /// A text is not a value of the partition's type.
    pub(crate) fn partition_values(&self, file: &Path) -> Result<Vec<ScalarValue>, EngineError> {
        let folders = folders_of(&self.root(), file);
        let texts = folders.iter().filter_map(|folder| folder.split_once('='));
        let values = texts
            .zip(&self.partitions)
            .map(|((_, text), (_, data_type))| {
                // Hive writes characters that a folder's name must not contain as %XX.
                let decoded = percent_decode_str(text).decode_utf8();
                let text = decoded.map_or_else(|_| text.to_owned(), Cow::into_owned);
                ScalarValue::try_from_string(text, data_type)
            });
        Ok(values.collect::<Result<_, _>>()?)
    }
}

impl FileKind {
    /// Returns the kind and the suffix of a file; `None` if no reader knows it.
    fn of(path: &Path) -> Option<(Self, String)> {
        let name = path.file_name()?.to_str()?;
        let (stem, compression) = match name.rsplit_once('.') {
            Some((stem, "gz")) => (stem, Compression::Gzip),
            Some((stem, "zst")) => (stem, Compression::Zstd),
            _ => (name, Compression::None),
        };
        let (name_start, suffix) = stem.rsplit_once('.')?;
        let kind = match suffix.to_ascii_lowercase().as_str() {
            "parquet" | "parq" | "pq" => Self::Parquet,
            "csv" => Self::Csv(compression),
            "tsv" | "tab" => Self::Tsv(compression),
            "ndjson" | "jsonl" => Self::Ndjson(compression),
            "arrow" | "arrows" | "feather" | "ipc" => Self::Arrow,
            "fits" | "fit" | "fts" => Self::Fits,
            _ => return None,
        };
        let may_be = compression == Compression::None || !kind.is_binary();
        may_be.then(|| (kind, name[name_start.len()..].to_owned()))
    }

    /// Returns whether the columns are in the file's header.
    pub(crate) fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow | Self::Fits)
    }

    /// Returns the delimiter and the quote of CSV and TSV.
    pub(crate) fn delimiter(self) -> Option<(u8, u8)> {
        match self {
            Self::Csv(_) => Some((b',', b'"')),
            Self::Tsv(_) => Some((b'\t', NO_QUOTE)),
            _ => None,
        }
    }

    /// Returns a reader of the uncompressed bytes of a file.
    pub(crate) fn decompress(self, file: File) -> Result<Box<dyn Read + Send>, DataFusionError> {
        match self {
            Self::Csv(compression) | Self::Tsv(compression) | Self::Ndjson(compression) => {
                compression.datafusion().convert_read(file)
            }
            _ => Ok(Box::new(file)),
        }
    }

    /// Returns the format that DataFusion reads such files with.
    pub(crate) fn format(self) -> Arc<dyn FileFormat> {
        let (delimiter, quote) = self.delimiter().unwrap_or_default();
        match self {
            // FITS has its own table provider, which does not ask for a format.
            // Columns keep the types of the file.
            Self::Parquet | Self::Fits => {
                Arc::new(ParquetFormat::default().with_force_view_types(false))
            }
            Self::Csv(compression) | Self::Tsv(compression) => Arc::new(
                CsvFormat::default()
                    .with_has_header(true)
                    .with_delimiter(delimiter)
                    .with_quote(quote)
                    .with_newlines_in_values(true)
                    .with_file_compression_type(compression.datafusion()),
            ),
            Self::Ndjson(compression) => {
                let compression = compression.datafusion();
                Arc::new(JsonFormat::default().with_file_compression_type(compression))
            }
            Self::Arrow => Arc::new(ArrowFormat),
        }
    }
}

impl Compression {
    fn datafusion(self) -> FileCompressionType {
        match self {
            Self::None => FileCompressionType::UNCOMPRESSED,
            Self::Gzip => FileCompressionType::GZIP,
            Self::Zstd => FileCompressionType::ZSTD,
        }
    }
}

/// Makes a path absolute, and resolves it up to its last `..`. Links after that stay links, so that
/// changing them changes the table.
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

/// Collects the files below a directory, except hidden ones.
///
/// # Errors
/// A directory that cannot be read; too many files; a link to a directory above it.
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
            check_no_circle(&path)?;
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

/// Refuses a link to a directory above it, through which every file would be found again. Other
/// links are followed.
fn check_no_circle(folder: &Path) -> Result<(), EngineError> {
    if !folder.is_symlink() {
        return Ok(());
    }
    // A directory that has gone in the meantime is noticed where it is read.
    let Ok(target) = folder.canonicalize() else {
        return Ok(());
    };
    let is_target = |above: &Path| above.canonicalize().is_ok_and(|above| above == target);
    match folder.ancestors().skip(1).any(is_target) {
        true => {
            let folder = folder.display();
            let text = format!("{folder}: a link to a directory above it");
            Err(EngineError::data(text))
        }
        false => Ok(()),
    }
}

fn bad_glob(pattern: &str, error: &glob::PatternError) -> EngineError {
    EngineError::data(format!("{pattern}: {error}"))
}

/// Splits a glob into the folder before the first pattern, and the folders below it.
fn folders_of_glob(pattern: &str) -> (PathBuf, Vec<&str>) {
    let parts: Vec<_> = pattern.split('/').collect();
    let (folders, _name) = parts.split_at(parts.len() - 1);
    let has_pattern = |part: &&str| part.contains(['*', '?', '[']);
    let from = folders
        .iter()
        .position(has_pattern)
        .unwrap_or(folders.len());
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
    let files = files.map_err(|error| EngineError::data(error.to_string()))?;
    // Only this pattern crosses directories that it does not name.
    if pattern.contains("**") {
        let mut seen = BTreeSet::new();
        for file in &files {
            // Those above a directory that was seen have been seen too.
            let mut new = file
                .ancestors()
                .skip(1)
                .take_while(|above| seen.insert(*above));
            new.try_for_each(check_no_circle)?;
        }
    }
    Ok(files)
}

/// Returns the one kind of all files whose suffix a reader knows.
fn one_kind(files: &[PathBuf]) -> Result<FileKind, String> {
    let kinds: BTreeSet<_> = files.iter().filter_map(|file| FileKind::of(file)).collect();
    let mut kinds = kinds.into_iter();
    match (kinds.next(), kinds.next()) {
        (Some((kind, _)), None) => Ok(kind),
        (None, _) => Err(format!("no file has a known suffix; known are {SUFFIXES}")),
        (Some((_, one)), Some((_, other))) => {
            Err(format!("has files of several kinds, *{one} and *{other}"))
        }
    }
}

/// Reads the names of the partitions from the folders `name=value`, which must be the same for all
/// files. If all values of a partition are integers, its type is Int64, else Utf8.
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
    fn the_name_of_a_file_decides_its_kind() {
        let kind = |name: &str| FileKind::of(Path::new(name));
        assert_eq!(
            kind("a.b.parquet"),
            Some((FileKind::Parquet, ".parquet".into()))
        );
        assert_eq!(
            kind("a.CSV.gz"),
            Some((FileKind::Csv(Compression::Gzip), ".CSV.gz".into()))
        );
        assert_eq!(
            kind("a.jsonl"),
            Some((FileKind::Ndjson(Compression::None), ".jsonl".into()))
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
