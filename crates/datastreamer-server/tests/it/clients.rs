//! The promise of the program, kept to every client there is: what arrives is right, and what fails
//! is seen to fail. Success is what the client's user sees, exit code 0, whatever was saved.
//!
//! One round of every failure takes about a minute. CONTRIBUTING.md has the command of a long
//! sweep, and of its report.
//!
//! Each test prints its `DATASTREAMER_ABORT_SEED`; with it in the environment the same offsets,
//! pieces and moments come again.

use std::cell::RefCell;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::support::clients::{
    Client, Probe, Report, TIME_LIMIT, assert_downloads, probe, report_of,
};
use crate::support::cutting::{Cut, Cutting};
use crate::support::rounds::{Chance, rounds};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::table::Table;
use crate::support::{http, liar, noise, tools, wait};

// ---- What succeeds ----------------------------------------------------------------------------

#[test]
fn every_client_gets_the_right_bytes_of_any_length() {
    let server = Server::start(["--demo"]);
    let mut jobs = Vec::new();
    for length in [0, 1, 100_000, 30_000_000] {
        let sha256 = noise::sha256(length);
        for framing in ["", "&length=known"] {
            let url = server.url(&format!("/noise.bin?n={length}&piece=10000{framing}"));
            jobs.extend(
                Client::WHILE_THE_SERVER_LIVES.map(|client| (client, url.clone(), sha256.clone())),
            );
        }
    }
    wait::for_all(jobs, |(client, url, sha256)| {
        assert_downloads(client, &url, &sha256);
    });
}

#[test]
fn every_client_gets_the_same_archive_of_a_directory() {
    let scratch = Scratch::new("directory");
    let photos = scratch.join("photos");
    fs::create_dir_all(photos.join("of/the/moon")).expect("directories can be made");
    fs::write(photos.join("empty"), b"").expect("files can be written");
    fs::write(photos.join("of/note"), b"seen from below\n").expect("files can be written");
    fs::write(photos.join("of/the/moon/large"), noise::bytes(7, 3_000_001)).expect("also large");

    let server = Server::start([&photos]);
    let url = server.url("/photos.tar");
    let archive = probe(&url);
    assert!(
        archive.report.is_success() && archive.status == 200,
        "{}",
        archive.report
    );
    let archive_file = scratch.join("photos.tar");
    fs::write(&archive_file, &archive.body).expect("files can be written");
    assert_unpacks_to(&archive_file, &photos);

    let sha256 = noise::sha256_of_file(&archive_file);
    wait::for_all(Client::ALL, |client| {
        assert_downloads(client, &url, &sha256);
    });
}

#[test]
fn every_client_gets_what_a_command_prints() {
    let scratch = Scratch::new("command");
    let printed = scratch.join("printed");
    fs::write(&printed, noise::bytes(0, 2_345_678)).expect("files can be written");
    let server = serve_commands(
        &scratch,
        &[("printed", &format!("cat '{}'", printed.display()))],
    );
    let sha256 = noise::sha256(2_345_678);
    wait::for_all(Client::ALL, |client| {
        assert_downloads(client, &server.url("/printed.bin"), &sha256);
    });
}

/// Serves noise and text with content codings, and checks that both are coded for who asks.
fn serve_coded(scratch: &Scratch) -> Server {
    let mut configuration = String::from("[routes.noise]\nkind = \"noise\"\ncompress = true\n");
    for (name, script) in [
        ("text", "yes some text | head -n 400000"),
        ("exit", "head -c 300000 /dev/urandom; sleep 0.1; exit 3"),
        ("kill", "head -c 300000 /dev/urandom; sleep 0.1; kill -9 $$"),
        ("kill-fast", "head -c 5000000 /dev/urandom; kill -9 $$"),
    ] {
        configuration += &command_route(name, script);
        configuration += "compress = true\n";
    }
    let file = scratch.join("datastreamer.toml");
    fs::write(&file, configuration).expect("files can be written");
    let server = Server::start(["--config".into(), file]);
    for path in ["/noise.bin", "/text.bin"] {
        let mut client = http::Connection::open(server.port());
        client.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n"
        ));
        let coding = client.read_response();
        assert_eq!(coding.header("content-encoding"), Some("gzip"), "{path}");
    }
    server
}

