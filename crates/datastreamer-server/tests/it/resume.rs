//! Real clients whose downloads are cut and that resume: what one of them calls a success is byte for byte
//! one version that the server had. `support/cutting.rs` cuts.
//!
//! `DATASTREAMER_RESUME_ROUNDS` in the environment makes it a long sweep: in each round every client
//! resumes every source at another 64th, in every way. `DATASTREAMER_RESUME_REPORT` names the file that
//! the table is appended to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::chromium::{Chromium, Way};
use crate::support::clients::{Report, report_of};
use crate::support::cutting::{Cut, Cutting};
use crate::support::rounds::Chance;
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::{noise, program, tools, wait};

/// Above what aria2 splits, and what the sockets of one connection hold.
const BYTES: usize = 3_000_000;
/// Each line of a version is its name; a file is whole lines.
const LINE_BYTES: usize = 32;
/// More than the head of a response has, so that a cut is in the body: Chromium takes a head that is cut by
/// a FIN for that of an empty file (`docs/resume.md`).
const HEAD_BYTES: u64 = 600;
/// Cuts are at multiples of a 64th.
const PARTS: u64 = 64;
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Client {
    Curl,
    Wget,
    Aria2,
    Urllib,
    Requests,
    Get,
    Chromium,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    NoiseKept,
    NoiseRunning,
    NoiseAuto,
    RandomKept,
    RandomRunning,
    RandomAuto,
    RandomBrief,
    RandomUnkept,
    File,
    /// The file, printed by a command that runs again.
    Printed,
    /// Rows of the file, in formats that any run writes alike.
    #[cfg(feature = "tables")]
    Tsv,
    #[cfg(feature = "tables")]
    Votable,
    #[cfg(feature = "tables")]
    Fits,
}

/// What happens between the cut and the resumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Between {
    Nothing,
    /// The file is rewritten, what is kept for a second expires.
    Change,
    /// `kill -9`, and a new start.
    Restart,
    /// Both, and the spool loses its productions.
    ChangeAndRestart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// `spool.folder` is set.
    Folder,
    None,
}

impl Client {
    const ALL: [Self; 7] = [
        Self::Curl,
        Self::Wget,
        Self::Aria2,
        Self::Urllib,
        Self::Requests,
        Self::Get,
        Self::Chromium,
    ];

    fn run(self, url: &str, folder: &Path, resumes: bool) -> Report {
        match self.command(url, folder, resumes) {
            Some(command) => report_of(command),
            None => {
                let way = if resumes { Way::Resume } else { Way::Begin };
                Chromium::running().get(way, url, &folder.join("data"))
            }
        }
    }

    /// The command that begins and that resumes; they differ for curl, which refuses to resume nothing.
    fn command(self, url: &str, folder: &Path, resumes: bool) -> Option<Command> {
        let script = |name| {
            let mut python = tools::python();
            python.arg(tools::client_script(name)).args([url, "data"]);
            python
        };
        let mut command = match self {
            Self::Curl => {
                let mut curl = tools::program("curl");
                curl.args([
                    "-q",
                    "--silent",
                    "--show-error",
                    "--fail",
                    "--output",
                    "data",
                ]);
                if resumes {
                    curl.args(["--continue-at", "-"]);
                }
                curl.arg(url);
                curl
            }
            Self::Wget => {
                let mut wget = tools::program("wget");
                wget.args(["--no-config", "--no-verbose", "--tries=1", "--continue"]);
                wget.args(["--output-document=data", url]);
                wget
            }
            Self::Aria2 => {
                let mut aria2 = tools::program("aria2c");
                aria2.args([
                    "--no-conf",
                    "--quiet",
                    "--max-tries=1",
                    "--file-allocation=none",
                ]);
                aria2.args(["-c", "-x16", "-s16", "-k1M", "--auto-file-renaming=false"]);
                aria2.args(["--out=data", url]);
                aria2
            }
            Self::Urllib => script("resume_urllib.py"),
            Self::Requests => script("resume_requests.py"),
            Self::Get => {
                let mut get = program::command(&["get", "--quiet", "--output", "data", url]);
                for variable in ["http_proxy", "https_proxy", "all_proxy"] {
                    get.env_remove(variable).env_remove(variable.to_uppercase());
                }
                get
            }
            Self::Chromium => return None,
        };
        command.current_dir(folder);
        Some(command)
    }
}

