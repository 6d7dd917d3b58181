//! The files of a table: one file, a glob, or a directory, with or without hive partitions. It lists
//! files and reads their names, not their contents.
//!
//! The suffix of the names decides the kind. Listing **blocks**: it walks directories. `listing.rs`
//! decides which files below a folder are data, `partitions.rs` what their folders say.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Component, Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    time::SystemTime,
};

use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::ScalarValue;
use datastreamer_text::{TextFormat, TextOptions};
use serde::{Deserialize, Serialize};

use crate::{
    error::EngineError,
    file_kind::{FileKind, SUFFIXES},
    glob_paths::{Glob, is_pattern},
    listing::{expand, folders_of_glob, walk},
    packed,
    partitions::{self, Partition},
    pinned::FileState,
};

/// The files of a table, listed anew for each scan.
#[derive(Clone, Debug)]
pub struct TableFiles {
    place: Place,
    kind: FileKind,
    /// The hive partitions, outermost first: `year=2026/` is a column `year`.
    partitions: Vec<Partition>,
    /// Which of the tables of each file, if they are FITS and it is not the first.
    hdu: Option<String>,
    /// How files of text are written, and the types of their columns.
    text: TextOptions,
    /// Counts the bytes that are read of files of text for the types of their columns.
    read: Option<Arc<AtomicU64>>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Place {
    File(#[serde(with = "packed::path")] PathBuf),
    Directory(#[serde(with = "packed::path")] PathBuf),
    /// Over hive partitions only if it matches all of them.
    Glob(#[serde(with = "packed::path")] PathBuf),
}

/// The state of a table's files at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesState {
    /// Differs between two states.
    pub fingerprint: u64,
    /// When the last of the files was changed, in whatever way.
    pub changed: SystemTime,
}

impl TableFiles {
    /// Finds the files of a path: a file, a directory, or a glob such as `data/*.parquet`. If a file
    /// or directory of exactly this name exists, it is not a glob. **Blocks** to walk directories.
    ///
    /// # Errors
    /// There is no such file; no reader knows the suffix; there are files of several kinds, or more
    /// than 100,000.
    pub fn find(path: &Path) -> Result<Self, EngineError> {
        let refuse = |text: String| EngineError::of_file(path, text);
        if path.is_file() {
            let kind = FileKind::of(path)
                .ok_or_else(|| refuse(format!("has an unknown suffix; known are {SUFFIXES}")))?;
            if path.metadata().is_ok_and(|metadata| metadata.len() == 0) {
                return Err(refuse("is empty".into()));
            }
            return Ok(Self {
                place: Place::File(absolute(path)?),
                kind,
                partitions: Vec::new(),
                hdu: None,
                text: TextOptions::default(),
                read: None,
            });
        }
        if path.is_dir() {
            let root = absolute(path)?;
            let (kind, files) = of_one_kind(walk(&root)?).map_err(refuse)?;
            let partitions = partitions::find(&root, &files).map_err(refuse)?;
            return Ok(Self {
                place: Place::Directory(root),
                kind,
                partitions,
                hdu: None,
                text: TextOptions::default(),
                read: None,
            });
        }
        if !is_pattern(path.as_os_str()) {
            return Err(match path.is_symlink() {
                true => EngineError::not_found(path),
                false => refuse("no such file or directory".into()),
            });
        }
        let pattern = absolute(path)?;
        let files = expand(&pattern)?;
        if files.is_empty() {
            return Err(refuse("matches no file".into()));
        }
        let (kind, files) = of_one_kind(files).map_err(refuse)?;
        let (root, folders) = folders_of_glob(&pattern);
        let partitions = partitions::find(&root, &files).map_err(refuse)?;
        let takes_all = |folder: &&OsStr| {
            *folder == "*" || *folder == "**" || folder.as_encoded_bytes().ends_with(b"=*")
        };
        if !partitions.is_empty() && !folders.iter().all(takes_all) {
            let text =
                "matches only some of the partitions: name their folder, and narrow the table";
            return Err(refuse(text.into()));
        }
        Ok(Self {
            place: Place::Glob(pattern),
            kind,
            partitions,
            hdu: None,
            text: TextOptions::default(),
            read: None,
        })
    }

    /// Chooses a table of each file, by its number or its EXTNAME (see
    /// [`TableChoice`](datastreamer_table::fits::TableChoice)).
    ///
    /// # Errors
    /// The files are not FITS.
    pub fn with_hdu(self, hdu: &str) -> Result<Self, EngineError> {
        if !self.is_fits() {
            let text = format!(
                "has no HDU {hdu:?}: only FITS files have HDUs, and this is {}",
                self.kind
            );
            return Err(EngineError::of_file(&self.root(), text));
        }
        Ok(Self {
            hdu: Some(hdu.to_owned()),
            ..self
        })
    }

    /// Returns which of the tables of each file it is; `None`: the first.
    pub(crate) fn hdu(&self) -> Option<&str> {
        self.hdu.as_deref()
    }

    /// Returns whether the files are FITS.
    pub fn is_fits(&self) -> bool {
        matches!(self.kind, FileKind::Fits(_))
    }

    /// Returns the file, if the table is one.
    pub fn sole_file(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Directory(_) | Place::Glob(_) => None,
        }
    }

    /// Sets how files of text are written, and the types of their columns.
    ///
    /// # Errors
    /// The options do not fit one another, or the kind of the files.
    pub fn with_text_options(self, text: TextOptions) -> Result<Self, EngineError> {
        let place = match &self.place {
            Place::File(path) | Place::Directory(path) | Place::Glob(path) => path,
        };
        let refuse = |text: String| EngineError::of_file(place, text);
        match (self.kind, text.set().first()) {
            (FileKind::Text(format, _), _) => text.check(format).map_err(refuse)?,
            (_, None) => {}
            (kind, Some(option)) => {
                let text =
                    format!("{option} is an option of CSV, TSV and NDJSON, and this is {kind}");
                return Err(refuse(text));
            }
        }
        Ok(Self { text, ..self })
    }

    /// Counts the bytes that are read of files of text for the types of their columns.
    #[must_use]
    pub fn counting(self, read: Arc<AtomicU64>) -> Self {
        Self {
            read: Some(read),
            ..self
        }
    }

    pub(crate) fn counter(&self) -> Option<Arc<AtomicU64>> {
        self.read.clone()
    }

    /// Returns whether the types of columns are inferred from the rows.
    pub fn are_text(&self) -> bool {
        !self.kind.is_binary()
    }

    /// Returns the bytes of all files. **Blocks** to list and look at them.
    ///
    /// # Errors
    /// The files cannot be listed, or one is gone.
    pub fn bytes(&self) -> Result<u64, EngineError> {
        let sizes = self.list()?.into_iter().map(|path| {
            let metadata = path.metadata();
            let metadata = metadata.map_err(|error| EngineError::of_system(&path, &error))?;
            Ok(metadata.len())
        });
        sizes.sum()
    }

    /// Returns the same files, read with other options.
    pub(crate) fn read_with(&self, text: TextOptions) -> Self {
        Self {
            text,
            ..self.clone()
        }
    }

    pub(crate) fn text(&self) -> &TextOptions {
        &self.text
    }

    /// Returns whether a file of this name has a reader: by its suffix.
    pub fn has_reader_of(path: &Path) -> bool {
        FileKind::of(path).is_some()
    }

    /// Returns the file, if the table is one that is not compressed, and the usual suffix of its kind;
    /// `None` of a table that was chosen among those of a file.
    pub fn single_file(&self) -> Option<(&Path, &'static str)> {
        let path = self.sole_file().filter(|_| self.hdu.is_none())?;
        Some((path, self.kind.suffix()?))
    }

    /// Returns the state of the files, by what `stat` says of each, on this machine. **Blocks** to list
    /// and look at all of them.
    ///
    /// # Errors
    /// The files cannot be listed, or one is gone.
    pub fn state(&self) -> Result<FilesState, EngineError> {
        let mut hasher = DefaultHasher::new();
        let mut changed = SystemTime::UNIX_EPOCH;
        self.hdu.hash(&mut hasher);
        for path in self.list()? {
            let state = FileState::read(&path)?;
            state.hash(&mut hasher);
            path.hash(&mut hasher);
            changed = changed.max(state.changed());
        }
        Ok(FilesState {
            fingerprint: hasher.finish(),
            changed,
        })
    }

    /// Returns whether a path is a glob that matches something. **Blocks** to walk directories, up to
    /// the first match.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn matches(path: &Path) -> Result<bool, EngineError> {
        match Glob::parse(path) {
            Ok(glob) => glob.has_match(),
            Err(_) => Ok(false),
        }
    }

    /// Returns what another process needs to know of them, beside the files.
    pub(crate) fn parts(&self) -> (&Place, &[Partition]) {
        (&self.place, &self.partitions)
    }

    /// Makes them of what [`parts`](Self::parts) returned.
    pub(crate) fn of_parts(
        place: Place,
        kind: FileKind,
        partitions: Vec<Partition>,
        hdu: Option<String>,
        text: TextOptions,
    ) -> Self {
        Self {
            place,
            kind,
            partitions,
            hdu,
            text,
            read: None,
        }
    }

    /// Returns whether a file may lack a column: one of several, and lines of objects without a
    /// member. Another kind of file that is alone was written without the column on purpose.
    pub(crate) fn may_lack_columns(&self) -> bool {
        let is_ndjson = matches!(self.kind, FileKind::Text(TextFormat::Ndjson, _));
        is_ndjson || !matches!(self.place, Place::File(_))
    }

    pub(crate) fn kind(&self) -> FileKind {
        self.kind
    }

    /// Returns the columns of the partitions, without those that the files have themselves.
    pub(crate) fn partition_fields(&self) -> Vec<FieldRef> {
        let partitions = self.partitions.iter();
        let partitions = partitions.filter(|partition| !partition.is_in_files);
        partitions.map(Partition::field).collect()
    }

    /// Lists the files as they are now, in the order of their names. Names that begin with a dot or
    /// an underscore are left out: a file may have such a name until it is complete. **Blocks** to
    /// walk directories.
    ///
    /// # Errors
    /// A directory cannot be read; there are no files, or files of another kind; the partitions are
    /// not those of the table.
    pub(crate) fn list(&self) -> Result<Vec<PathBuf>, EngineError> {
        let (place, found) = match &self.place {
            Place::File(path) => return Ok(vec![path.clone()]),
            Place::Directory(root) => (root.as_path(), walk(root)?),
            Place::Glob(pattern) => (pattern.as_path(), expand(pattern)?),
        };
        let refuse = |text: String| EngineError::of_file(place, text);
        let (kind, mut files) = match found.is_empty() {
            true => return Err(refuse("there are no files".into())),
            false => of_one_kind(found).map_err(refuse)?,
        };
        if kind != self.kind {
            let text = format!("has {kind} files now, and had {} files", self.kind);
            return Err(refuse(text));
        }
        let now = partitions::find(&self.root(), &files).map_err(refuse)?;
        partitions::check(&self.partitions, &now).map_err(refuse)?;
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

    /// Leaves the columns that the first file has to the files: a folder's name has less than the
    /// values, neither their type nor a null beside an empty text.
    pub(crate) fn leave_columns(&mut self, first: &Schema) {
        for partition in &mut self.partitions {
            partition.is_in_files = first.field_with_name(&partition.name).is_ok();
        }
    }

    /// Checks that a file has the same of the partitions as columns as the first file.
    ///
    /// # Errors
    /// The text of the partition that differs.
    pub(crate) fn check_columns(&self, columns: &Schema) -> Result<(), String> {
        let mut partitions = self.partitions.iter();
        let differs = |partition: &&Partition| {
            partition.is_in_files != columns.field_with_name(&partition.name).is_ok()
        };
        match partitions.find(differs) {
            Some(Partition {
                name, is_in_files, ..
            }) => Err(match is_in_files {
                true => format!("has no column {name:?}, which other files of the partition have"),
                false => format!("has a column {name:?}, which other files of the partition lack"),
            }),
            None => Ok(()),
        }
    }

    /// Reads the values of the partitions from a file's path.
    ///
    /// # Errors
    /// A text is not a value of the partition's type.
    pub(crate) fn partition_values(&self, file: &Path) -> Result<Vec<ScalarValue>, EngineError> {
        partitions::values(&self.partitions, &self.root(), file)
    }
}

/// Makes a path absolute, and resolves it up to its last `..`. Links after that stay links, so that
/// changing them changes the table.
fn absolute(path: &Path) -> Result<PathBuf, EngineError> {
    let refuse = |error: io::Error| EngineError::of_file(path, error.to_string());
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

/// Returns the one kind of all files whose suffix a reader knows, and these files.
fn of_one_kind(mut files: Vec<PathBuf>) -> Result<(FileKind, Vec<PathBuf>), String> {
    // An example of each.
    let mut kinds: BTreeMap<FileKind, PathBuf> = BTreeMap::new();
    files.retain(|file| {
        let kind = FileKind::of(file);
        if let Some(kind) = kind {
            kinds.entry(kind).or_insert_with(|| file.clone());
        }
        kind.is_some()
    });
    let mut found = kinds.into_iter();
    match (found.next(), found.next()) {
        (Some((kind, _)), None) => Ok((kind, files)),
        (None, _) => Err(format!("no file has a known suffix; known are {SUFFIXES}")),
        (Some((_, one)), Some((_, other))) => {
            let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
            Err(format!(
                "has files of several kinds, such as {} and {}: choose one kind by a pattern, such \
                 as '*.parquet'",
                name(&one),
                name(&other)
            ))
        }
    }
}