#[test]
fn every_client_that_decodes_gets_the_right_bytes() {
    let scratch = Scratch::new("coded");
    let server = serve_coded(&scratch);
    let text = "some text\n".repeat(400_000);
    let text_file = scratch.join("text");
    fs::write(&text_file, &text).expect("files can be written");
    let sha256 = noise::sha256_of_file(&text_file);
    for client in Client::DECODING {
        assert_downloads(client, &server.url("/text.bin"), &sha256);
        // It has asked for a coding, or this would prove nothing.
        let seen = &http::transfers(server.port())["recent"][0];
        let bytes = seen["bytes"].as_u64().expect("a number");
        assert!(bytes < text.len() as u64 / 2, "{client} got {bytes} bytes");
    }
    let sha256 = noise::sha256(3_000_000);
    let url = server.url("/noise.bin?n=3000000&piece=10000");
    wait::for_all(Client::DECODING, |client| {
        assert_downloads(client, &url, &sha256);
    });
}

// ---- What fails -------------------------------------------------------------------------------

/// Before anything, in the first piece, at and beyond what buffers usually hold, far beyond it.
const OFFSETS: [u64; 5] = [0, 1_000, 65_536, 200_000, 5_000_000];

/// More than every offset at which the sources of these tests fail.
const NOISE_BYTES: u64 = 10_000_000;

#[test]
fn no_client_takes_a_source_that_fails_or_panics_for_a_finished_file() {
    let mut chance = Chance::new("failing sources");
    let server = Server::start(["--demo"]);
    let table = Table::new("sources that fail");
    assert_all_get_noise(&server, &Client::WHILE_THE_SERVER_LIVES);
    for _ in 0..rounds() {
        let mut jobs = Vec::new();
        for (failure, path, fails_at) in failing_noise(&OFFSETS, &mut chance) {
            let url = server.url(&path);
            assert_fails_at(&probe(&url), fails_at, &url);
            jobs.extend(
                Client::WHILE_THE_SERVER_LIVES.map(|client| (client, failure, url.clone())),
            );
        }
        wait::for_all(jobs, |(client, failure, url)| {
            try_once(&table, client, failure, &url);
        });
    }
    assert_all_get_noise(&server, &Client::WHILE_THE_SERVER_LIVES);
    table.assert_every_failure_was_seen();
}

#[test]
fn no_client_that_closes_its_half_takes_a_source_that_fails_for_a_finished_file() {
    let mut chance = Chance::new("half-closing clients");
    let scratch = Scratch::new("half-close");
    let file = scratch.join("datastreamer.toml");
    let configuration = "[server]\nhalf_close = \"allow\"\n[routes.noise]\nkind = \"noise\"\n";
    fs::write(&file, configuration).expect("files can be written");
    let server = Server::start(["--config".into(), file]);
    let table = Table::new("half-closing clients");
    assert_all_get_noise(&server, &[Client::HalfClosing]);
    for _ in 0..rounds() {
        let failing = failing_noise(&OFFSETS, &mut chance).into_iter();
        let jobs: Vec<_> = failing
            .map(|(failure, path, _)| (failure, server.url(&path)))
            .collect();
        wait::for_all(jobs, |(failure, url)| {
            try_once(&table, Client::HalfClosing, failure, &url);
        });
    }
    table.assert_every_failure_was_seen();
}

#[test]
fn no_client_takes_a_command_that_dies_for_a_finished_file() {
    let endings = [
        (
            "exit",
            "command: exit 3",
            "head -c 300000 /dev/urandom; sleep 0.1; exit 3",
        ),
        (
            "exit-fast",
            "command: exit 3 at full speed",
            "head -c 5000000 /dev/urandom; exit 3",
        ),
        (
            "kill",
            "command: kill -9",
            "head -c 300000 /dev/urandom; sleep 0.1; kill -9 $$",
        ),
        (
            "kill-fast",
            "command: kill -9 at full speed",
            "head -c 5000000 /dev/urandom; kill -9 $$",
        ),
    ];
    let scratch = Scratch::new("command");
    let mut commands = endings.map(|(name, _, script)| (name, script)).to_vec();
    commands.push(("works", "head -c 300000 /dev/zero; sleep 0.1; exit 0"));
    let server = serve_commands(&scratch, &commands);
    let works = probe(&server.url("/works.bin"));
    assert!(
        works.report.is_success() && works.body.len() == 300_000,
        "{}",
        works.report
    );

    let table = Table::new("commands that die");
    for (name, _, _) in endings {
        let url = server.url(&format!("/{name}.bin"));
        assert_fails_in_mid_stream(&probe(&url), &url);
    }
    for _ in 0..rounds() {
        let jobs = endings.into_iter().flat_map(|(name, failure, _)| {
            Client::WHILE_THE_SERVER_LIVES
                .map(|client| (client, failure, server.url(&format!("/{name}.bin"))))
        });
        wait::for_all(jobs, |(client, failure, url)| {
            try_once(&table, client, failure, &url);
        });
    }
    table.assert_every_failure_was_seen();
}