impl Source {
    const ALL: &[Self] = &[
        Self::NoiseKept,
        Self::NoiseRunning,
        Self::NoiseAuto,
        Self::RandomKept,
        Self::RandomRunning,
        Self::RandomAuto,
        Self::RandomBrief,
        Self::RandomUnkept,
        Self::File,
        Self::Printed,
        #[cfg(feature = "tables")]
        Self::Tsv,
        #[cfg(feature = "tables")]
        Self::Votable,
        #[cfg(feature = "tables")]
        Self::Fits,
    ];

    fn path(self) -> &'static str {
        match self {
            Self::NoiseKept => "/noise-kept.bin?n=3000000",
            Self::NoiseRunning => "/noise-running.bin?n=3000000",
            Self::NoiseAuto => "/noise-auto.bin?n=3000000",
            Self::RandomKept => "/random-kept.bin",
            Self::RandomRunning => "/random-running.bin",
            Self::RandomAuto => "/random-auto.bin",
            Self::RandomBrief => "/random-brief.bin",
            Self::RandomUnkept => "/random-unkept.bin",
            Self::File => "/file.bin",
            Self::Printed => "/printed.bin",
            #[cfg(feature = "tables")]
            Self::Tsv => "/rows.tsv",
            #[cfg(feature = "tables")]
            Self::Votable => "/rows.vot",
            #[cfg(feature = "tables")]
            Self::Fits => "/rows.fits",
        }
    }

    /// Whether every client must succeed.
    fn is_always_resumed(self, between: Between) -> bool {
        match self {
            Self::NoiseKept | Self::RandomKept => {
                matches!(between, Between::Nothing | Between::Change)
            }
            Self::File => between == Between::Nothing,
            // Some are complete before they are cut, and aria2 does not resume what has no length.
            _ => false,
        }
    }

    /// Panics or says why not, if this is no version of the file. For a file `versions` are known.
    fn judge(self, got: &[u8], versions: &BTreeSet<String>) -> Result<(), String> {
        #[cfg(feature = "tables")]
        if matches!(self, Self::Tsv | Self::Votable | Self::Fits) {
            return self.judge_rows(got, versions);
        }
        if got.len() != BYTES {
            return Err(format!("{} bytes", got.len()));
        }
        if matches!(self, Self::NoiseKept | Self::NoiseRunning | Self::NoiseAuto) {
            let is_noise = got == noise::bytes(0, BYTES);
            return is_noise.then_some(()).ok_or("other bytes".to_owned());
        }
        let names: BTreeSet<_> = got
            .chunks(LINE_BYTES)
            .map(String::from_utf8_lossy)
            .collect();
        let first = names.first().expect("a line").trim_end().to_owned();
        if names.len() != 1 {
            return Err(format!("{} versions", names.len()));
        }
        let is_of_file = matches!(self, Self::File | Self::Printed);
        match is_of_file && !versions.contains(first.trim_start()) {
            true => Err(format!("a version that never was: {first}")),
            false => Ok(()),
        }
    }

    /// The same for the rows, each of which has the name of its version.
    #[cfg(feature = "tables")]
    fn judge_rows(self, got: &[u8], versions: &BTreeSet<String>) -> Result<(), String> {
        let text = String::from_utf8_lossy(got);
        let is_ended = match self {
            Self::Votable => text.trim_end().ends_with("</VOTABLE>"),
            Self::Fits => got.len().is_multiple_of(2880),
            _ => text.ends_with("\n"),
        };
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, _) in text.match_indices("file-") {
            let name = &text[at..];
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            *names.entry(&name[..end.unwrap_or(name.len())]).or_default() += 1;
        }
        let expected = BYTES / LINE_BYTES;
        match names.iter().next() {
            Some((name, count)) if names.len() == 1 && *count == expected && is_ended => {
                match versions.contains(*name) {
                    true => Ok(()),
                    false => Err(format!("a version that never was: {name}")),
                }
            }
            _ => Err(format!("versions and rows {names:?}, ended: {is_ended}")),
        }
    }
}

impl Between {
    const ALL: [Self; 4] = [
        Self::Nothing,
        Self::Change,
        Self::Restart,
        Self::ChangeAndRestart,
    ];
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Change => "data change",
            Self::Restart => "kill -9",
            Self::ChangeAndRestart => "kill -9, data change",
        })
    }
}

/// A server with all sources.
struct Served {
    scratch: Scratch,
    server: Server,
    versions: BTreeSet<String>,
}

