//! The configuration: what is good runs, what is not is refused in one line that says where.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::http::{self, End};
use crate::support::program::{self, Daemon, Said};
use crate::support::scratch::Scratch;
use crate::support::tables;

/// Exit code 3: the configuration, a path, or the address to listen on.
const CONFIGURATION: i32 = 3;

fn write(scratch: &Scratch, text: &str) -> PathBuf {
    let file = scratch.join("datastreamer.toml");
    fs::write(&file, text).expect("files can be written");
    file
}

/// Runs `check` on a file of this text.
fn check(text: &str) -> Said {
    check_with(text, &[])
}

fn check_with(text: &str, environment: &[(&str, &str)]) -> Said {
    let scratch = Scratch::new("check");
    let mut command = program::command(&["check"]);
    command
        .arg(write(&scratch, text))
        .envs(environment.iter().copied());
    program::finish(command)
}

#[test]
fn a_stable_directory_cannot_freeze_what_grows() {
    let said = check(
        "[routes.a]\nkind = \"directory\"\npath = \".\"\nstable = true\non_change = \"freeze\"\n",
    );
    said.assert_refused(CONFIGURATION, &["routes.a", "exclude each other"]);
}

#[test]
fn a_good_file_is_good_and_its_routes_are_named() {
    let said = check("[routes.noise]\nkind = \"noise\"\n[routes.'two words']\nkind = \"noise\"\n");
    said.assert_good();
    let text = said.text();
    for part in [
        "is good",
        "127.0.0.1:8080",
        "/noise.bin",
        "/two%20words.bin",
    ] {
        assert!(text.contains(part), "{text}");
    }
    check("").assert_good();
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    for (text, line, key) in [
        ("[servers]\n", ":1:", "servers"),
        ("\n\n[server]\nlisten_on = \"x\"\n", ":4:", "listen_on"),
        (
            "[stream]\nchunk_bytes = 1000\nchunks = 2\n",
            ":3:",
            "chunks",
        ),
        (
            "[limits]\n# a comment\nmax_actives = 2\n",
            ":3:",
            "max_actives",
        ),
        (
            "[routes.a]\nkind = \"noise\"\ncompres = true\n",
            ":3:",
            "compres",
        ),
        ("colour = \"red\"\n", ":1:", "colour"),
    ] {
        let place = format!("datastreamer.toml{line}");
        check(text).assert_refused(CONFIGURATION, &[&place, key]);
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    check("[server]\nlisten = \n").assert_refused(CONFIGURATION, &["datastreamer.toml:2:"]);
    check("[server\n").assert_refused(CONFIGURATION, &["datastreamer.toml:1:"]);
    check("[server]\ndrain = 1\ndrain = 2\n")
        .assert_refused(CONFIGURATION, &["datastreamer.toml:3:", "duplicate"]);
}

#[test]
fn sizes_are_refused_with_what_to_write() {
    for size in [
        "\"64 kilos\"",
        "\"-1\"",
        "-1",
        "\"1.5\"",
        "1.5",
        "\"\"",
        "true",
        "[]",
        "\"1e400\"",
        "nan",
        "\"99999999TB\"",
    ] {
        let said = check(&format!("[stream]\n\nchunk_bytes = {size}\n"));
        said.assert_refused(CONFIGURATION, &["datastreamer.toml:3:", "64KiB"]);
    }
}

#[test]
fn durations_are_refused_with_what_to_write() {
    for span in [
        "\"soon\"",
        "\"-1s\"",
        "-1",
        "\"\"",
        "false",
        "{}",
        "nan",
        "inf",
        "\"1e19\"",
        "1e300",
        "\"10000 years\"",
    ] {
        let said = check(&format!("[server]\ndrain = {span}\n"));
        said.assert_refused(CONFIGURATION, &["datastreamer.toml:2:", "250ms"]);
    }
}

#[test]
fn sizes_and_durations_are_read_as_people_write_them() {
    check(
        "[server]\ndrain = 0\n[stream]\nchunk_bytes = 65536\nbuffer_bytes = \"1 MiB\"\n\
         flush_after = 0.25\ncommit_after = \"1m 30s\"\ncommit_bytes = 0\n[limits]\n\
         client_stall = \"2h\"\nclient_min_rate = \"1kB\"\n",
    )
    .assert_good();
}

#[test]
fn origins_are_a_star_or_a_list_as_browsers_write_them() {
    let list = "[\"https://a.example\", \"http://localhost:8000\"]";
    for value in ["\"*\"", "[\"*\"]", "[]", list] {
        check(&format!("[server]\ncors = {value}\n")).assert_good();
    }
    for (value, shown) in [
        ("\"example.org\"", "\"example.org\""),
        (
            "[\"https://a.example/\"]",
            "a list with \"https://a.example/\"",
        ),
        ("[\"https://a.example\", \"null\"]", "a list with \"null\""),
        ("true", "true"),
    ] {
        let said = check(&format!("[server]\n\ncors = {value}\n"));
        let place = "datastreamer.toml:3: server.cors must be";
        said.assert_refused(CONFIGURATION, &[place, shown, "https://example.org"]);
    }
    for value in ["*", "https://a.example, http://localhost:8000", list, ""] {
        check_with("", &[("DATASTREAMER_SERVER__CORS", value)]).assert_good();
    }
}

#[test]
fn proxies_are_networks_in_a_list_or_with_commas() {
    let list = "[server]\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"fd00::/8\"]\n";
    check(list).assert_good();
    for value in ["127.0.0.1, 10.0.0.0/8,::1", "", "[]", "[\"::1\"]"] {
        let variable = ("DATASTREAMER_SERVER__TRUSTED_PROXIES", value);
        check_with("", &[variable]).assert_good();
        let wrong = format!("{value} 10.0.0.0/33");
        let said = check_with("", &[(variable.0, &wrong)]);
        said.assert_refused(CONFIGURATION, &["DATASTREAMER_SERVER__TRUSTED_PROXIES: "]);
    }
    for wrong in ["[\"localhost\"]", "[\"10.0.0.0/33\"]", "[10]", "10"] {
        let said = check(&format!("[server]\ntrusted_proxies = {wrong}\n"));
        let place = "datastreamer.toml:2: server.trusted_proxies must be a list of addresses";
        said.assert_refused(CONFIGURATION, &[place]);
    }
    // The wrong one is named.
    check("[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n")
        .assert_refused(CONFIGURATION, &["it is a list with \"10.0.0.0/33\""]);
}

#[test]
fn a_minimum_rate_needs_the_time_that_it_is_measured_over() {
    let route = "[limits]\nclient_stall = 0\n[routes.a]\nkind = \"command\"\nargv = [\"true\"]\n";
    check(route).assert_good();
    check(&format!("{route}min_rate = 0\n")).assert_good();
    let said = check(&format!("{route}min_rate = 1\n"));
    let text = "routes.a: min_rate is measured over limits.client_stall, which must not be 0 then";
    said.assert_refused(CONFIGURATION, &[text, ":3:"]);
}

#[test]
fn sizes_that_do_not_fit_together_are_refused() {
    for (text, key) in [
        ("chunk_bytes = 0", "chunk_bytes"),
        ("chunk_bytes = \"1MiB\"", "chunk_bytes"),
        ("buffer_bytes = 1", "buffer_bytes"),
        ("fast_buffer_bytes = \"255KiB\"", "fast_buffer_bytes"),
        ("commit_bytes = \"193KiB\"", "commit_bytes"),
        // What the first stream could not be given.
        ("chunk_bytes = \"18446744073709551615\"", "chunk_bytes"),
        ("chunk_bytes = \"65MiB\"", "chunk_bytes"),
        ("buffer_bytes = \"1TiB\"", "buffer_bytes"),
        ("fast_buffer_bytes = \"1TiB\"", "fast_buffer_bytes"),
    ] {
        let place = format!("datastreamer.toml:2: stream.{key} ");
        check(&format!("[stream]\n{text}\n")).assert_refused(CONFIGURATION, &[&place]);
    }
    // Both were written: the buffer is at fault, wherever it stands.
    check("[stream]\nbuffer_bytes = 10\nchunk_bytes = 10\n")
        .assert_refused(CONFIGURATION, &["datastreamer.toml:2: stream.buffer_bytes"]);
    for (key, wrong) in [
        ("max_connections", "9223372036854775807"),
        ("queue_timeout", "0"),
        ("header_timeout", "\"0s\""),
        ("idle_timeout", "0"),
        ("client_min_rate", "1\nclient_stall = 0"),
    ] {
        let place = format!("datastreamer.toml:2: limits.{key} ");
        check(&format!("[limits]\n{key} = {wrong}\n")).assert_refused(CONFIGURATION, &[&place]);
    }
    for key in ["max_active", "max_connections"] {
        let said = check(&format!("[limits]\n{key} = 0\n"));
        said.assert_refused(CONFIGURATION, &["datastreamer.toml:2:"]);
    }
    check("[limits]\nmax_active = -1\n").assert_refused(CONFIGURATION, &[":2:"]);
    check("[limits]\nreserve_bytes = \"much\"\n").assert_refused(CONFIGURATION, &[":2:"]);
}

#[test]
fn whatever_the_check_takes_serves() {
    for text in [
        "[stream]\nchunk_bytes = 1\nbuffer_bytes = 2\n",
        "[stream]\nchunk_bytes = \"32KiB\"\nbuffer_bytes = \"64KiB\"\n",
        "[stream]\nchunk_bytes = \"64MiB\"\nbuffer_bytes = \"1GiB\"\n",
        "[stream]\nfast_buffer_bytes = \"1GiB\"\n[limits]\nreserve_bytes = \"16EiB\"\n",
        "[stream]\nfast_buffer_bytes = \"256KiB\"\ncommit_bytes = \"128KiB\"\n",
        "[limits]\nreserve_bytes = 0\nmax_waiting = 0\nclient_stall = 0\nsource_stall = 0\n",
        "[stream]\nflush_after = 0\ncommit_after = 0\ncommit_bytes = 0\n",
        "[limits]\nmax_active = 9223372036854775807\nmax_waiting = 9223372036854775807\n\
         max_connections = 2305843009213693951\n",
        "[server]\ndrain = \"99years\"\n[stream]\nflush_after = \"99years\"\n\
         commit_after = \"99years\"\n[limits]\nqueue_timeout = \"99years\"\n\
         header_timeout = \"99years\"\nidle_timeout = \"99years\"\n\
         client_stall = \"99years\"\nsource_stall = \"99years\"\n",
    ] {
        let text = text.replace("16EiB", "16777215TiB");
        check(&text).assert_good();
        let daemon = Daemon::start(&format!("{text}[routes.noise]\nkind = \"noise\"\n"));
        let response = http::get(daemon.port(), "/noise.bin?n=3000&piece=1000&delay=10ms");
        assert_eq!(
            (response.body.len(), response.end),
            (3000, End::Whole),
            "{text}"
        );
    }
}

#[test]
fn kinds_and_their_fields_go_together() {
    for (route, words) in [
        (
            "kind = \"tables\"",
            &["tables", "noise", "directory", "command"][..],
        ),
        ("path = \".\"", &["kind"]),
        ("kind = \"noise\"\npath = \".\"", &["path", "directory"]),
        ("kind = \"noise\"\nargv = [\"ls\"]", &["argv", "command"]),
        ("kind = \"directory\"", &["path", "missing"]),
        (
            "kind = \"directory\"\npath = \".\"\nargv = [\"ls\"]",
            &["argv"],
        ),
        ("kind = \"command\"", &["argv", "missing"]),
        ("kind = \"command\"\nargv = []", &["argv", "empty"]),
        ("kind = \"command\"\nargv = [\"\"]", &["argv", "empty"]),
        (
            "kind = \"command\"\nargv = \"ls -l\"",
            &[
                "routes.mine.argv must be a list of texts",
                "it is \"ls -l\"",
            ],
        ),
        (
            "kind = \"command\"\nargv = [\"ls\"]\npath = \".\"",
            &["path"],
        ),
        ("kind = \"noise\"\nsuffix = \"\"", &["suffix"]),
        ("kind = \"noise\"\nsuffix = \"../x\"", &["suffix", "tar.gz"]),
        ("kind = \"noise\"\nsuffix = \".csv\"", &["suffix"]),
        (
            "kind = \"noise\"\nmedia_type = \"csv\"",
            &["media type", "text/csv"],
        ),
        (
            "kind = \"noise\"\nmedia_type = \"a/b\\nc\"",
            &["media type"],
        ),
        (
            "kind = \"noise\"\ncompress = \"yes\"",
            &["routes.mine.compress must be true or false; it is \"yes\""],
        ),
    ] {
        let said = check(&format!("# a comment\n[routes.mine]\n{route}\n"));
        let mut words = words.to_vec();
        words.push("datastreamer.toml:");
        said.assert_refused(CONFIGURATION, &words);
    }
}

#[test]
fn what_a_route_needs_must_be_there() {
    for (route, words) in [
        (
            "kind = \"directory\"\npath = \"no-such-place\"",
            &["no-such-place"][..],
        ),
        (
            "kind = \"directory\"\npath = \"datastreamer.toml\"",
            &["datastreamer.toml"],
        ),
        (
            "kind = \"command\"\nargv = [\"no-such-program\"]",
            &["no-such-program"],
        ),
        (
            "kind = \"command\"\nargv = [\"./no-such-program\", \"x\"]",
            &["no-such-program"],
        ),
        ("kind = \"command\"\nargv = [\"/\"]", &["/"]),
        (
            "kind = \"command\"\nargv = [\"./datastreamer.toml\"]",
            &["datastreamer.toml"],
        ),
    ] {
        let said = check(&format!("\n[routes.mine]\n{route}\n"));
        let mut words = words.to_vec();
        words.extend([":2:", "routes.mine"]);
        said.assert_refused(CONFIGURATION, &words);
    }
}

#[test]
fn a_route_name_is_encoded_in_its_url_or_is_refused() {
    for name in ["a/b", "", ".", ".."] {
        let said = check(&format!("[routes.\"{name}\"]\nkind = \"noise\"\n"));
        said.assert_refused(CONFIGURATION, &["datastreamer.toml:1:", "name"]);
    }
    for (name, url) in [
        ("Sterne für alle", "/Sterne%20f%C3%BCr%20alle.bin"),
        ("a.b", "/a.b.bin"),
        ("it's", "/it%27s.bin"),
        ("<b>", "/%3Cb%3E.bin"),
        ("a&b", "/a%26b.bin"),
        ("a?b", "/a%3Fb.bin"),
        ("a#b", "/a%23b.bin"),
        ("a%b", "/a%25b.bin"),
        ("a\\nb", "/a%0Ab.bin"),
        ("a\\u001Bb", "/a%1Bb.bin"),
    ] {
        let said = check(&format!("[routes.\"{name}\"]\nkind = \"noise\"\n"));
        said.assert_good();
        assert!(
            said.text().contains(&format!("\n{url} ")),
            "{}",
            said.text()
        );
    }
}

#[test]
fn two_routes_of_one_file_name_are_refused() {
    let said = check(
        "[routes.a]\nkind = \"noise\"\nsuffix = \"b.c\"\n\
         [routes.\"a.b\"]\nkind = \"noise\"\nsuffix = \"c\"\n",
    );
    said.assert_refused(
        CONFIGURATION,
        &["datastreamer.toml:4: ", "routes.a.b", "a.b.c"],
    );

    let scratch = Scratch::new("twice");
    fs::create_dir_all(scratch.join("photos")).expect("directories can be made");
    let mut command = program::command(&["serve", "--listen", "127.0.0.1:0"]);
    command.arg(scratch.join("photos"));
    command.arg(scratch.join("photos/../photos"));
    program::finish(command).assert_refused(CONFIGURATION, &["photos"]);
}

#[test]
fn a_file_or_directory_that_is_not_there_is_named() {
    program::run(&["check", "no-such.toml"]).assert_refused(CONFIGURATION, &["no-such.toml"]);
    program::run(&["check", "."]).assert_refused(CONFIGURATION, &["."]);
    program::run(&["serve", "no-such-place"]).assert_refused(CONFIGURATION, &["no-such-place"]);
    let config = ["serve", "--config", "no-such.toml"];
    program::run(&config).assert_refused(CONFIGURATION, &["no-such.toml"]);
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("an address").to_string();
    let holder = TcpListener::bind(&taken).ok();
    let holder = holder.or_else(|| TcpListener::bind("127.0.0.1:0").ok());
    let address = holder.as_ref().expect("a listener").local_addr();
    let address = address.expect("an address").to_string();
    program::run(&["serve", "--demo", "--listen", &address])
        .assert_refused(CONFIGURATION, &[&address, "in use"]);
    for wrong in [
        "",
        "nonsense",
        "127.0.0.1",
        "127.0.0.1:99999",
        ":80",
        "256.1.1.1:80",
    ] {
        program::run(&["serve", "--demo", "--listen", wrong])
            .assert_refused(CONFIGURATION, &["--listen", &format!("`{wrong}`")]);
    }
    // An address of somebody else (RFC 5737).
    program::run(&["serve", "--demo", "--listen", "192.0.2.1:8080"])
        .assert_refused(CONFIGURATION, &["192.0.2.1:8080"]);
    check("[server]\n\nlisten = \"nonsense\"\n").assert_refused(
        CONFIGURATION,
        &["datastreamer.toml:3: server.listen", "nonsense"],
    );
}

#[test]
fn the_environment_overrides_the_file() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\n";
    let said = check_with(file, &[("DATASTREAMER_SERVER__LISTEN", "127.0.0.1:2")]);
    said.assert_good();
    assert!(said.text().contains("listen 127.0.0.1:2"), "{said:?}");
    check_with("", &[("DATASTREAMER_LIMITS__MAX_ACTIVE", "7")]).assert_good();
    check_with("", &[("DATASTREAMER_STREAM__CHUNK_BYTES", "4KiB")]).assert_good();
    // Without a file too.
    let mut cat = program::command(&["cat", "/noise.bin?n=10"]);
    cat.env("DATASTREAMER_STREAM__CHUNK_BYTES", "0");
    program::finish(cat).assert_refused(CONFIGURATION, &["chunk_bytes"]);
}