#[test]
fn no_client_that_decodes_takes_a_part_for_a_finished_file() {
    let mut chance = Chance::new("coded streams that fail");
    let scratch = Scratch::new("coded");
    let server = serve_coded(&scratch);
    let table = Table::new("coded streams that fail");
    for _ in 0..rounds() {
        let mut routes = vec![
            ("command: exit 3", "/exit.bin".to_owned()),
            ("command: kill -9", "/kill.bin".to_owned()),
            (
                "command: kill -9 at full speed",
                "/kill-fast.bin".to_owned(),
            ),
        ];
        for how in ["fail_after", "panic_after"] {
            for fails_at in [1_000, 200_000, 5_000_000, chance.within(1..NOISE_BYTES)] {
                let path = format!("/noise.bin?n={NOISE_BYTES}&piece=4096&{how}={fails_at}");
                routes.push(("source fails or panics", path));
            }
        }
        let jobs = routes.iter().flat_map(|(failure, path)| {
            Client::DECODING.map(|client| (client, *failure, server.url(path)))
        });
        wait::for_all(jobs, |(client, failure, url)| {
            try_once(&table, client, failure, &url);
        });
    }
    let working = server.url("/noise.bin?n=1000000");
    let sha256 = noise::sha256(1_000_000);
    wait::for_all(Client::DECODING, |client| {
        assert_downloads(client, &working, &sha256);
    });
    table.assert_every_failure_was_seen();
}

#[test]
fn no_client_takes_an_archive_of_a_file_that_shrinks_for_a_finished_file() {
    let table = Table::new("files that shrink");
    for _ in 0..rounds() {
        wait::for_all(Client::ALL, |client| {
            let report = download_while_a_file_shrinks(client);
            table.record(
                client,
                "file truncated in mid-archive",
                &report,
                "see the test",
            );
        });
    }
    table.assert_every_failure_was_seen();
}

#[test]
fn no_client_takes_the_file_of_a_server_that_dies_for_a_finished_one() {
    let stop = |server: &mut Server| {
        server.terminate(Duration::from_secs(60));
    };
    let deaths = [
        Death {
            failure: "server: kill -9 at full speed", // dies in the middle of writing
            query: "n=4000000000&piece=1000000",
            latest_milliseconds: 300,
            end: Server::kill_9,
        },
        Death {
            failure: "server: kill -9 when paced", // dies between two writes
            query: "n=1000000000&piece=65536&delay=5ms",
            latest_milliseconds: 1_500,
            end: Server::kill_9,
        },
        Death {
            failure: "server: stopped in mid-transfer",
            query: "n=1000000000&piece=65536&delay=5ms",
            latest_milliseconds: 1_500,
            end: stop,
        },
        Death {
            // The program holds the head back until it has 64 KiB, which takes 22 of these pauses:
            // 0.4 s. A head that is sent after the signal says `connection: close`; to node's
            // fetch any end of a chunked body is a good one then, unless its framing is broken.
            failure: "server: stopped before the head is sent",
            query: "n=1000000000&piece=3000&delay=20ms",
            latest_milliseconds: 200,
            end: stop,
        },
    ];
    let mut chance = Chance::new("servers that die");
    let scratch = Scratch::new("impatient");
    let impatient = scratch.join("datastreamer.toml");
    fs::write(&impatient, "[server]\ndrain = \"800ms\"\n").expect("files can be written");

    let table = Table::new("servers that die");
    for _ in 0..rounds() {
        let mut jobs = Vec::new();
        for death in &deaths {
            for framing in ["", "&length=known"] {
                for client in Client::ALL {
                    let path = format!("/noise.bin?{}{framing}", death.query);
                    let moment = chance.within(0..death.latest_milliseconds);
                    jobs.push((client, death, path, Duration::from_millis(moment)));
                }
            }
        }
        wait::for_all(jobs, |(client, death, path, moment)| {
            let mut server = Server::start([
                "--demo".as_ref(),
                "--config".as_ref(),
                impatient.as_os_str(),
            ]);
            let url = server.url(&path);
            let report = download_while_server_ends(client, &url, &mut server, moment, death.end);
            let detail = format!("{path} after {moment:?}");
            table.record(client, death.failure, &report, &detail);
        });
    }
    table.assert_every_failure_was_seen();
}