impl Served {
    fn start(memory: Memory) -> Self {
        let scratch = Scratch::new("resume");
        let mut versions = BTreeSet::new();
        write_version(&scratch, &mut versions);
        // A settled file has a tag.
        std::thread::sleep(SETTLING);
        fs::write(
            scratch.join("datastreamer.toml"),
            configuration(&scratch, memory),
        )
        .expect("a configuration can be written");
        let server = serve(&scratch);
        Self {
            scratch,
            server,
            versions,
        }
    }

    fn pass(&mut self, between: Between, settles: bool) {
        if matches!(between, Between::Restart | Between::ChangeAndRestart) {
            self.wait_for_productions();
            self.server.kill_9();
        }
        if matches!(between, Between::Change | Between::ChangeAndRestart) {
            write_version(&self.scratch, &mut self.versions);
            if between == Between::ChangeAndRestart {
                self.lose_productions();
            }
            if settles || between == Between::Change {
                std::thread::sleep(SETTLING);
            }
        }
        if matches!(between, Between::Restart | Between::ChangeAndRestart) {
            self.server = serve(&self.scratch);
        }
    }

    /// Until what is kept is on the storage: the running ones among them have no manifest yet.
    fn wait_for_productions(&self) {
        wait::until("productions have ended", LIMIT, || {
            self.files().iter().all(|file| !ends_with(file, "part"))
        });
    }

