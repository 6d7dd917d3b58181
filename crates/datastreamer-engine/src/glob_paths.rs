//! The paths that a glob matches. The crate `glob` matches names; its own walk panics at a name that
//! is not UTF-8. It lists, and opens no file.

use std::{
    ffi::{OsStr, OsString},
    io,
    ops::ControlFlow,
    path::{Component, Path, PathBuf},
};

use glob::{MatchOptions, Pattern};

use crate::error::EngineError;

/// A name that begins with a dot is matched by a dot only.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: false,
    require_literal_leading_dot: true,
};

/// A glob, split at its slashes.
pub(crate) struct Glob {
    root: &'static str,
    parts: Vec<Part>,
}

enum Part {
    /// A name without a pattern.
    Name(OsString),
    Names(Pattern),
    /// `**`: the directory, and those below it whose names begin with no dot.
    Folders,
}

/// Returns whether a path or a part of one has what a glob has.
pub(crate) fn is_pattern(path: &OsStr) -> bool {
    let mut bytes = path.as_encoded_bytes().iter();
    bytes.any(|byte| b"*?[".contains(byte))
}

impl Part {
    /// # Errors
    /// The text of why it is no pattern.
    fn parse(part: &OsStr) -> Result<Self, String> {
        if part == "**" {
            return Ok(Self::Folders);
        }
        if !is_pattern(part) {
            return Ok(Self::Name(part.to_owned()));
        }
        let text = part
            .to_str()
            .ok_or("is no pattern in UTF-8: write ? for each other byte")?;
        let pattern = Pattern::new(text).map_err(|error| error.to_string())?;
        Ok(Self::Names(pattern))
    }
}

/// Takes a path that matches, and decides whether the walk goes on.
type Take<'a> = &'a mut dyn FnMut(PathBuf) -> ControlFlow<()>;

impl Glob {
    /// # Errors
    /// The pattern is none.
    pub(crate) fn parse(pattern: &Path) -> Result<Self, EngineError> {
        let bad = |text: String| EngineError::of_file(pattern, text);
        let parts = pattern.components();
        let parts = parts.filter(|part| *part != Component::RootDir);
        let parts = parts.map(|part| Part::parse(part.as_os_str()));
        let mut parts = parts.collect::<Result<Vec<_>, _>>().map_err(bad)?;
        parts.dedup_by(|a, b| matches!((a, b), (Part::Folders, Part::Folders)));
        // All files below a folder: `**` alone are the folders.
        if matches!(parts.last(), Some(Part::Folders)) {
            parts.push(Part::parse(OsStr::new("*")).map_err(bad)?);
        }
        let root = if pattern.is_absolute() { "/" } else { "." };
        Ok(Self { root, parts })
    }

    /// Returns the paths that match, in the order of their names. Bytes of a name that are not UTF-8
    /// are matched by `*` and `?`. **Blocks** to walk directories.
    ///
    /// # Errors
    /// A directory that cannot be read; a file behind a link to a directory above it.
    pub(crate) fn paths(&self) -> Result<Vec<PathBuf>, EngineError> {
        let mut found = Vec::new();
        let _end = self.walk(&mut |path| {
            found.push(path);
            ControlFlow::Continue(())
        })?;
        // Two `**` reach a directory in several ways.
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Returns whether a path matches. **Blocks** to walk directories, up to the first match.
    ///
    /// # Errors
    /// As [`Glob::paths`], before the first match.
    pub(crate) fn has_match(&self) -> Result<bool, EngineError> {
        let end = self.walk(&mut |_| ControlFlow::Break(()))?;
        Ok(end.is_break())
    }

    fn walk(&self, take: Take<'_>) -> Result<ControlFlow<()>, EngineError> {
        walk(self.root.into(), &self.parts, None, take)
    }
}

/// Visits the matches of `parts` in a directory. `circle` is the link to a directory above it that
/// the walk has come through.
fn walk(
    folder: PathBuf,
    parts: &[Part],
    circle: Option<&Path>,
    take: Take<'_>,
) -> Result<ControlFlow<()>, EngineError> {
    let Some((part, rest)) = parts.split_first() else {
        return match circle {
            Some(link) if !folder.is_dir() => Err(of_circle(link)),
            _ => Ok(take(folder)),
        };
    };
    match part {
        Part::Folders => descend(folder, parts, circle, take),
        Part::Name(name) => {
            let path = folder.join(name);
            // A link that leads nowhere is there, too: that must show.
            match path.symlink_metadata().is_ok() {
                true => walk(path, rest, circle, take),
                false => Ok(ControlFlow::Continue(())),
            }
        }
        Part::Names(pattern) => {
            for name in names(&folder)? {
                if pattern.matches_with(&name.to_string_lossy(), OPTIONS)
                    && walk(folder.join(name), rest, circle, take)?.is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        }
    }
}

/// Visits the matches in a directory and in those below it; `parts` begin with `**`. A link to a
/// directory above it is followed once: a file that is found there would be found again and again.
fn descend(
    folder: PathBuf,
    parts: &[Part],
    circle: Option<&Path>,
    take: Take<'_>,
) -> Result<ControlFlow<()>, EngineError> {
    if !folder.is_dir() {
        return Ok(ControlFlow::Continue(()));
    }
    let circle = match (is_circle(&folder), circle) {
        (true, Some(_)) => return Ok(ControlFlow::Continue(())),
        (true, None) => Some(folder.as_path()),
        (false, circle) => circle,
    };
    let names = names(&folder)?;
    if walk(folder.clone(), &parts[1..], circle, take)?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    for name in names {
        if !name.as_encoded_bytes().starts_with(b".")
            && descend(folder.join(name), parts, circle, take)?.is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Returns the sorted names in a directory; none of a file.
fn names(folder: &Path) -> Result<Vec<OsString>, EngineError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let refuse = |error: io::Error| EngineError::of_system(folder, &error);
    let entries = folder.read_dir().map_err(refuse)?;
    let names = entries.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(refuse)?;
    names.sort();
    Ok(names)
}

/// Refuses a link to a directory above it, through which every file would be found again. Other
/// links are followed.
pub(crate) fn check_no_circle(folder: &Path) -> Result<(), EngineError> {
    match is_circle(folder) {
        true => Err(of_circle(folder)),
        false => Ok(()),
    }
}

fn of_circle(link: &Path) -> EngineError {
    EngineError::of_file(link, "a link to a directory above it")
}

fn is_circle(folder: &Path) -> bool {
    if !folder.is_symlink() {
        return false;
    }
    // A directory that has gone in the meantime is noticed where it is read.
    let Ok(target) = folder.canonicalize() else {
        return false;
    };
    let is_target = |above: &Path| above.canonicalize().is_ok_and(|above| above == target);
    folder.ancestors().skip(1).any(is_target)
}
