//! Where and with what was measured.

use std::{fs, io, process::Command, thread};

use crate::peers;

/// The lock file, with which this program was built.
const LOCK: &str = include_str!("../Cargo.lock");

/// Returns date, machine and versions, as Markdown.
///
/// # Errors
/// That of the operating system.
pub fn describe() -> io::Result<String> {
    let cores = thread::available_parallelism()?;
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let cpu = cpu.lines().find_map(|line| {
        let name = line.strip_prefix("model name")?;
        Some(name.trim_start_matches([' ', '\t', ':']).to_owned())
    });
    Ok(format!(
        "{}; {cores} cores, {}; {}; {}; {}. {}.\n",
        first_line("date", &["-u", "+%F"])?,
        cpu.unwrap_or_default(),
        first_line("uname", &["-sr"])?,
        words(&first_line("curl", &["--version"])?, 2),
        first_line("python3", &["--version"])?,
        versions().join(", ")
    ))
}

/// Returns the crates that are compared, each with its version.
pub fn versions() -> Vec<String> {
    let crates = peers::ALL.iter().flat_map(|peer| peer.crates).copied();
    let mut names: Vec<&str> = crates.chain(["hyper"]).collect();
    names.sort_unstable();
    names.dedup();
    let version = |name: &str| format!("{name} {}", version_of(name).unwrap_or("unknown"));
    names.into_iter().map(version).collect()
}

fn version_of(name: &str) -> Option<&'static str> {
    let (_, rest) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    rest.split('"').next()
}

fn first_line(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn words(line: &str, count: usize) -> String {
    line.split_whitespace()
        .take(count)
        .collect::<Vec<_>>()
        .join(" ")
}