#[test]
fn a_server_that_is_told_to_stop_ends_and_passes_no_part_for_a_whole() {
    // 458 pieces of 64 KiB, 2 ms apart: about a second.
    const TRANSFER_BYTES: u64 = 30_000_000;
    const STOP_LIMIT: Duration = Duration::from_secs(60);
    let mut chance = Chance::new("stopped servers");
    let sha256 = noise::sha256(TRANSFER_BYTES);
    let jobs = Client::ALL.map(|client| (client, Duration::from_millis(chance.within(0..800))));
    wait::for_all(jobs, |(client, moment)| {
        let mut server = Server::start(["--demo"]);
        let url = server.url(&format!(
            "/noise.bin?n={TRANSFER_BYTES}&piece=65536&delay=2ms"
        ));
        let scratch = Scratch::new("stopped");
        let file = scratch.join("body");
        let report = thread::scope(|scope| {
            let download = scope.spawn(|| client.download(&url, &file));
            wait::until("a client connects", TIME_LIMIT, || {
                server.has_connection() || download.is_finished()
            });
            thread::sleep(moment);
            server.terminate(STOP_LIMIT);
            download.join().expect("the client can be run")
        });
        match report {
            Report::Failure(_) => {}
            Report::Success => {
                let saved = noise::sha256_of_file(&file);
                assert_eq!(saved, sha256, "{client} took a part for the whole");
            }
            Report::Nothing => panic!("{client} hangs when the program is told to stop"),
        }
    });
}

#[test]
fn no_abort_overtakes_or_loses_a_byte_that_was_written_before_it() {
    let mut chance = Chance::new("bytes before an abort");
    let server = Server::start(["--demo"]);
    for _ in 0..rounds() {
        for (failure, path, fails_at) in failing_noise(&OFFSETS, &mut chance) {
            let seen = probe(&server.url(&path));
            if seen.status != 200 {
                continue; // nothing had been committed: the response is a problem's description
            }
            let right = noise::bytes(0, usize::try_from(fails_at).expect("it fits in memory"));
            let got = seen.body.len();
            assert!(
                right.starts_with(&seen.body),
                "{failure}: {path}: {got} bytes, not all right"
            );
            assert_eq!(
                got as u64, fails_at,
                "{failure}: {path}: not all bytes arrived"
            );
        }
    }
}

#[test]
fn a_truncated_file_that_ends_cleanly_is_counted_as_undetected() {
    let url = liar::start();
    let table = Table::new("what nobody can see");
    wait::for_all(Client::ALL, |client| {
        try_once(&table, client, "clean end after half", &url);
    });
    let (tried, undetected) = table.tried_and_undetected();
    assert_eq!(
        tried,
        undetected,
        "this test cannot tell success from failure{}",
        table.render()
    );
}

// ---- Ways of failing --------------------------------------------------------------------------

/// How the program ends in mid-transfer.
struct Death {
    failure: &'static str,
    query: &'static str,
    /// It ends at some moment until then.
    latest_milliseconds: u64,
    end: fn(&mut Server),
}

