//! Other programs that read tar archives.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// A member as Python's `tarfile` sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) kind: String,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) size_bytes: u64,
    pub(crate) mtime_seconds: i64,
    pub(crate) user_name: String,
    pub(crate) group_name: String,
    pub(crate) name: Vec<u8>,
    pub(crate) target: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Reader {
    GnuTar,
    BsdTar,
    Python,
}

pub(crate) const ALL: [Reader; 3] = [Reader::GnuTar, Reader::BsdTar, Reader::Python];

impl Reader {
    /// Extracts an archive with permissions and times; it must not complain.
    pub(crate) fn extract(self, archive: &Path, target: &Path) {
        let output = match self {
            Self::GnuTar => run(
                "tar",
                [
                    "-xpf".as_ref(),
                    archive.as_os_str(),
                    "-C".as_ref(),
                    target.as_os_str(),
                ],
            ),
            Self::BsdTar => run(
                "bsdtar",
                [
                    "-xpf".as_ref(),
                    archive.as_os_str(),
                    "-C".as_ref(),
                    target.as_os_str(),
                ],
            ),
            Self::Python => python(PYTHON_EXTRACT, &[archive, target]),
        };
        succeeded_silently(&output, self);
    }

    /// Lists an archive's names, verbosely where it can; it must not complain.
    pub(crate) fn list(self, archive: &Path) -> String {
        let output = self.try_list(archive);
        succeeded_silently(&output, self);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn try_list(self, archive: &Path) -> Output {
        match self {
            Self::GnuTar => run("tar", ["-tvf".as_ref(), archive.as_os_str()]),
            Self::BsdTar => run("bsdtar", ["-tvf".as_ref(), archive.as_os_str()]),
            Self::Python => python(PYTHON_LIST, &[archive]),
        }
    }
}

/// Lists an archive's members as Python's `tarfile` sees them.
pub(crate) fn members(archive: &Path) -> Vec<Listed> {
    let output = python(PYTHON_LIST, &[archive]);
    succeeded_silently(&output, Reader::Python);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(listed).collect()
}

fn listed(line: &str) -> Listed {
    let mut fields = line.split('|');
    let mut next = || fields.next().unwrap();
    Listed {
        kind: next().to_owned(),
        mode: next().parse().unwrap(),
        uid: next().parse().unwrap(),
        gid: next().parse().unwrap(),
        size_bytes: next().parse().unwrap(),
        mtime_seconds: next().parse().unwrap(),
        user_name: next().to_owned(),
        group_name: next().to_owned(),
        name: from_hex(next()),
        target: from_hex(next()),
    }
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

fn python(script: &str, arguments: &[&Path]) -> Output {
    let arguments = arguments.iter().map(|argument| argument.as_os_str());
    run(
        "python3",
        ["-c".as_ref(), script.as_ref()]
            .into_iter()
            .chain(arguments),
    )
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Output {
    Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program} must be installed: {error}"))
}

/// GNU tar does not know `hdrcharset` and says so; it keeps the bytes of names
/// as they are, which is what `BINARY` asks for.
fn succeeded_silently(output: &Output, reader: Reader) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let complaints: Vec<_> = stderr
        .lines()
        .filter(|line| !line.contains("unknown extended header keyword 'hdrcharset'"))
        .collect();
    assert!(
        output.status.success() && complaints.is_empty(),
        "{reader:?}: {stderr}"
    );
}

const PYTHON_LIST: &str = r#"
import os, sys, tarfile
kinds = {b"0": "file", b"1": "hard link", b"2": "symlink", b"5": "directory"}
with tarfile.open(sys.argv[1], "r:") as archive:
    for m in archive:
        print(kinds[m.type], m.mode, m.uid, m.gid, m.size, int(m.mtime), m.uname, m.gname,
              os.fsencode(m.name).hex(), os.fsencode(m.linkname).hex(), sep="|")
"#;

/// The filter exists only in newer versions, which complain without one.
const PYTHON_EXTRACT: &str = r#"
import sys, tarfile
trust = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
with tarfile.open(sys.argv[1], "r:") as archive:
    archive.extractall(sys.argv[2], numeric_owner=True, **trust)
"#;
