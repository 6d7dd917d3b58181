//! The paths that a glob matches. The crate `glob` matches names; its own walk panics at a name that
//! is not UTF-8. It lists, and opens no file.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use glob::{MatchOptions, Pattern};

use crate::error::EngineError;

/// A name that begins with a dot is matched by a dot only.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: true,
};

/// Returns the paths that a glob matches, in the order of their names. Bytes of a name that are not
/// UTF-8 are matched by `*` and `?`. **Blocks** to walk directories.
///
/// # Errors
/// The pattern is none; a directory that cannot be read; a link to a directory above it, if the
/// pattern crosses directories.
pub(crate) fn glob_paths(pattern: &str) -> Result<Vec<PathBuf>, EngineError> {
    let root = if pattern.starts_with('/') { "/" } else { "." };
    let mut found = vec![PathBuf::from(root)];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let matches =
            Pattern::new(part).map_err(|error| EngineError::data(format!("{pattern}: {error}")))?;
        let mut next = Vec::new();
        for folder in found {
            match part {
                "**" => descend(folder, &mut next)?,
                part if !part.contains(['*', '?', '[']) => {
                    next.extend(Some(folder.join(part)).filter(|path| path.exists()));
                }
                _ => {
                    let names = names(&folder)?.into_iter();
                    let names =
                        names.filter(|name| matches.matches_with(&name.to_string_lossy(), OPTIONS));
                    next.extend(names.map(|name| folder.join(name)));
                }
            }
        }
        // Two `**` reach a directory in several ways.
        next.sort();
        next.dedup();
        found = next;
    }
    Ok(found)
}

/// Adds a directory, and those below it whose names begin with no dot.
fn descend(folder: PathBuf, into: &mut Vec<PathBuf>) -> Result<(), EngineError> {
    if !folder.is_dir() {
        return Ok(());
    }
    check_no_circle(&folder)?;
    let names = names(&folder)?;
    into.push(folder.clone());
    for name in names {
        if !name.as_encoded_bytes().starts_with(b".") {
            descend(folder.join(name), into)?;
        }
    }
    Ok(())
}

/// Returns the sorted names in a directory; none of a file.
fn names(folder: &Path) -> Result<Vec<OsString>, EngineError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let refuse = |error: io::Error| EngineError::of_file(folder, error.to_string());
    let entries = folder.read_dir().map_err(refuse)?;
    let names = entries.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(refuse)?;
    names.sort();
    Ok(names)
}

/// Refuses a link to a directory above it, through which every file would be found again. Other
/// links are followed.
pub(crate) fn check_no_circle(folder: &Path) -> Result<(), EngineError> {
    if !folder.is_symlink() {
        return Ok(());
    }
    // A directory that has gone in the meantime is noticed where it is read.
    let Ok(target) = folder.canonicalize() else {
        return Ok(());
    };
    let is_target = |above: &Path| above.canonicalize().is_ok_and(|above| above == target);
    match folder.ancestors().skip(1).any(is_target) {
        true => Err(EngineError::of_file(
            folder,
            "a link to a directory above it",
        )),
        false => Ok(()),
    }
}
