//! The state file beside an unfinished download (`NAME.part.json`): which version of which URL it is,
//! and which of its bytes are on the disk. What it does not name is not trusted.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{plan::Validator, ranges::Ranges};

/// Behind the name of the unfinished file.
const SUFFIX: &str = ".json";

/// Of the format of this file.
const VERSION: u32 = 1;

/// A state file is never larger: 16 parts have as many ranges, each of 50 bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How many files of a folder are looked at for one of a URL.
const FOLDER_FILES_MAX: usize = 10_000;

/// What is kept about an unfinished file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// Without credentials.
    pub(crate) url: String,
    /// Of the version that is there.
    pub(crate) validator: Option<Validator>,
    /// The length of the whole file.
    pub(crate) total: Option<u64>,
    /// What is on the disk, as `(first, behind the last)`.
    pub(crate) synced: Vec<(u64, u64)>,
    /// The digests that the server states, in base64.
    pub(crate) digests: BTreeMap<String, String>,
    /// The limit that may cut its rows.
    pub(crate) row_limit: Option<String>,
}

impl State {
    /// The state of a file of which nothing is there.
    pub(crate) fn new(url: &str) -> Self {
        Self {
            version: VERSION,
            url: url.to_owned(),
            ..Self::default()
        }
    }

    /// Reads the state of an unfinished file. `None` if there is none, or none that can be trusted.
    pub(crate) fn load(part: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = File::open(path_of(part)).ok()?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        let state: Self = serde_json::from_str(&text).ok()?;
        let fits = state.version == VERSION && state.ranges().is_some();
        fits.then_some(state)
    }

    /// What is on the disk; `None` if the list cannot be.
    pub(crate) fn ranges(&self) -> Option<Ranges> {
        let ranges = Ranges::from_pairs(&self.synced)?;
        let fits = self.total.is_none_or(|total| ranges.end() <= total);
        fits.then_some(ranges)
    }

    /// Replaces the state file at once: a crash leaves the old one or the new one. Only its owner may
    /// read it, because the query of a URL may be a secret.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub(crate) fn save(&self, part: &Path) -> io::Result<()> {
        let path = path_of(part);
        let new = with_suffix(&path, ".new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_data()?;
        fs::rename(&new, &path)
    }

    /// Removes the state file, durably: after a crash no old state may speak of new bytes.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn remove(part: &Path) -> io::Result<()> {
        match fs::remove_file(path_of(part)) {
            Ok(()) => sync_folder(part),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Finds the unfinished file of a URL in a folder: its name was given by the server, which is not
    /// asked yet. Of several the one that was written last.
    pub(crate) fn find(folder: &Path, url: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(folder).ok()?.take(FOLDER_FILES_MAX).flatten();
        let parts = entries.filter_map(|entry| {
            let path = entry.path();
            let part = path.to_str()?.strip_suffix(SUFFIX)?;
            let part = part
                .ends_with(super::PART_SUFFIX)
                .then(|| PathBuf::from(part))?;
            let written = entry.metadata().ok()?.modified().ok()?;
            (State::load(&part)?.url == url).then_some((written, part))
        });
        parts.max().map(|(_, part)| part)
    }
}

/// Makes the entries of the folder of a file durable.
///
/// # Errors
/// Those of the disk.
pub(crate) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if folder != "" => folder,
        _ => Path::new("."),
    };
    match File::open(folder)?.sync_all() {
        // Some file systems cannot.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// Returns a path with something behind its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn path_of(part: &Path) -> PathBuf {
    with_suffix(part, SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_saved_and_anything_else_is_not_trusted() {
        let folder = std::env::temp_dir().join(format!("get-state-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let part = folder.join("stars.csv.part");
        assert_eq!(State::load(&part), None);
        let mut state = State::new("http://host/stars");
        state.validator = Some(Validator::Etag("\"a\"".into()));
        state.total = Some(100);
        state.synced = vec![(0, 10), (50, 60)];
        state.save(&part).unwrap();
        assert_eq!(State::load(&part), Some(state.clone()));
        let found = State::find(&folder, "http://host/stars");
        assert_eq!(found.as_deref(), Some(part.as_path()));
        assert_eq!(State::find(&folder, "http://host/star"), None);
        for wrong in [
            r#"{"version":2,"url":"","synced":[],"digests":{}}"#,
            r#"{"version":1,"url":"","synced":[[5,5]],"digests":{}}"#,
            r#"{"version":1,"url":"","total":4,"synced":[[0,5]],"digests":{}}"#,
            r#"{"version":1,"url":"","synced":[[0,5]],"dig"#,
        ] {
            fs::write(path_of(&part), wrong).unwrap();
            assert_eq!(State::load(&part), None, "{wrong}");
        }
        State::remove(&part).unwrap();
        State::remove(&part).unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
