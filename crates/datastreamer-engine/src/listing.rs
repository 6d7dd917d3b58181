//! Which files below a folder are data, and which a glob matches. It lists, and opens no file.
//!
//! `files.rs` calls it. It **blocks** to walk directories.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    io,
    path::{Component, Path, PathBuf},
};

use crate::{
    error::EngineError,
    glob_paths::{Glob, check_no_circle, is_pattern},
};

/// At most 100,000 files in a table: listing more takes seconds for each scan.
const FILES_MAX: usize = 100_000;
/// Folders by which a table format is recognized, with its name and a program that exports it.
/// Such a table's log decides which of its files count: the others hold rows that were deleted.
const LOG_FOLDERS: [(&str, &str, &str); 2] = [
    ("_delta_log", "Delta Lake", "DuckDB's delta_scan"),
    (".hoodie", "Hudi", "Spark"),
];
/// The folder of an Iceberg table's log. The name alone says little.
const ICEBERG_FOLDER: &str = "metadata";
/// The folder of the files of a job that has not finished: what it holds may become data, or not.
const TEMPORARY: &str = "_temporary";
/// How many folders are looked at from a named one upwards: more than any table has partitions.
const ABOVE_MAX: usize = 16;

/// Returns the files below a directory that are data.
///
/// # Errors
/// A directory that cannot be read, or that is a table of Delta Lake, Iceberg or Hudi, or below one
/// or below `_temporary`; too many files; a link to a directory above it.
pub(crate) fn walk(folder: &Path) -> Result<Vec<PathBuf>, EngineError> {
    check_above(folder)?;
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    Ok(files)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), EngineError> {
    let refuse = |error: io::Error| EngineError::of_system(folder, &error);
    for entry in folder.read_dir().map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        let path = entry.path();
        let is_folder = path.is_dir();
        if is_folder {
            check_no_log(folder, &path)?;
        }
        if !is_data(path.file_name().unwrap_or_default(), is_folder) {
            continue;
        }
        if is_folder {
            check_no_circle(&path)?;
            collect(&path, files)?;
        } else {
            if entry.file_type().map_err(refuse)?.is_symlink() {
                check_link(&path)?;
            }
            files.push(path);
        }
        if files.len() > FILES_MAX {
            let text = format!("more than {FILES_MAX} files");
            return Err(EngineError::of_file(folder, text));
        }
    }
    Ok(())
}

/// Refuses a link that leads nowhere, whatever its name is: rows would be lost that are behind it, in
/// a file or a folder.
fn check_link(file: &Path) -> Result<(), EngineError> {
    match file.is_symlink() && !file.exists() {
        true => Err(EngineError::not_found(file)),
        false => Ok(()),
    }
}

/// Returns whether a name is one of data. Those that begin with a dot or an underscore are not, by
/// the convention of Hive, Spark and Arrow: writers name files so until they are complete. A
/// partition's column may begin with an underscore, as in Spark.
fn is_data(name: &OsStr, is_folder: bool) -> bool {
    let name = name.as_encoded_bytes();
    match name.first() {
        Some(b'.') => false,
        Some(b'_') => is_folder && name.contains(&b'='),
        _ => true,
    }
}

/// Refuses a folder that is a table of a format with a log, by a folder in it.
fn check_no_log(folder: &Path, inner: &Path) -> Result<(), EngineError> {
    let name = inner.file_name().unwrap_or_default();
    let log = LOG_FOLDERS.iter().find(|(log, ..)| name == *log);
    let (format, exporter) = match log {
        Some((_, format, exporter)) => (*format, *exporter),
        None if name == ICEBERG_FOLDER && has_iceberg_metadata(inner) => {
            ("Iceberg", "DuckDB's iceberg_scan")
        }
        None => return Ok(()),
    };
    let text = format!(
        "is a table of {format}, whose log says which rows of its files count: export it, for \
         example with {exporter}, and use the exported files"
    );
    Err(EngineError::of_file(folder, text))
}