#[test]
fn the_environment_names_the_file() {
    let scratch = Scratch::new("named");
    let file = write(&scratch, "[routes.mine]\nkind = \"noise\"\n");
    let mut cat = program::command(&["cat", "--quiet", "mine.bin?n=10"]);
    cat.env("DATASTREAMER_CONFIG", file);
    let said = program::finish(cat);
    said.assert_good();
    assert_eq!(said.stdout.len(), 10);
}

#[test]
fn what_is_wrong_in_the_environment_is_named() {
    for (name, value, words) in [
        ("DATASTREAMER_SERVER__DRAIN", "soon", &["250ms"][..]),
        ("DATASTREAMER_STREAM__CHUNK_BYTES", "many", &["64KiB"]),
        ("DATASTREAMER_LIMITS__MAX_ACTIVE", "0", &[]),
        ("DATASTREAMER_LIMITS__MAX_ACTIVE", "x", &[]),
        ("DATASTREAMER_LIMITS__MAX_ACTIVES", "1", &["MAX_ACTIVE?"]),
        (
            "DATASTREAMER_LIMIT__MAX_ACTIVE",
            "1",
            &["DATASTREAMER_LIMITS__MAX_ACTIVE?"],
        ),
        (
            "DATASTREAMER_STREAM__BUFFER_BYTES",
            "1",
            &["stream.buffer_bytes"],
        ),
        ("DATASTREAMER_LIMITS__RESERVE_BYTES", "much", &["64KiB"]),
        ("DATASTREAMER_ROUTES__A", "noise", &["file"]),
        ("DATASTREAMER_DATABASES__A", "url", &["file"]),
        (
            "DATASTREAMER_SERVER__PORT",
            "8080",
            &["DATASTREAMER_SERVER__"],
        ),
        ("DATASTREAMER_SERVER__", "x", &[]),
    ] {
        let mut words = words.to_vec();
        words.push(name);
        check_with("", &[(name, value)]).assert_refused(CONFIGURATION, &words);
    }
    check_with("", &[("DATASTREAMER_SERVER__LISTEN", "x")])
        .assert_refused(CONFIGURATION, &["server.listen"]);
}

