//! What the command line calls the tables and directories that it serves: `NAME=PATH`, or a name
//! that the path gives. It opens no file.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path},
};

use datastreamer_archive::directory::{Hidden, OnChange};

use super::{BadPaths, CommandLine, Place, RouteConfig, RowsConfig, SourceConfig, TextOptions};
use crate::{
    error::{ConfigError, Fatal},
    escapes,
    sources::DirectoryOptions,
};

/// What a glob has, and a plain path need not have.
const PATTERN: [char; 3] = ['*', '?', '['];

/// A table or directory of the command line.
struct Named<'a> {
    route: RouteConfig,
    path: &'a Path,
    /// The name is the user's.
    is_given: bool,
}

/// Makes the routes of the command line.
///
/// # Errors
/// A path is no route's, and must be; or none is.
pub(super) fn routes(command_line: &CommandLine<'_>) -> Result<Vec<RouteConfig>, Fatal> {
    let paths = command_line.paths.iter().map(|path| (path, false));
    let tables = command_line.tables.iter().map(|path| (path, true));
    let is_optional = command_line.bad_paths == BadPaths::LeaveOut;
    let mut good = Vec::new();
    let mut bad = Vec::new();
    for (path, as_table) in paths.chain(tables) {
        match named(path, as_table, &command_line.text) {
            Ok(mut named) => {
                named.route.optional = is_optional.then(|| path.clone());
                good.push(named);
            }
            Err(error) if is_optional => bad.push((path, error)),
            Err(error) => return Err(error),
        }
    }
    if good.is_empty() && !bad.is_empty() {
        let lines = bad.iter().flat_map(|(_, error)| error.lines());
        let errors = lines.map(|line| ConfigError::new(None, line));
        return Err(Fatal::Config(errors.collect()));
    }
    for (path, error) in bad {
        warn_of(path, &error.to_string());
    }
    Ok(distinguish(good))
}

/// Says that a path is left out.
pub(crate) fn warn_of(path: &Path, error: &str) {
    tracing::warn!(path = %path.display(), error, "not served");
}

/// Makes the route of a path, or of `NAME=PATH`; a directory is a tar, or a table if `as_table`. A file
/// that is no table is served as it is.
fn named<'a>(argument: &'a Path, as_table: bool, text: &TextOptions) -> Result<Named<'a>, Fatal> {
    let (name, path) = split(argument)?;
    let mut route = match as_table {
        false if path.is_dir() => of_directory(path, name)?,
        false if path.is_file() && !RowsConfig::is_table(path) => of_file(path, name),
        // What is wrong with a table's files names them.
        _ => RouteConfig::of_table(argument, text)?,
    };
    let is_table = matches!(route.source, SourceConfig::Rows(_));
    if let (false, Some(option)) = (is_table, text.set().first()) {
        let path = path.display();
        let text = format!("{path}: {option} is an option of tables, and this is served as it is");
        return Err(Fatal::config(text));
    }
    if as_table {
        route.origin = Place::named("--table");
    }
    Ok(Named {
        route,
        path,
        is_given: name.is_some(),
    })
}

/// Splits `NAME=PATH`. A path of the whole text comes first: its folders may be hive partitions.
pub(crate) fn split(argument: &Path) -> Result<(Option<&str>, &Path), Fatal> {
    let plain = (None, argument);
    let bytes = argument.as_os_str().as_bytes();
    let Some(at) = bytes.iter().position(|byte| *byte == b'=') else {
        return Ok(plain);
    };
    let (name, path) = (&bytes[..at], Path::new(OsStr::from_bytes(&bytes[at + 1..])));
    match str::from_utf8(name) {
        Ok(name) if !name.is_empty() && !name.contains('/') => {
            match RowsConfig::is_there(argument)? {
                true => Ok(plain),
                false => Ok((Some(name), path)),
            }
        }
        _ => Ok(plain),
    }
}

/// A directory, as a tar.
fn of_directory(path: &Path, name: Option<&str>) -> Result<RouteConfig, Fatal> {
    let origin = Place::named(path.display());
    // `.` and `..` have no name of their own.
    let real = path.canonicalize();
    let real = real.map_err(|error| Fatal::from(origin.error(error)))?;
    let own_name = || real.file_name().map_or("files".into(), readable);
    // `photos.tar=photos` is the file that it names, too.
    let given = name.map(|name| name.strip_suffix(".tar").unwrap_or(name));
    let name = given.map_or_else(own_name, str::to_owned);
    let source = SourceConfig::Directory(DirectoryOptions {
        path: path.to_owned(),
        on_change: OnChange::Abort,
        hidden: Hidden::LeaveOut,
        is_stable: false,
    });
    Ok(RouteConfig {
        origin,
        ..RouteConfig::new(name, source)
    })
}

/// A file, as it is.
fn of_file(path: &Path, name: Option<&str>) -> RouteConfig {
    let name = name.map_or_else(|| of_table(path), str::to_owned);
    RouteConfig::new(name, SourceConfig::File(path.to_owned()))
}