fn has_iceberg_metadata(folder: &Path) -> bool {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let mut names = entries.map(|entry| entry.file_name());
    names.any(|name| {
        let name = name.as_encoded_bytes();
        [".metadata.json", ".metadata.json.gz"]
            .iter()
            .any(|end| name.ends_with(end.as_bytes()))
    })
}

/// Splits a glob into the folder before the first pattern, and the folders below it.
pub(crate) fn folders_of_glob(pattern: &Path) -> (PathBuf, Vec<&OsStr>) {
    let folders = pattern.parent().unwrap_or(pattern).iter();
    let folders: Vec<_> = folders.collect();
    let from = folders.iter().position(|folder| is_pattern(folder));
    let (root, behind) = folders.split_at(from.unwrap_or(folders.len()));
    (root.iter().collect(), behind.to_vec())
}

/// Returns the files that a glob matches and that are data. A name that is no data is taken if the
/// glob has its first character, but none below `_temporary`.
///
/// # Errors
/// The pattern is none; a directory that cannot be read, or that is a table of Delta Lake, Iceberg
/// or Hudi, or below one or below `_temporary`; a file behind a link to a directory above it.
pub(crate) fn expand(pattern: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let glob = Glob::parse(pattern)?;
    let (root, folders) = folders_of_glob(pattern);
    let named = folders.into_iter().chain(pattern.file_name());
    let named = named.map(OsStr::to_string_lossy);
    let named = named.filter(|part| part.starts_with(['_', '.']));
    let named: Result<Vec<_>, _> = named.map(|part| glob::Pattern::new(&part)).collect();
    let named = named.map_err(|error| EngineError::of_file(pattern, error.to_string()))?;
    check_above(&root)?;
    let mut files = glob.paths()?;
    files.retain(|path| !path.is_dir() && is_data_below(&root, path, &named));
    let mut seen = BTreeSet::new();
    for file in &files {
        let above = file.ancestors().skip(1);
        let below_root = above.take_while(|folder| folder.starts_with(&root));
        // Those above a directory that was seen have been seen too.
        for folder in below_root.take_while(|folder| seen.insert(folder.to_path_buf())) {
            check_no_log_in(folder)?;
        }
        check_link(file)?;
    }
    Ok(files)
}

/// Returns whether all names below a folder are those of data, or are named by a pattern.
fn is_data_below(root: &Path, file: &Path, named: &[glob::Pattern]) -> bool {
    let below = file.strip_prefix(root).unwrap_or(file);
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            continue;
        };
        let is_folder = parts.peek().is_some();
        let is_named = || {
            let name = name.to_string_lossy();
            named.iter().any(|pattern| pattern.matches(&name))
        };
        let is_temporary = is_folder && name == TEMPORARY;
        if is_temporary || !is_data(name, is_folder) && !is_named() {
            return false;
        }
    }
    true
}

/// Refuses a folder by those above it: it is below a table with a log, or below `_temporary`.
fn check_above(folder: &Path) -> Result<(), EngineError> {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut names = real.ancestors().take(ABOVE_MAX).map(Path::file_name);
    if names.any(|name| name.is_some_and(|name| name == TEMPORARY)) {
        let text = format!(
            "is in {TEMPORARY}, where Spark and Hadoop keep files of jobs that have not finished"
        );
        return Err(EngineError::of_file(folder, text));
    }
    let mut above = real.ancestors().take(ABOVE_MAX).skip(1);
    above.try_for_each(check_no_log_in)
}

fn check_no_log_in(folder: &Path) -> Result<(), EngineError> {
    let logs = LOG_FOLDERS.iter().map(|(log, ..)| *log);
    for name in logs.chain([ICEBERG_FOLDER]) {
        let inner = folder.join(name);
        if inner.is_dir() {
            check_no_log(folder, &inner)?;
        }
    }
    Ok(())
}