/// What Kubernetes sets in containers beside a service called `datastreamer`.
const OF_KUBERNETES: [(&str, &str); 7] = [
    ("DATASTREAMER_SERVICE_HOST", "10.0.0.11"),
    ("DATASTREAMER_SERVICE_PORT", "8080"),
    ("DATASTREAMER_PORT", "tcp://10.0.0.11:8080"),
    ("DATASTREAMER_PORT_8080_TCP", "tcp://10.0.0.11:8080"),
    ("DATASTREAMER_PORT_8080_TCP_PROTO", "tcp"),
    ("DATASTREAMER_PORT_8080_TCP_PORT", "8080"),
    ("DATASTREAMER_PORT_8080_TCP_ADDR", "10.0.0.11"),
];

#[test]
fn variables_of_others_are_warned_of_once_and_ignored() {
    let daemon = Daemon::start_with("[routes.noise]\nkind = \"noise\"\n", &OF_KUBERNETES);
    assert_eq!(http::get(daemon.port(), "/noise.bin?n=9").body.len(), 9);
    let log = daemon.log();
    let warnings: Vec<_> = log
        .lines()
        .filter(|line| line.contains("ignored"))
        .collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("WARN"), "{log}");
    for (name, _) in OF_KUBERNETES {
        assert!(warnings[0].contains(name), "{name} in {log}");
    }
    assert!(!log.contains("did you mean"), "{log}");
}