    fn lose_productions(&self) {
        for file in self.files() {
            if ends_with(&file, "json") || ends_with(&file, "data") {
                fs::remove_file(file).expect("a file can be removed");
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.scratch.join("spool"))
            .into_iter()
            .flatten();
        files.flatten().map(|file| file.path()).collect()
    }
}

/// More than the two seconds for which a file that was changed has no tag.
const SETTLING: Duration = Duration::from_millis(3200);

fn ends_with(file: &Path, suffix: &str) -> bool {
    file.extension().is_some_and(|it| it == suffix)
}

fn serve(scratch: &Scratch) -> Server {
    let config = scratch.join("datastreamer.toml");
    Server::start(["--config".into(), config.into_os_string()])
}

fn write_version(scratch: &Scratch, versions: &mut BTreeSet<String>) {
    let name = format!("file-{:03}", versions.len());
    let count = BYTES / LINE_BYTES;
    let text = format!("{name:>31}\n").repeat(count);
    fs::write(scratch.join("file.bin"), text).expect("a file can be written");
    let rows: String = (0..count)
        .map(|number| format!("{number},{number}.25,{name}\n"))
        .collect();
    let rows = format!("number,value,version\n{rows}");
    fs::write(scratch.join("rows.csv"), rows).expect("a file can be written");
    versions.insert(name);
}

fn configuration(scratch: &Scratch, memory: Memory) -> String {
    let mut text = String::from("[server]\nlisten = \"127.0.0.1:0\"\n");
    if memory == Memory::Folder {
        text += "[spool]\nfolder = \"spool\"\n";
    }
    // In two parts, so that some cuts come while it runs.
    let script = "v=$(printf %31s $(date +%s%N)-$$); yes \"$v\" | head -c 1600000; sleep 0.05; \
                  yes \"$v\" | head -c 1400000";
    for (name, keep) in [
        ("kept", "10m"),
        ("running", "while_running"),
        ("auto", "auto"),
    ] {
        text += &format!("[routes.noise-{name}]\nkind = \"noise\"\nkeep = \"{keep}\"\n");
    }
    for (name, keep) in [
        ("kept", "10m"),
        ("running", "while_running"),
        ("auto", "auto"),
        ("brief", "1s"),
        ("unkept", "none"),
    ] {
        text += &format!(
            "[routes.random-{name}]\nkind = \"command\"\nkeep = \"{keep}\"\n\
             argv = [\"sh\", \"-c\", '{script}']\n"
        );
    }
    let file = scratch.join("file.bin");
    text += &format!(
        "[routes.file]\nkind = \"file\"\npath = \"{0}\"\n\
         [routes.printed]\nkind = \"command\"\nresume = \"rerun\"\nargv = [\"cat\", \"{0}\"]\n",
        file.display()
    );
    if cfg!(feature = "tables") {
        let rows = scratch.join("rows.csv");
        let rows = rows.display();
        text += &format!("[routes.rows]\nkind = \"table\"\npath = \"{rows}\"\n");
    }
    text
}

/// One download.
struct Job {
    client: Client,
    source: Source,
    cut: u64,
    how: Cut,
    proxy: Cutting,
    folder: PathBuf,
}

impl Job {
    fn begin(&self) {
        let url = self.proxy.url(self.source.path());
        let mut command = match self.client {
            Client::Get => self.client.command(&url, &self.folder, false),
            _ => None,
        };
        let Some(command) = &mut command else {
            self.client.run(&url, &self.folder, false);
            return;
        };
        let mut child = command.spawn().expect("the program starts");
        wait::until("it is cut, or has ended", LIMIT, || {
            self.proxy.has_cut() || child.try_wait().is_ok_and(|ended| ended.is_some())
        });
        // It would go on by itself.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Returns the file if the client calls it complete.
    fn resume(&self, server: u16) -> Result<Vec<u8>, Report> {
        self.proxy.heal(server);
        let url = self.proxy.url(self.source.path());
        match self.client.run(&url, &self.folder, true) {
            Report::Success => Ok(fs::read(self.folder.join("data")).unwrap_or_default()),
            other => Err(other),
        }
    }
}

#[derive(Default)]
struct Tally {
    cuts: u32,
    right: u32,
    refused: u32,
    hung: u32,
    splices: Vec<String>,
    /// What was refused and must not be.
    failed: Vec<String>,
}

type Table = Mutex<BTreeMap<(Source, Between, Client), Tally>>;

/// Cuts downloads at 64ths, lets `between` happen, and resumes them. `selected` chooses the cells.
fn sweep(
    table: &Table,
    memory: Memory,
    between: Between,
    round: u64,
    selected: impl Fn(usize) -> bool,
) {
    let mut served = Served::start(memory);
    let cells = Source::ALL
        .iter()
        .flat_map(|source| Client::ALL.map(|client| (*source, client)));
    let port = served.server.port();
    let jobs: Vec<_> = cells
        .enumerate()
        .filter(|(number, _)| selected(*number))
        .map(|(number, (source, client))| {
            let cut = (round * 29 + number as u64 * 11) % PARTS;
            let how = if (round + number as u64).is_multiple_of(2) {
                Cut::Fin
            } else {
                Cut::Reset
            };
            let number = u8::try_from(number).expect("some dozens");
            let address = Ipv4Addr::new(127, 1, 0, number + 1);
            let bytes = HEAD_BYTES + cut * BYTES as u64 / PARTS;
            let folder = served.scratch.join(&format!("{source:?}-{client:?}"));
            fs::create_dir_all(&folder).expect("a folder can be made");
            Job {
                client,
                source,
                cut,
                how,
                proxy: Cutting::start(address, port, bytes, how),
                folder,
            }
        })
        .collect();
    wait::for_all(&jobs, Job::begin);
    served.pass(between, round.is_multiple_of(2));
    let port = served.server.port();
    wait::for_all(&jobs, |job| {
        let got = job.resume(port);
        record(table, &served, between, memory, job, got);
    });
}

fn record(
    table: &Table,
    served: &Served,
    between: Between,
    memory: Memory,
    job: &Job,
    got: Result<Vec<u8>, Report>,
) {
    let Job {
        client,
        source,
        cut,
        how,
        ..
    } = job;
    let what = format!("{client:?} of {source:?} at {cut}/64 ({how:?}), {between}, {memory:?}");
    let mut table = table.lock().expect("nobody panics with it locked");
    let tally = table.entry((*source, between, *client)).or_default();
    tally.cuts += 1;
    match got {
        Ok(got) => match source.judge(&got, &served.versions) {
            Ok(()) => tally.right += 1,
            Err(why) => tally.splices.push(format!("{what}: {why}")),
        },
        Err(report) => {
            match report {
                Report::Nothing => tally.hung += 1,
                _ => tally.refused += 1,
            }
            if memory == Memory::Folder && source.is_always_resumed(between) {
                tally.failed.push(format!("{what}: {report}"));
            }
        }
    }
}

/// Prints and reports the table, and panics if something in it is wrong.
fn assert_no_splices(title: &str, table: &Table) {
    let table = table.lock().expect("nobody panics with it locked");
    let sum = |figure: fn(&Tally) -> u32| table.values().map(figure).sum::<u32>();
    let splices: Vec<_> = table.values().flat_map(|tally| &tally.splices).collect();
    let failed: Vec<_> = table.values().flat_map(|tally| &tally.failed).collect();
    let mut text = format!(
        "## {title}\n{} cuts, {} resumed right, {} refused, {} hung, {} splices.\n\n\
         | source | between | client | cuts | right | refused | splices |\n\
         |---|---|---|---:|---:|---:|---:|\n",
        sum(|it| it.cuts),
        sum(|it| it.right),
        sum(|it| it.refused),
        sum(|it| it.hung),
        splices.len()
    );
    for ((source, between, client), tally) in &*table {
        let (cuts, right, refused) = (tally.cuts, tally.right, tally.refused + tally.hung);
        let spliced = tally.splices.len();
        text += &format!(
            "| {source:?} | {between} | {client:?} | {cuts} | {right} | {refused} | {spliced} |\n"
        );
    }
    text.push('\n');
    println!("{text}");
    if let Some(file) = std::env::var_os("DATASTREAMER_RESUME_REPORT") {
        let path = tools::checkout().join(file);
        let report = fs::File::options().create(true).append(true).open(path);
        let written = report.and_then(|mut it| std::io::Write::write_all(&mut it, text.as_bytes()));
        written.expect("the report can be written");
    }
    assert!(!table.is_empty());
    assert!(splices.is_empty(), "joined versions: {splices:#?}");
    assert!(failed.is_empty(), "not resumed: {failed:#?}");
}

fn rounds() -> Option<u64> {
    let text = std::env::var("DATASTREAMER_RESUME_ROUNDS").ok()?;
    Some(
        text.parse()
            .expect("DATASTREAMER_RESUME_ROUNDS is a whole number"),
    )
}

fn sweep_all(title: &str, memory: Memory) {
    let table = Table::default();
    match rounds() {
        // Each cell once in the four ways together.
        None => {
            let ways = Between::ALL.into_iter().enumerate();
            let ways: Vec<_> = ways.collect();
            wait::for_all(ways, |(way, between)| {
                let clients = Client::ALL.len();
                let selected = |number| (number % clients + number / clients) % 4 == way;
                sweep(&table, memory, between, way as u64 * 7 + 1, selected);
            });
        }
        Some(rounds) => {
            let first = Chance::new("cuts of downloads").within(0..PARTS);
            for round in first..first + rounds {
                for between in Between::ALL {
                    sweep(&table, memory, between, round, |_| true);
                }
            }
        }
    }
    assert_no_splices(title, &table);
}

#[test]
fn no_client_that_resumes_joins_two_versions() {
    sweep_all("with a folder of the spool", Memory::Folder);
}

#[test]
fn no_client_that_resumes_joins_two_versions_of_a_server_without_memory() {
    sweep_all("without a folder of the spool", Memory::None);
}

fn read_ranges(url: &str, file: &Path, more: &[&str]) -> Report {
    let mut python = tools::python();
    python
        .arg(tools::client_script("read_ranges.py"))
        .arg(url)
        .arg(file)
        .args(more);
    report_of(python)
}

#[test]
fn a_reader_of_ranges_reads_kept_files_and_files_on_disk() {
    for memory in [Memory::Folder, Memory::None] {
        let served = Served::start(memory);
        let file = served.scratch.join("read");
        let url = served.server.url("/noise-kept.bin?n=2000000&length=known");
        let report = read_ranges(&url, &file, &[]);
        assert!(report.is_success(), "{memory:?}: {report}");
        let got = fs::read(&file).expect("a file");
        assert!(got == noise::bytes(0, 2_000_000), "{memory:?}");
        let report = read_ranges(&served.server.url("/file.bin"), &file, &[]);
        assert!(report.is_success(), "{memory:?}: {report}");
        let got = fs::read(&file).expect("a file");
        assert_eq!(
            Source::File.judge(&got, &served.versions),
            Ok(()),
            "{memory:?}"
        );
    }
}

#[test]
fn a_reader_of_ranges_does_not_mix_the_file_of_before_with_the_one_of_after() {
    for (memory, between) in [
        (Memory::Folder, Between::Change),
        (Memory::Folder, Between::ChangeAndRestart),
        (Memory::None, Between::ChangeAndRestart),
    ] {
        let mut served = Served::start(memory);
        let file = served.scratch.join("read");
        let proxy = Cutting::start(
            Ipv4Addr::new(127, 2, 0, 1),
            served.server.port(),
            u64::MAX / 2,
            Cut::Fin,
        );
        let url = proxy.url("/file.bin");
        let report = std::thread::scope(|threads| {
            let reader = threads.spawn(|| read_ranges(&url, &file, &["pause"]));
            wait::until("it has read a range", LIMIT, || {
                file.with_extension("first").exists()
            });
            served.pass(between, true);
            proxy.heal(served.server.port());
            fs::write(file.with_extension("go"), "").expect("files can be written");
            reader.join().expect("a reader")
        });
        assert!(!report.is_success(), "{memory:?}, {between}");
    }
}
