//! The table that every contender reads: a generated star catalogue of eight columns, as Parquet
//! and as FITS, made once for each number of rows and kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::python::{PYTHON, script_path};

/// Removed by `cargo clean`.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tables");

const MAKE_PARQUET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/make_stars.py");

/// One table in two files.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) rows: u64,
    pub(crate) parquet: PathBuf,
    pub(crate) fits: PathBuf,
}

impl Input {
    /// Finds the table of `rows` rows, or makes it.
    ///
    /// # Errors
    /// When Python or a package of `benches/peers/tables/install` is missing.
    pub(crate) fn prepare(rows: u64) -> io::Result<Self> {
        let folder = Path::new(FOLDER);
        fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        let input = Self {
            rows,
            parquet: folder.join(format!("stars-{rows}.parquet")),
            fits: folder.join(format!("stars-{rows}.fits")),
        };
        made(&input.parquet, |part| {
            command(Path::new(MAKE_PARQUET), rows.to_string().as_ref(), part)
        })?;
        made(&input.fits, |part| {
            command(&script_path("parquet_to_fits.py"), &input.parquet, part)
        })?;
        Ok(input)
    }
}

fn command(script: &Path, from: &Path, to: &Path) -> Command {
    let mut command = Command::new(PYTHON);
    command.arg(script).arg(from).arg(to);
    command
}

/// Makes a file under a temporary name first, so that an interrupted run leaves no truncated file.
fn made(path: &Path, command: impl FnOnce(&Path) -> Command) -> io::Result<()> {
    if path.is_file() {
        return Ok(());
    }
    eprintln!("making {}", path.display());
    let part = path.with_extension("part");
    let missing = |error| {
        io::Error::other(format!(
            "{PYTHON}: {error} (run benches/peers/tables/install)"
        ))
    };
    let status = command(&part).status().map_err(missing)?;
    if !status.success() {
        let what = format!("{} could not be made ({status})", path.display());
        return Err(io::Error::other(what));
    }
    fs::rename(part, path)
}