#[test]
fn a_variable_that_is_nearly_a_setting_is_warned_of_with_its_name() {
    for (name, meant) in [
        ("DATASTREAMER_SERVER_LISTEN", "DATASTREAMER_SERVER__LISTEN?"),
        ("DATASTREAMER_CONFIGURATION", "DATASTREAMER_CONFIG?"),
        ("DATASTREAMER_", "ignored"),
    ] {
        let said = check_with("", &[(name, "127.0.0.1:1")]);
        assert_eq!(said.code, Some(0), "{said:?}");
        for part in ["WARN", name, meant] {
            assert!(said.stderr.contains(part), "{part} in {said:?}");
        }
    }
}

#[test]
fn a_port_alone_is_an_address_wherever_it_is_written() {
    for said in [
        check("[server]\nlisten = 8080\n"),
        check("[server]\nlisten = \"8080\"\n"),
        check_with("", &[("DATASTREAMER_SERVER__LISTEN", "8080")]),
    ] {
        said.assert_good();
        assert!(said.text().contains("listen 127.0.0.1:8080"), "{said:?}");
    }
    check("[server]\nlisten = 80800\n").assert_refused(
        CONFIGURATION,
        &["datastreamer.toml:2: server.listen `80800`"],
    );
    check("[server]\nlisten = true\n").assert_refused(
        CONFIGURATION,
        &["datastreamer.toml:2: server.listen must be an address or a port"],
    );
}

