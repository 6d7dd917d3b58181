//! The servers of the side-by-side run: how each is started, which URL it serves and which bytes it
//! must send. It owns no figures.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use datastreamer::DEFAULT_CHUNK_BYTES;

use crate::cli::{Mode, Program};
use crate::client;
use crate::pattern::{CHUNK_BYTES, Check, PEER_PERIOD_BYTES, PROGRAM_PERIOD_BYTES};
use crate::process::{self, Server};

/// The original needs the distribution's packages, hence its interpreter.
const PYTHON: &str = "/usr/bin/python3";

/// The original around Twisted.
const ORIGINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/dachs_peer.py");

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// This program's own server with one of the bodies.
    Peer(Mode),
    /// `gavo.svcs.streaming.DataStreamer` on Twisted.
    Original,
    /// `datastreamer serve --demo`.
    Program,
}

/// What all contenders of a run share.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) sndbuf: Option<usize>,
    pub(crate) program: Program,
}

impl Contender {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Peer(mode) => mode.name(),
            Self::Original => "original",
            Self::Program => "program",
        }
    }

    /// Returns why the server cannot run on this machine, if it cannot.
    pub(crate) fn obstacle(self, setup: &Setup) -> Option<String> {
        let plain = matches!(self, Self::Peer(mode) if mode != Mode::OursArmed);
        if plain {
            return None;
        }
        if setup.sndbuf.is_some() {
            return Some("it has no option for SO_SNDBUF".into());
        }
        if self == Self::Original {
            return (!original_is_installed())
                .then(|| "Debian's python3-gavo is not installed".into());
        }
        if self != Self::Program {
            return None;
        }
        program_path(&setup.program)
            .err()
            .map(|error| error.to_string())
    }

    /// Starts the server in a process of its own.
    pub(crate) fn start(self, setup: &Setup) -> io::Result<Server> {
        process::start(&self.command(setup)?)
    }

    fn command(self, setup: &Setup) -> io::Result<Vec<OsString>> {
        match self {
            Self::Peer(mode) => {
                let mut command = vec![std::env::current_exe()?.into()];
                command.extend(["peer", mode.name()].map(Into::into));
                if let Some(bytes) = setup.sndbuf {
                    command.extend(["--sndbuf".into(), bytes.to_string().into()]);
                }
                Ok(command)
            }
            Self::Original => Ok([PYTHON, ORIGINAL, "0"].map(Into::into).into()),
            Self::Program => program_command(&setup.program),
        }
    }

    /// The path and query of `total_bytes` written in pieces of `piece_bytes`.
    pub(crate) fn path(self, total_bytes: u64, piece_bytes: u64) -> String {
        let query = format!("n={total_bytes}&piece={piece_bytes}");
        match self {
            Self::Peer(_) => format!("/noise.bin?{query}"),
            Self::Program => format!("/noise.bin?{query}&period={PEER_PERIOD_BYTES}"),
            Self::Original => format!("/bytes?{query}"),
        }
    }

    /// Downloads `total_bytes` and compares each of them.
    ///
    /// # Errors
    /// If the length or a byte is wrong: a server that is fast but wrong must not win.
    pub(crate) fn verify(
        self,
        server: &Server,
        total_bytes: u64,
        piece_bytes: u64,
    ) -> io::Result<()> {
        let mut check = Check::new(match self {
            Self::Peer(Mode::Static) => CHUNK_BYTES,
            Self::Peer(Mode::StaticLarge) => DEFAULT_CHUNK_BYTES,
            Self::Peer(_) | Self::Program => PEER_PERIOD_BYTES,
            Self::Original => PROGRAM_PERIOD_BYTES,
        });
        let response = client::get(server.address(), &self.path(total_bytes, piece_bytes))?;
        let counted_bytes = response.drain(|payload| check.take(payload))?;
        let name = self.name();
        if counted_bytes != total_bytes {
            let what = format!("{name} sent {counted_bytes} bytes instead of {total_bytes}");
            return Err(io::Error::other(what));
        }
        match check.first_difference() {
            Some(at) => Err(io::Error::other(format!(
                "{name} sent a wrong byte at {at}"
            ))),
            None => Ok(()),
        }
    }
}

fn original_is_installed() -> bool {
    let import = ["-c", "import twisted, gavo.svcs.streaming"];
    let mut python = Command::new(PYTHON);
    python
        .args(import)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// The command that runs the program with its demonstration sources.
pub(crate) fn program_command(program: &Program) -> io::Result<Vec<OsString>> {
    let mut command = vec![program_path(program)?.into()];
    command.extend(["serve", "--demo", "--listen", "127.0.0.1:0"].map(Into::into));
    if let Some(config) = &program.config {
        command.extend(["--config".into(), config.into()]);
    }
    Ok(command)
}

/// The program's path: as given, or in this program's folder. If cargo runs this program, the other
/// is built first, so that no stale one is measured.
pub(crate) fn program_path(program: &Program) -> io::Result<PathBuf> {
    static BESIDE: LazyLock<Result<PathBuf, String>> =
        LazyLock::new(|| program_beside().map_err(|error| error.to_string()));
    match &program.program {
        Some(told) => existing(told.clone()),
        None => BESIDE.clone().map_err(io::Error::other),
    }
}

fn program_beside() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().unwrap_or(Path::new("."));
    if let Some(cargo) = std::env::var_os("CARGO") {
        build_program(&cargo, folder)?;
    }
    existing(folder.join("datastreamer"))
}

/// Builds the program with the profile that this one was built with.
fn build_program(cargo: &OsStr, folder: &Path) -> io::Result<()> {
    let profile = match folder.file_name() {
        Some(name) if name != "debug" => name,
        _ => OsStr::new("dev"),
    };
    let mut build = Command::new(cargo);
    build
        .args(["build", "--package", "datastreamer-server", "--profile"])
        .arg(profile);
    let status = build
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other("the program does not build"))
}

fn existing(path: PathBuf) -> io::Result<PathBuf> {
    if path.is_file() {
        return Ok(path);
    }
    Err(io::Error::other(format!(
        "{} does not exist (cargo build --release -p datastreamer-server)",
        path.display()
    )))
}