/// Returns routes that fail at each of `offsets` and anywhere: the name of the failure, the path,
/// the offset at which it fails.
pub(crate) fn failing_noise(
    offsets: &[u64],
    chance: &mut Chance,
) -> Vec<(&'static str, String, u64)> {
    let mut routes = Vec::new();
    for (failure, how, framing) in [
        ("source fails, chunked", "fail_after", ""),
        ("source fails, known length", "fail_after", "&length=known"),
        ("source panics, chunked", "panic_after", ""),
        (
            "source panics, known length",
            "panic_after",
            "&length=known",
        ),
    ] {
        let anywhere = chance.within(1..NOISE_BYTES);
        for fails_at in offsets.iter().copied().chain([anywhere]) {
            let piece = [1_000, 4_096, 65_536, 300_000][chance.within(0..4) as usize];
            let path =
                format!("/noise.bin?n={NOISE_BYTES}&piece={piece}&{how}={fails_at}{framing}");
            routes.push((failure, path, fails_at));
        }
    }
    routes
}

/// Panics unless the transfer failed, and for the reason that the test has in mind: no route that
/// is missing or refused passes for one that fails in mid-stream.
pub(crate) fn assert_fails_at(seen: &Probe, fails_at: u64, url: &str) {
    /// A program may hold a response's head back until so much of the body is there; what fails
    /// earlier becomes an error status.
    const LARGEST_HELD_BACK_BYTES: u64 = 1_000_000;
    let is_error_status = (500..600).contains(&seen.status);
    if fails_at == 0 {
        assert!(
            is_error_status,
            "{url}: nothing was produced, and the status is {}",
            seen.status
        );
    } else if fails_at > LARGEST_HELD_BACK_BYTES || !is_error_status {
        assert_fails_in_mid_stream(seen, url);
    }
}

fn assert_fails_in_mid_stream(seen: &Probe, url: &str) {
    assert!(
        seen.status == 200 && matches!(seen.report, Report::Failure(_)),
        "{url} does not fail in mid-stream: status {}, {} bytes, {}",
        seen.status,
        seen.body.len(),
        seen.report
    );
}

fn download_while_a_file_shrinks(client: Client) -> Report {
    // The file must last until it is truncated: 4 GiB, of which nothing is on the disk. By 20 MB
    // the response is under way, whatever the program reads ahead.
    const FILE_BYTES: u64 = 4 << 30;
    const READ_BYTES: u64 = 20_000_000;
    const LEFT_BYTES: u64 = 1_000_000;

    let scratch = Scratch::new("shrinking");
    let photos = scratch.join("photos");
    fs::create_dir(&photos).expect("a directory can be made");
    fs::write(photos.join("a-small"), noise::bytes(0, 100_000)).expect("files can be written");
    let large = File::create(photos.join("b-large")).expect("files can be made");
    large.set_len(FILE_BYTES).expect("sparse files can be made");

    let server = Server::start([&photos]);
    let read_before = server.bytes_read();
    let prepare = |is_over: &dyn Fn() -> bool| {
        wait::until("20 MB are read", TIME_LIMIT, || {
            is_over() || server.bytes_read() - read_before > READ_BYTES
        });
    };
    download_and_meanwhile(client, &server.url("/photos.tar"), prepare, || {
        large.set_len(LEFT_BYTES).expect("a file can be truncated");
    })
}

// ---- Helpers ----------------------------------------------------------------------------------

/// Downloads once and counts what the client reports.
pub(crate) fn try_once(table: &Table, client: Client, failure: &str, url: &str) {
    let scratch = Scratch::new("bad");
    let file = scratch.join("body");
    let report = client.download(url, &file);
    let saved_bytes = fs::metadata(&file).map_or(0, |metadata| metadata.len());
    table.record(
        client,
        failure,
        &report,
        &format!("{url} ({saved_bytes} bytes were saved)"),
    );
}

/// Downloads, and disturbs the transfer once `prepare` returns, which waits for the right moment and
/// can ask whether the client is done already.
///
/// # Panics
/// When the client was done before: that proves nothing of disturbed transfers.
fn download_and_meanwhile(
    client: Client,
    url: &str,
    prepare: impl FnOnce(&dyn Fn() -> bool),
    disturb: impl FnOnce(),
) -> Report {
    let scratch = Scratch::new("bad");
    let file = scratch.join("body");
    thread::scope(|scope| {
        let download = scope.spawn(|| client.download(url, &file));
        prepare(&|| download.is_finished());
        let was_under_way = !download.is_finished();
        disturb();
        let report = download.join().expect("the client can be run");
        assert!(
            was_under_way,
            "{client} was done with {url} too early: {report}"
        );
        report
    })
}

