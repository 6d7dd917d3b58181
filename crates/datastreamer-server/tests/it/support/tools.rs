//! Finds the programs that the tests run. A missing one is a failure, never a skipped test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use super::program::without_settings;

/// Returns a command for a program on the `PATH` or in `/usr/sbin`: without input, without output
/// but for standard error, without proxies and settings of ours in its environment.
///
/// # Panics
/// When there is no such program.
pub(crate) fn program(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file());
    command(&existing(name, found.unwrap_or_default()))
}

/// Returns a command for the Python that has the packages of `scripts/install-test-tools`.
pub(crate) fn python() -> Command {
    command(&existing(
        "the Python of the tests",
        checkout().join(".tools/venv/bin/python"),
    ))
}

/// Returns the directory of Playwright's package for node.
pub(crate) fn playwright_core() -> PathBuf {
    existing(
        "playwright-core",
        checkout().join(".tools/node/node_modules/playwright-core"),
    )
}

/// Returns the path of a client's script.
pub(crate) fn client_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// Returns `path`, which holds `what`.
///
/// # Panics
/// When nothing is there.
pub(crate) fn existing(what: &str, path: PathBuf) -> PathBuf {
    assert!(
        fs::exists(&path).unwrap_or(false),
        "{what} is missing: run scripts/install-test-tools"
    );
    path
}

/// Returns the root of the checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    without_settings(&mut command);
    for variable in ["http_proxy", "https_proxy", "all_proxy"] {
        command
            .env_remove(variable)
            .env_remove(variable.to_uppercase());
    }
    command
}
