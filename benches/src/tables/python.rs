//! Where the peers' Python interpreter and scripts are.

use std::path::{Path, PathBuf};

/// The peers' scripts.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/tables");

/// The interpreter that `benches/peers/tables/install` sets up.
pub(super) const PYTHON: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../.tools/bench-venv/bin/python"
);

/// The path of one of the peers' scripts.
pub(super) fn script_path(file: &str) -> PathBuf {
    Path::new(SCRIPTS).join(file)
}