/// Downloads, and ends the program when a client (or its proxy) has been connected for `moment`.
pub(crate) fn download_while_server_ends(
    client: Client,
    url: &str,
    server: &mut Server,
    moment: Duration,
    end: fn(&mut Server),
) -> Report {
    // Both need the server, the second to end it: one after the other.
    let server = RefCell::new(server);
    let prepare = |is_over: &dyn Fn() -> bool| {
        wait::until("a client connects", TIME_LIMIT, || {
            server.borrow().has_connection() || is_over()
        });
        thread::sleep(moment);
    };
    download_and_meanwhile(client, url, prepare, || end(&mut server.borrow_mut()))
}

/// Panics unless the clients work and the server does, so that no failure is theirs.
fn assert_all_get_noise(server: &Server, clients: &[Client]) {
    let url = server.url("/noise.bin?n=1000000&piece=4096");
    let sha256 = noise::sha256(1_000_000);
    wait::for_all(clients, |client| assert_downloads(*client, &url, &sha256));
}

/// Serves the output of shell scripts: `(name, script)` becomes `/NAME.bin`.
fn serve_commands(scratch: &Scratch, commands: &[(&str, &str)]) -> Server {
    let mut configuration = String::new();
    for (name, script) in commands {
        configuration += &command_route(name, script);
    }
    let file: PathBuf = scratch.join("datastreamer.toml");
    fs::write(&file, configuration).expect("files can be written");
    Server::start(["--config".into(), file])
}

fn command_route(name: &str, script: &str) -> String {
    format!(
        "[routes.{name}]\nkind = \"command\"\nargv = [\"sh\", \"-c\", \"{script}\"]\n\
         suffix = \"bin\"\nmedia_type = \"application/octet-stream\"\n"
    )
}

fn assert_unpacks_to(archive: &Path, directory: &Path) {
    let scratch = Scratch::new("unpacked");
    let mut bsdtar = tools::program("bsdtar");
    bsdtar.arg("-xf").arg(archive).arg("-C").arg(scratch.path());
    assert!(
        bsdtar.status().expect("bsdtar runs").success(),
        "bsdtar does not read the archive"
    );
    let name = directory.file_name().expect("a directory with a name");
    let mut diff = tools::program("diff");
    diff.arg("-r").arg(directory).arg(scratch.path().join(name));
    assert!(
        diff.status().expect("diff runs").success(),
        "other files than {}",
        directory.display()
    );
}

/// Behind the status line and the field that frames the body, and before the end of any head.
const CUTS_IN_HEADS: [u64; 3] = [60, 120, 200];

#[test]
fn curl_wget_and_urllib_do_not_take_a_head_that_is_cut_for_an_empty_file() {
    let scratch = Scratch::new("heads");
    let file = scratch.join("file.bin");
    fs::write(&file, [7; 1000]).expect("files can be written");
    let server = Server::start(["--demo".into(), file.into_os_string()]);
    // Chunked, with a length, and unread from a file.
    for path in [
        "/noise.bin?n=1000",
        "/noise.bin?n=1000&length=known",
        "/file.bin",
    ] {
        for bytes in CUTS_IN_HEADS {
            let saved = scratch.join("saved");
            let cut = |client: &str, get: &dyn Fn(&str) -> Report| {
                let proxy = Cutting::start(Ipv4Addr::LOCALHOST, server.port(), bytes, Cut::Fin);
                let report = get(&proxy.url(path));
                assert!(
                    !report.is_success(),
                    "{client} of {path} behind {bytes} bytes"
                );
            };
            cut("curl", &|url| {
                let mut curl = tools::program("curl");
                curl.args(["-q", "--silent", "--fail", url, "--output"]);
                curl.arg(&saved);
                report_of(curl)
            });
            cut("wget", &|url| {
                let mut wget = tools::program("wget");
                wget.args(["--no-config", "--quiet", "--tries=1", url, "-O"]);
                wget.arg(&saved);
                report_of(wget)
            });
            cut("urllib", &|url| {
                let mut urllib = tools::python();
                urllib.arg(tools::client_script("get_urllib.py")).arg(url);
                urllib.arg(&saved);
                report_of(urllib)
            });
        }
    }
}