#[test]
fn all_errors_of_a_file_are_said_at_once_each_with_its_line() {
    let said = check_with(
        "colour = 1\n\
         [stream]\nchunk_bytes = \"much\"\nchunks = 2\n\
         [limits]\nmax_active = -1\nheader_timeout = 0\n\
         [routes.a]\nkind = \"noise\"\npath = \".\"\ncompres = true\n\
         [routes.b]\nkind = \"directory\"\n\
         [routes.c]\nkind = \"query\"\nsql = \"SELECT 1\"\n\
         parameters = [{ name = \"p\", type = \"text\", max_lenght = 3 }]\n\
         [sql]\nmax_rows = \"all\"\n",
        &[
            ("DATASTREAMER_TABLES__TIME_LIMIT", "soon"),
            ("DATASTREAMER_SERVER__LISTEN", "nonsense"),
        ],
    );
    assert_eq!(said.code, Some(CONFIGURATION), "{said:?}");
    let expected = [
        "DATASTREAMER_TABLES__TIME_LIMIT: tables.time_limit must be a duration",
        "DATASTREAMER_SERVER__LISTEN: server.listen `nonsense` is no address to listen on",
        "datastreamer.toml:1: unknown key `colour`; allowed are server, stream, limits, ",
        "datastreamer.toml:3: stream.chunk_bytes must be a size, from 1 to 64MiB, for example",
        "datastreamer.toml:4: stream: unknown key `chunks`; allowed are chunk_bytes, ",
        "datastreamer.toml:6: limits.max_active must be a whole number, at least 1, for example 8; \
         it is -1",
        "datastreamer.toml:7: limits.header_timeout must be a duration longer than 0",
        "datastreamer.toml:10: routes.a: `path` belongs to kind \"directory\", \"file\", \"table\"",
        "datastreamer.toml:11: routes.a: unknown key `compres`; allowed are kind, ",
        "datastreamer.toml:12: routes.b: `path` is missing; it must be a path in quotes",
        "datastreamer.toml:14: routes.c: sql: the query does not use the parameter p",
        "datastreamer.toml:17: routes.c.parameters: unknown key `max_lenght`; allowed are name, ",
        "datastreamer.toml:19: sql.max_rows must be a whole number, for example 8; it is \"all\"",
    ];
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{}", said.stderr);
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "no {expected:?} in: {line}");
    }
}

#[test]
fn an_environment_that_is_not_text_is_no_trouble() {
    let mut cat = program::command(&["cat", "--quiet", "/noise.bin?n=10"]);
    cat.env("SOMETHING", OsStr::from_bytes(b"\xff\xfe"));
    let said = program::finish(cat);
    said.assert_good();
    assert_eq!(said.stdout.len(), 10);
    let mut cat = program::command(&["cat", "--quiet", "/noise.bin?n=10"]);
    cat.env("DATASTREAMER_PORT", OsStr::from_bytes(b"\xff\xfe"));
    let said = program::finish(cat);
    assert_eq!((said.code, said.stdout.len()), (Some(0), 10), "{said:?}");
    assert!(said.stderr.contains("DATASTREAMER_PORT"), "{said:?}");
    let mut cat = program::command(&["cat", "--quiet", "/noise.bin?n=10"]);
    cat.env(
        "DATASTREAMER_SERVER__LISTEN",
        OsStr::from_bytes(b"\xff\xfe"),
    );
    program::finish(cat).assert_refused(CONFIGURATION, &["DATASTREAMER_SERVER__LISTEN"]);
}

#[test]
fn a_relative_path_starts_at_the_configuration_file() {
    let scratch = Scratch::new("relative");
    fs::create_dir_all(scratch.join("conf/data")).expect("directories can be made");
    fs::write(scratch.join("conf/data/member"), "a member").expect("files can be written");
    write_program(&scratch.join("conf/says-where"), "#!/bin/sh\npwd\n");
    let file = scratch.join("conf/datastreamer.toml");
    let routes = "[routes.tree]\nkind = \"directory\"\npath = \"data\"\n\
                  [routes.where]\nkind = \"command\"\nargv = [\"./says-where\"]\n";
    fs::write(&file, routes).expect("files can be written");
    // Named from two places: relative and absolute.
    for (folder, file) in [
        (
            scratch.path().to_owned(),
            PathBuf::from("conf/datastreamer.toml"),
        ),
        (scratch.join("conf"), PathBuf::from("datastreamer.toml")),
        (PathBuf::from("/"), file.clone()),
    ] {
        let cat = |route: &str| {
            let mut command = program::command(&["cat", "--quiet", route, "--config"]);
            program::finish({
                command.arg(&file).current_dir(&folder);
                command
            })
        };
        let archive = cat("tree.tar");
        archive.assert_good();
        assert!(String::from_utf8_lossy(&archive.stdout).contains("a member"));
        let place = cat("where.bin");
        place.assert_good();
        let conf = scratch.join("conf").canonicalize().expect("it is there");
        assert_eq!(Path::new(place.text().trim_end()), conf);
    }
}

