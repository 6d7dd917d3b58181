//! The facts about the machine that belong to the figures. They are looked up when needed; a fact
//! that cannot be found is "unknown".

use std::process::Command;
use std::thread;

/// The crates whose versions belong to a result.
const CRATES: [&str; 6] = [
    "axum",
    "bytes",
    "datastreamer",
    "hyper",
    "tokio",
    "tokio-util",
];

const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));

/// Name and value of each fact.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    vec![
        ("date", output("date", &["-u", "+%Y-%m-%d"])),
        ("cores", cores().to_string()),
        ("processor", value_in("/proc/cpuinfo", "model name")),
        ("memory", value_in("/proc/meminfo", "MemTotal")),
        ("kernel", output("uname", &["-sr"])),
        ("tcp_wmem", content("/proc/sys/net/ipv4/tcp_wmem")),
        ("tcp_rmem", content("/proc/sys/net/ipv4/tcp_rmem")),
        ("rustc", output("rustc", &["--version"])),
        ("crates", versions(LOCK)),
        ("original", original()),
        (
            "allocator",
            "jemalloc in the program, glibc's in what is measured beside it".into(),
        ),
    ]
}

/// The number of threads that can run at once.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn original() -> String {
    let format = [
        "-W",
        "-f",
        "${Package} ${Version}, ",
        "python3-gavo",
        "python3-twisted",
    ];
    output("dpkg-query", &format)
        .trim_end_matches(", ")
        .to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let found = Command::new(program).args(arguments).output().ok();
    let text = found.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.filter(|text| !text.is_empty()).unwrap_or_else(unknown)
}

fn content(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|_| unknown());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn value_in(path: &str, key: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let found = pairs.find(|(name, _)| name.trim() == key);
    found.map_or_else(unknown, |(_, value)| value.trim().to_owned())
}

fn unknown() -> String {
    "unknown".into()
}

/// `name version` of every crate of interest in a lock file.
fn versions(lock: &str) -> String {
    let field = |block: &str, key: &str| {
        let mut lines = block.lines();
        let value = lines.find_map(|line| line.strip_prefix(key))?;
        Some(value.trim_matches('"').to_owned())
    };
    let named = lock.split("[[package]]").filter_map(|block| {
        let name = field(block, "name = ")?;
        CRATES
            .contains(&&*name)
            .then_some(format!("{name} {}", field(block, "version = ")?))
    });
    named.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n\n\
                    [[package]]\nname = \"other\"\nversion = \"1.0.0\"\n";
        assert_eq!(versions(lock), "axum 0.8.9");
    }
}