/// Returns the name of a table: its folder's, or its file's without the suffix.
pub(super) fn of_table(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = real.file_name().map(readable).unwrap_or_default();
    let name = match (path.is_dir(), path.exists()) {
        (true, _) => name.as_str(),
        (_, true) => stem(&name),
        (_, false) => match name.split_once(PATTERN) {
            Some((before, _)) => before.trim_end_matches('.'),
            None => stem(&name),
        },
    };
    if name.is_empty() { "table" } else { name }.to_owned()
}

/// Cuts the suffix: `.csv` or `.csv.gz`, but not the `.dr3` before it.
fn stem(name: &str) -> &str {
    let plain = match name.rsplit_once('.') {
        Some((plain, suffix))
            if ["gz", "zst"]
                .iter()
                .any(|it| suffix.eq_ignore_ascii_case(it)) =>
        {
            plain
        }
        _ => name,
    };
    plain.rsplit_once('.').map_or(plain, |(stem, _)| stem)
}

fn readable(name: &OsStr) -> String {
    escapes::readable(name.as_bytes())
}

/// Puts the names of folders before the names that several routes have: `A/data.csv` and
/// `B/data.csv` are `A-data` and `B-data`. Routes that stay the same are refused later.
fn distinguish(mut routes: Vec<Named<'_>>) -> Vec<RouteConfig> {
    let key = |it: &Named<'_>| {
        let is_table = matches!(it.route.source, SourceConfig::Rows(_));
        (it.route.name.clone(), is_table)
    };
    let mut done = BTreeSet::new();
    for first in 0..routes.len() {
        let name = key(&routes[first]);
        let same =
            (0..routes.len()).filter(|at| !routes[*at].is_given && key(&routes[*at]) == name);
        let same: Vec<_> = same.collect();
        let is_shared = routes.iter().filter(|it| key(it) == name).count() > 1;
        if !is_shared || same.is_empty() || !done.insert(name.clone()) {
            continue;
        }
        if let Some(names) = longer(&name.0, same.iter().map(|at| routes[*at].path).collect()) {
            for (at, name) in same.into_iter().zip(names) {
                routes[at].route.name = name;
            }
        }
    }
    routes.into_iter().map(|it| it.route).collect()
}

/// Returns different names for paths, with as few folders as that takes; `None` if all folders do
/// not suffice.
fn longer(name: &str, paths: Vec<&Path>) -> Option<Vec<String>> {
    let folders: Vec<_> = paths.into_iter().map(folders_above).collect();
    let most = folders.iter().map(Vec::len).max()?;
    let with = |count: usize| {
        folders.iter().map(move |folders| {
            let skipped = folders.len().saturating_sub(count);
            let parts = folders[skipped..].iter().map(String::as_str);
            parts.chain([name]).collect::<Vec<_>>().join("-")
        })
    };
    (1..=most)
        .find(|count| with(*count).collect::<BTreeSet<_>>().len() == folders.len())
        .map(|count| with(count).collect())
}

/// Returns the names of the folders above a path, without those of a pattern.
fn folders_above(path: &Path) -> Vec<String> {
    let real = path.canonicalize().or_else(|_| std::path::absolute(path));
    let real = real.unwrap_or_else(|_| path.to_owned());
    let above = real.parent().unwrap_or(Path::new("")).components();
    let names = above.filter_map(|part| match part {
        Component::Normal(name) => Some(readable(name)),
        _ => None,
    });
    names.filter(|name| !name.contains(PATTERN)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_table_is_its_files_without_the_suffix() {
        for (path, name) in [
            ("nowhere/gaia.dr3.csv", "gaia.dr3"),
            ("gaia.dr3.CSV.GZ", "gaia.dr3"),
            ("stars.parquet", "stars"),
            ("stars*.parquet", "stars"),
            ("gaia.dr2.*.parquet", "gaia.dr2"),
            ("*.parquet", "table"),
            ("x/*/t.csv", "t"),
            (".csv", "table"),
        ] {
            assert_eq!(of_table(Path::new(path)), name, "{path}");
        }
        assert_eq!(readable(OsStr::from_bytes(b"a\xffb\xc3\xbc")), "a%FFbü");
    }

    #[test]
    fn names_get_as_many_folders_as_make_them_different() {
        let names = |paths: &[&str]| longer("d", paths.iter().map(Path::new).collect());
        let two = Some(vec!["A-d".to_owned(), "B-d".to_owned()]);
        assert_eq!(names(&["/A/d.csv", "/B/d.csv"]), two);
        let deep = Some(vec!["x-A-d".to_owned(), "y-A-d".to_owned()]);
        assert_eq!(names(&["/x/A/d.csv", "/y/A/*/d.csv"]), deep);
        assert_eq!(names(&["/A/d.csv", "/A/d.csv"]), None);
    }
}