#[test]
fn the_documented_example_is_good() {
    let scratch = Scratch::new("documented");
    let example = documented_example();
    let file = write(&scratch, &example);
    fs::create_dir(scratch.join("photos")).expect("directories can be made");
    fs::create_dir(scratch.join("stars")).expect("directories can be made");
    tables::stars(&scratch.join("stars"), "part 1", 10);
    fs::write(scratch.join("archive.password"), "secret\n").expect("files can be written");
    fs::create_dir(scratch.join("bin")).expect("directories can be made");
    write_program(&scratch.join("bin/pg_dump"), "#!/bin/sh\necho \"$1\"\n");
    let mut command = program::command(&["check"]);
    command.arg(&file).env("PATH", scratch.join("bin"));
    let said = program::finish(command);
    said.assert_good();
    for part in [
        "/noise.bin",
        "/photos.tar (application/x-tar)",
        "/backup.sql (application/sql)",
    ] {
        assert!(said.text().contains(part), "{said:?}");
    }
}

#[test]
fn every_documented_setting_can_be_overridden_and_is_checked_there_too() {
    let mut settings = 0;
    for (section, key, default) in documented_settings() {
        let name = format!("DATASTREAMER_{section}__{key}").to_uppercase();
        // Not all have a default that can be written.
        let value = match key.as_str() {
            "spill_folder" | "folder" => "/",
            "threads" | "max_rows" => "2",
            _ => default.trim_matches(['`', '"']),
        };
        check_with("", &[(&name, value)]).assert_good();
        settings += 1;
        if key == "folder" {
            // Any path may be that of the spool, which is made when it is needed.
            continue;
        }
        let said = check_with("", &[(&name, "no such value")]);
        said.assert_refused(CONFIGURATION, &["no such value"]);
    }
    assert_eq!(settings, 48);
}

/// Returns section, key and default of the settings with a variable, as the reference shows them.
fn documented_settings() -> Vec<(String, String, String)> {
    let reference = program::run(&["config", "reference"]);
    reference.assert_good();
    let page = reference.text();
    let sections = page.split("\n## [").skip(1);
    let sections = sections.filter(|section| section.contains("\nEnvironment: "));
    let rows = sections.flat_map(|section| {
        let (name, rest) = section.split_once(']').expect("a name");
        let rows = rest.lines().filter(|line| line.starts_with("| `"));
        rows.map(move |row| {
            let cells: Vec<_> = row.split(" | ").collect();
            let key = cells[0].trim_matches(['|', ' ', '`']);
            (name.to_owned(), key.to_owned(), cells[2].to_owned())
        })
    });
    rows.collect()
}

/// Returns the configuration that docs/program.md shows.
fn documented_example() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/program.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let (_, example) = page.split_once("```toml\n").expect("it shows one");
    let (example, _) = example.split_once("```").expect("it ends");
    example.to_owned()
}

#[test]
fn serve_alone_serves_the_demo_and_warns_once_of_a_debug_build() {
    let scratch = Scratch::new("bare");
    let log = scratch.join("stderr");
    let mut server = program::command(&["serve"])
        // Not the default port, which others may use.
        .env("DATASTREAMER_SERVER__LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log).expect("files can be made"))
        .spawn()
        .expect("the program starts");
    let port = program::port_of(&mut server).expect("a URL");
    assert_eq!(http::get(port, "/noise.bin?n=1000").body.len(), 1000);
    assert_eq!(
        http::get(port, "/stars.csv?rows=3").text().lines().count(),
        4
    );
    assert!(program::signal(server.id(), "TERM"));
    assert!(server.wait().expect("a child").success());
    let log = fs::read_to_string(&log).expect("text");
    let warnings = log.matches("this is a debug build").count();
    assert_eq!(warnings, usize::from(cfg!(debug_assertions)), "{log}");
}

fn write_program(file: &Path, text: &str) {
    fs::write(file, text).expect("files can be written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn usage_is_explained() {
    let said = program::run(&["--help"]);
    said.assert_good();
    for word in ["serve", "cat", "check", "--log-format"] {
        assert!(said.text().contains(word), "{}", said.text());
    }
    for command in ["serve", "cat", "check"] {
        program::run(&[command, "--help"]).assert_good();
    }
    program::run(&["--version"]).assert_good();
}

#[test]
fn a_usage_error_is_exit_code_2() {
    for arguments in [
        &[][..],
        &["no-such-command"],
        &["serve", "--no-such-option"],
        &["serve", "--listen"],
        &["cat"],
        &["check"],
        &["--log-format", "xml", "serve"],
    ] {
        let said = program::run(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        let helps = said.stderr.contains("Usage") || said.stderr.contains("--help");
        assert!(helps, "{said:?}");
        assert!(said.stdout.is_empty());
        program::assert_no_backtrace(&said.stderr);
    }
    let mut command = program::command(&["serve"]);
    command.env("DATASTREAMER_LOG_FORMAT", "xml");
    assert_eq!(program::finish(command).code, Some(2));
}

#[test]
fn completions_and_the_manual_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = program::run(&["completions", shell]);
        said.assert_good();
        for word in ["serve", "listen", "parquet-compression", "reference"] {
            assert!(said.text().contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(
        program::run(&["completions", "no-such-shell"]).code,
        Some(2)
    );
    let said = program::run(&["man"]);
    said.assert_good();
    for part in [
        ".TH datastreamer 1",
        ".SH \"DATASTREAMER SERVE\"",
        "\\-\\-listen",
        ".SH \"DATASTREAMER CONFIG REFERENCE\"",
    ] {
        assert!(said.text().contains(part), "{part} in {}", said.text());
    }
}

#[test]
fn a_page_that_does_not_fit_on_the_disk_is_an_error_with_a_message() {
    for arguments in [
        &["man"][..],
        &["completions", "bash"],
        &["config", "reference"],
    ] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it");
        let said = program::command(arguments)
            .stdout(full)
            .output()
            .expect("it runs");
        assert_eq!(said.status.code(), Some(7), "{arguments:?}");
        let message = String::from_utf8_lossy(&said.stderr);
        assert!(
            message.contains("cannot write to standard output"),
            "{message}"
        );
    }
}

#[test]
fn an_error_in_one_section_hides_none_in_another() {
    let said = check(
        "[server]\nlisten = \"no address\"\n[stream]\nbuffer_bytes = 1000\nchunk_bytes = 1000\n\
         [tables]\nspill_folder = \"/no/such\"\n[limits]\nmax_active = 0\n\
         [routes.a]\nkind = \"query\"\nsql = \"SELECT 1\"\nparameters = [\
         {name = \"p\", type = \"integer\", default = \"y\"}, {name = \"q\", type = \"number\", min = \"x\"}]\n",
    );
    for part in [
        ":2: server.listen",
        ":4: stream.buffer_bytes",
        ":7: tables.spill_folder",
        ":9: limits.max_active",
        "parameter p: ",
        "parameter q: ",
    ] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
}

#[test]
fn bash_reads_its_completions() {
    let said = program::run(&["completions", "bash"]);
    let mut bash = std::process::Command::new("bash");
    let script = format!(
        "{}\nCOMP_WORDS=(datastreamer ser); COMP_CWORD=1; _datastreamer datastreamer ser datastreamer; echo ${{COMPREPLY[@]}}",
        said.text()
    );
    let output = bash
        .args(["--norc", "-c", &script])
        .output()
        .expect("bash is there");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "serve");
}

#[test]
fn a_bad_path_is_left_out_with_a_warning_unless_it_is_the_only_one() {
    let scratch = Scratch::new("some-bad");
    fs::write(scratch.join("good.txt"), "good").expect("files can be written");
    fs::create_dir(scratch.join("tree")).expect("directories can be made");
    std::os::unix::fs::symlink("nowhere", scratch.join("dangling")).expect("a link");
    let paths = ["good.txt", "dangling", "tree", "no-such", "..=good.txt"];
    let log = scratch.join("stderr");
    let mut server = program::command(&["serve", "--listen", "127.0.0.1:0"])
        .args(paths)
        .current_dir(scratch.path())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).expect("files can be made"))
        .spawn()
        .expect("the program starts");
    let port = program::port_of(&mut server).expect("a URL");
    assert_eq!(http::get(port, "/good.txt").text(), "good");
    assert_eq!(http::get(port, "/tree.tar").end, End::Whole);
    http::get(port, "/dangling").problem(404);
    assert!(program::signal(server.id(), "TERM"));
    assert!(server.wait().expect("a child").success());
    let log = fs::read_to_string(&log).expect("text");
    let warnings = log.lines().filter(|line| line.contains("not served"));
    let warnings: Vec<_> = warnings.collect();
    assert_eq!(warnings.len(), 3, "{log}");
    for (path, word) in [
        ("path=dangling", "dangling: "),
        ("path=no-such", "no-such: "),
        ("path=..=good.txt", "cannot be a route's name"),
    ] {
        let line = warnings.iter().find(|line| line.contains(path));
        let line = line.unwrap_or_else(|| panic!("no {path} in {log}"));
        assert!(line.contains(word) && line.contains("WARN"), "{line}");
    }

    let run = |arguments: &[&str]| {
        let mut command = program::command(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).current_dir(scratch.path());
        program::finish(command)
    };
    run(&["dangling"]).assert_refused(CONFIGURATION, &["dangling"]);
    run(&["..=good.txt"]).assert_refused(CONFIGURATION, &["cannot be a route's name"]);
    let said = run(&["dangling", "no-such"]);
    assert_eq!(said.code, Some(CONFIGURATION), "{said:?}");
    assert_eq!(said.stderr.lines().count(), 2, "{said:?}");
    for bad in ["dangling", "..=good.txt"] {
        let said = run(&["--fail-fast", "good.txt", bad]);
        assert_eq!(said.code, Some(CONFIGURATION), "{said:?}");
    }
}

#[test]
fn a_bad_route_of_a_file_is_never_left_out() {
    let scratch = Scratch::new("strict");
    fs::write(scratch.join("good.txt"), "good").expect("files can be written");
    let file = write(
        &scratch,
        "[routes.bad]\nkind = \"file\"\npath = \"no-such\"\n",
    );
    let mut command = program::command(&["serve", "--listen", "127.0.0.1:0", "good.txt"]);
    command
        .arg("--config")
        .arg(file)
        .current_dir(scratch.path());
    program::finish(command).assert_refused(CONFIGURATION, &["routes.bad", "no-such"]);
}

#[test]
fn check_reports_errors_of_settings_and_of_routes_in_one_round() {
    let text = "[server]\nlisten = \"nowhere\"\n[stream]\nchunk_bytes = \"much\"\n[limits]\n\
                client_stall = 0\nclient_min_rate = 1\n[routes.file]\nkind = \"file\"\n\
                path = \"no-such-file\"\n[routes.tree]\nkind = \"directory\"\n\
                path = \"no-such-tree\"\n[routes.program]\nkind = \"command\"\n\
                argv = [\"no-such-program\"]\n[routes.key]\nkind = \"noise\"\ncolour = 1\n\
                [routes.good]\nkind = \"noise\"\n";
    let said = check(text);
    assert_eq!(said.code, Some(CONFIGURATION), "{said:?}");
    let lines: Vec<_> = said.stderr.lines().collect();
    for (line, word) in [
        (":2: ", "server.listen"),
        (":4: ", "stream.chunk_bytes"),
        (":7: ", "limits.client_min_rate"),
        (":8: ", "no-such-file"),
        (":11: ", "no-such-tree"),
        (":14: ", "no-such-program"),
        (":19: ", "colour"),
    ] {
        let found = lines.iter().filter(|it| it.contains(line)).count();
        assert_eq!(found, 1, "{line} {}", said.stderr);
        let is_said = |it: &&&str| it.contains(line) && it.contains(word);
        assert!(
            lines.iter().any(|it| is_said(&it)),
            "{word} {}",
            said.stderr
        );
    }
    assert_eq!(lines.len(), 7, "{}", said.stderr);
    assert!(said.stdout.is_empty(), "{said:?}");
}

#[test]
fn an_error_hides_none_of_another_part_and_all_are_in_the_order_of_their_lines() {
    let text = "[routes.b]\nkind = \"postgres\"\ndatabase = \"bad\"\nsql = \"SELECT $x\"\n\
                [databases.bad]\nurl = \"postgresql://u@localhost:port/x\"\n\
                [routes.follows]\nkind = \"postgres\"\ndatabase = \"bad\"\nsql = \"SELECT 1\"\n\
                [routes.q]\nkind = \"query\"\nsql = \"SELEC 1\"\n\
                [routes.over]\nkind = \"query\"\nsql = \"SELECT 1 FROM gone\"\n\
                [routes.gone]\nkind = \"table\"\npath = \"no-such-file.csv\"\ncolour = 1\n\
                [routes.wrong]\nkind = \"table\"\npath = \"t.csv\"\nmax_rows = \"many\"\n\
                [routes.over_wrong]\nkind = \"query\"\nsql = \"SELECT 1 FROM wrong\"\n\
                [databases.other]\nurl = 1\n\
                [routes.of_other]\nkind = \"postgres\"\ndatabase = \"other\"\nsql = \"SELECT $y\"\n";
    let said = check(text);
    assert_eq!(said.code, Some(CONFIGURATION), "{said:?}");
    let lines: Vec<_> = said.stderr.lines().collect();
    let expected = [
        (
            ":1: ",
            "routes.b: sql, line 1, column 8: $x is not declared",
        ),
        (
            ":5: ",
            "databases.bad: PostgreSQL: the URL is not understood",
        ),
        (":11: ", "routes.q: sql, line 1, column 1"),
        (":17: ", "no-such-file.csv"),
        (":20: ", "routes.gone: unknown key `colour`"),
        (":24: ", "routes.wrong.max_rows"),
        (":29: ", "databases.other.url"),
        (
            ":30: ",
            "routes.of_other: sql, line 1, column 8: $y is not declared",
        ),
    ];
    assert_eq!(lines.len(), expected.len(), "{}", said.stderr);
    for (line, (place, text)) in lines.iter().zip(expected) {
        assert!(
            line.contains(place) && line.contains(text),
            "{line}: {text}"
        );
    }
}

#[test]
fn an_unknown_key_hides_no_other_error_of_its_section_or_route() {
    let scratch = Scratch::new("unknown");
    fs::write(scratch.join("t.csv"), "a,b\n1,2\n").expect("files can be written");
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:99999\"\nlistne = 3\n[limits]\nclient_stall = 0\n\
         client_min_rate = 1\nmax_clients = 2\n[routes.f]\nkind = \"table\"\npath = {:?}\n\
         colour = 1\n[routes.f.columns.Nope]\ntype = \"text\"\n[routes.q]\nkind = \"query\"\n\
         sql = \"SELECT nothing FROM t\"\nparameters = [{{ name = \"p\", type = \"what\", sort = 1 }}]\n",
        scratch.join("t.csv")
    );
    let said = check(&text);
    assert_eq!(said.code, Some(CONFIGURATION), "{said:?}");
    let expected = [
        (":3: ", "server: unknown key `listne`"),
        (":7: ", "limits: unknown key `max_clients`"),
        (":11: ", "routes.f: unknown key `colour`"),
        (":17: ", "routes.q.parameters: unknown key `sort`"),
        (":2: ", "is no address to listen on"),
        (":6: ", "limits.client_min_rate"),
        (":17: ", "routes.q.parameters.type must be one of"),
        (":8: ", "no column \"Nope\""),
    ];
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{}", said.stderr);
    for (place, text) in expected {
        let is_said = |line: &&&str| line.contains(place) && line.contains(text);
        assert!(
            lines.iter().any(|line| is_said(&line)),
            "{text}: {}",
            said.stderr
        );
    }
}
