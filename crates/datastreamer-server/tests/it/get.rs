//! `datastreamer get`: a file that is complete or visibly not, whatever the server does. `kills.rs`: what a
//! later run finds. `tls.rs`: what only TLS has.

mod kills;
mod tls;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, SHA512, digest};
use serde_json::Value;

use crate::support::nginx::Static;
use crate::support::program::{self, Said};
use crate::support::scratch::Scratch;
use crate::support::scripted::{Ending, Reply, Request, Scripted, Served};
use crate::support::server::Server;
use crate::support::tls::{TlsServer, authority_file};
use crate::support::{noise, tools, wait};

/// Above what is written at once, sent at once and split into parts.
const LENGTH: usize = 5_000_000;

/// What takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A folder, and the program run in it.
pub(crate) struct Folder(Scratch);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(Scratch::new("get"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(&["get"]);
        command.args(arguments).current_dir(self.0.path());
        for variable in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(variable);
            command.env_remove(variable.to_uppercase());
        }
        command
    }

    pub(crate) fn get(&self, arguments: &[&str]) -> Said {
        program::finish(self.command(arguments))
    }

    /// The names of all files, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("a folder");
        let name = |it: fs::DirEntry| it.file_name().into_string().expect("text");
        let mut names: Vec<_> = entries.flatten().map(name).collect();
        names.sort();
        names
    }

    /// Panics unless there is this file and nothing else.
    #[track_caller]
    pub(crate) fn assert_only(&self, name: &str, bytes: &[u8]) {
        assert_eq!(self.names(), [name]);
        assert!(
            fs::read(self.path(name)).expect("a file") == bytes,
            "{name}"
        );
    }
}

fn served(version: u64, etag: &'static str) -> Served {
    Served {
        bytes: Arc::new(noise::bytes(version, LENGTH)),
        etag,
    }
}

fn json(said: &Said) -> Value {
    serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
}

/// Panics if something on standard error is in the words of a library or of the system.
#[track_caller]
fn assert_plain(said: &Said) {
    for word in [
        "hyper",
        "reading a body",
        "chunk size",
        "os error",
        "dns error",
        "tcp connect",
        "HTTP version",
        "stream error",
        "UnknownIssuer",
        "without a base",
        "empty host",
        "set-by",
    ] {
        assert!(!said.stderr.contains(word), "{word:?} in: {}", said.stderr);
    }
}

/// Panics unless the program ended with this code, and said all of `words` on standard error.
#[track_caller]
fn assert_ends(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:?}");
    program::assert_no_backtrace(&said.stderr);
    for word in words {
        assert!(
            said.stderr.contains(word),
            "no {word:?} in: {}",
            said.stderr
        );
    }
}

/// The server breaks its first response; what follows is right.
fn breaks_once(file: Served, bytes: usize, ending: Ending) -> Scripted {
    Scripted::start(move |request| match request.number {
        0 => file.answer(request).cut(bytes, ending),
        _ => file.answer(request),
    })
}

#[test]
fn a_file_arrives_under_its_name_and_nothing_is_left_beside_it() {
    let file = served(0, "\"a\"");
    let bytes = file.bytes.clone();
    let server = Scripted::start(move |request| file.answer(request));
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/a/stars.csv?x=1"), "--json"]);
    said.assert_good();
    folder.assert_only("stars.csv", &bytes);
    let summary = json(&said);
    assert_eq!(summary["file"], "stars.csv");
    assert_eq!(summary["bytes"], LENGTH);
    assert_eq!(summary["sha256"], noise::sha256(LENGTH as u64));
    assert_eq!(summary["etag"], "\"a\"");
    for (name, value) in [("resumed", false), ("verified", false)] {
        assert_eq!(summary[name], value, "{name}");
    }
    assert_eq!(
        (&summary["retries"], &summary["exit"]),
        (&0.into(), &0.into())
    );
    let request = &server.seen()[0];
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("want-repr-digest"), Some("sha-256=10"));
    assert_eq!(
        (request.header("te"), request.header("connection")),
        (Some("trailers"), Some("TE"))
    );
    assert_eq!((request.range(), request.header("if-range")), (None, None));
}

/// Cuts at every 1/64 of 20 MB; `DATASTREAMER_GET_CUTS` says how many instead of 64.
#[test]
fn a_file_that_is_cut_anywhere_is_mended_from_there() {
    const CUT_LENGTH: usize = 20_000_000;
    let cuts = std::env::var("DATASTREAMER_GET_CUTS");
    let cuts: usize = cuts.map_or(64, |text| text.parse().expect("a number"));
    let bytes = Arc::new(noise::bytes(0, CUT_LENGTH));
    let sha256 = noise::sha256(CUT_LENGTH as u64);
    wait::for_all(0..cuts, |cut| {
        let at = CUT_LENGTH / cuts * cut + cut % 7;
        let ending = [Ending::Close, Ending::Reset][cut % 2];
        let file = Served {
            bytes: bytes.clone(),
            etag: "\"a\"",
        };
        let server = breaks_once(file, at, ending);
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f"), "--json", "-q"]);
        said.assert_good();
        assert_eq!(json(&said)["sha256"], sha256.as_str(), "{at}");
        assert_eq!(noise::sha256_of_file(&folder.path("f")), sha256, "{at}");
        assert_eq!(folder.names(), ["f"]);
        let seen = server.seen();
        assert_eq!(seen.len(), 2, "{at}");
        match (at, seen[1].range()) {
            (0, asked) => assert_eq!(asked, None),
            // A reset may throw away what was not read yet.
            (_, asked) => {
                let (from, last) = asked.unwrap_or_else(|| panic!("{at}: {seen:?}"));
                assert!(
                    from == at || (ending == Ending::Reset && from <= at),
                    "{from} {at}"
                );
                assert_eq!((last, seen[1].header("if-range")), (None, Some("\"a\"")));
            }
        }
    });
}

#[test]
fn a_file_that_breaks_again_and_again_is_mended_as_long_as_it_grows() {
    let file = served(0, "\"a\"");
    let bytes = file.bytes.clone();
    let server = Scripted::start(move |request| file.answer(request).cut(400_000, Ending::Close));
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f"), "--retries", "1", "--json"]);
    assert_ends(&said, 0, &["interrupted at 400000 bytes", "resuming"]);
    folder.assert_only("f", &bytes);
    assert_eq!(json(&said)["retries"], server.seen().len() - 1);
}

#[test]
fn a_file_that_never_grows_is_incomplete_and_kept_for_the_next_run() {
    let file = served(0, "\"a\"");
    let (bytes, again) = (file.bytes.clone(), file.clone());
    let server = Scripted::start(move |request| match request.number {
        0 => file.answer(request).cut(1_000_000, Ending::Close),
        _ => file.answer(request).cut(0, Ending::Close),
    });
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f"), "--retries", "2", "--json"]);
    assert_ends(
        &said,
        7,
        &[
            "/f is not complete",
            "f.part has 1000000 bytes for the next run",
        ],
    );
    assert_eq!(server.seen().len(), 3);
    assert_eq!(folder.names(), ["f.part", "f.part.json"]);
    assert_eq!(
        (&json(&said)["bytes"], &json(&said)["exit"]),
        (&1_000_000.into(), &7.into())
    );

    // A URL of another port is another one.
    let other = Scripted::start(move |request| again.answer(request));
    let said = folder.get(&[&other.url("/f"), "--json"]);
    assert_ends(&said, 0, &["f.part is not used: it is of another URL"]);
    assert_eq!(json(&said)["resumed"], false);
    folder.assert_only("f", &bytes);
}

#[test]
fn a_later_run_asks_only_for_what_is_missing() {
    for named in [true, false] {
        let file = served(0, "\"a\"");
        let bytes = file.bytes.clone();
        let server = Scripted::start(move |request| {
            let reply = file.answer(request);
            let reply = match named {
                true => reply.header("Content-Disposition", "attachment; filename=\"named.csv\""),
                false => reply,
            };
            match request.number {
                0 => reply.cut(1_234_567, Ending::Close),
                _ => reply,
            }
        });
        let folder = Folder::new();
        let url = server.url("/f");
        assert_ends(
            &folder.get(&[&url, "--retries", "0"]),
            7,
            &["1234567 bytes"],
        );
        let said = folder.get(&[&url, "--json"]);
        said.assert_good();
        assert_eq!(json(&said)["resumed"], true);
        assert_eq!(server.seen()[1].range(), Some((1_234_567, None)));
        folder.assert_only(if named { "named.csv" } else { "f" }, &bytes);
    }
}

#[test]
fn nothing_is_resumed_if_the_user_says_so() {
    let file = served(0, "\"a\"");
    let bytes = file.bytes.clone();
    let server = breaks_once(file, 1_000_000, Ending::Close);
    let folder = Folder::new();
    assert_eq!(
        folder.get(&[&server.url("/f"), "--retries", "0"]).code,
        Some(7)
    );
    folder
        .get(&[&server.url("/f"), "--no-resume"])
        .assert_good();
    assert_eq!(server.seen()[1].range(), None);
    folder.assert_only("f", &bytes);
}

#[test]
fn a_file_that_has_changed_is_never_spliced() {
    let (old, new) = (served(0, "\"a\""), served(7, "\"b\""));
    let bytes = new.bytes.clone();
    let server = Scripted::start(move |request| match request.number {
        0 => old.answer(request).cut(2_000_000, Ending::Close),
        _ => new.answer(request),
    });
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f"), "--json"]);
    assert_ends(
        &said,
        0,
        &["starting over: the file has changed on the server"],
    );
    folder.assert_only("f", &bytes);
    assert_eq!(json(&said)["etag"], "\"b\"");
    assert_eq!(server.seen().len(), 2, "the 200 is used");
}

#[test]
fn an_answer_that_does_not_fit_is_never_appended() {
    type Change = fn(&Served, usize) -> Reply;
    let answers: [(&str, Change); 9] = [
        ("another begin", |file, from| {
            Reply::new("206 Partial Content")
                .header(
                    "Content-Range",
                    &format!("bytes {}-{}/{LENGTH}", from - 1, LENGTH - 1),
                )
                .header("ETag", file.etag)
                .body(&file.bytes[from - 1..])
        }),
        ("another length", |file, from| {
            Reply::new("206 Partial Content")
                .header(
                    "Content-Range",
                    &format!("bytes {from}-{LENGTH}/{}", LENGTH + 1),
                )
                .header("ETag", file.etag)
                .body(&[&file.bytes[from..], b"x"].concat())
        }),
        ("another tag", |file, from| {
            Reply::new("206 Partial Content")
                .header(
                    "Content-Range",
                    &format!("bytes {from}-{}/{LENGTH}", LENGTH - 1),
                )
                .header("ETag", "\"b\"")
                .body(&file.bytes[from..])
        }),
        ("no tag", |file, from| {
            Reply::new("206 Partial Content")
                .header(
                    "Content-Range",
                    &format!("bytes {from}-{}/{LENGTH}", LENGTH - 1),
                )
                .body(&file.bytes[from..])
        }),
        ("no range", |file, from| {
            Reply::new("206 Partial Content")
                .header("ETag", file.etag)
                .body(&file.bytes[from..])
        }),
        ("a length that contradicts", |file, from| {
            Reply::new("206 Partial Content")
                .header(
                    "Content-Range",
                    &format!("bytes {from}-{}/{LENGTH}", LENGTH - 1),
                )
                .header("ETag", file.etag)
                .body(&file.bytes[from + 1..])
        }),
        ("412", |_, _| {
            Reply::new("412 Precondition Failed").body(b"")
        }),
        ("416 of another length", |file, _| {
            Reply::new("416 Range Not Satisfiable")
                .header("Content-Range", "bytes */3")
                .header("ETag", file.etag)
                .body(b"")
        }),
        ("200", |file, _| {
            Reply::new("200 OK")
                .header("ETag", file.etag)
                .body(&file.bytes)
        }),
    ];
    wait::for_all(answers, |(what, change)| {
        let file = served(0, "\"a\"");
        let bytes = file.bytes.clone();
        let server = Scripted::start(move |request| match (request.number, request.range()) {
            (0, _) => file.answer(request).cut(1_500_000, Ending::Close),
            (_, Some((from, _))) => change(&file, from),
            (_, None) => file.answer(request),
        });
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f")]);
        assert_ends(&said, 0, &["starting over: "]);
        folder.assert_only("f", &bytes);
        let asked: Vec<bool> = server
            .seen()
            .iter()
            .map(|it| it.range().is_some())
            .collect();
        match what {
            "200" => assert_eq!(asked, [false, true]),
            // Once: no more ranges are asked for.
            _ => assert_eq!(asked, [false, true, false], "{what}"),
        }
    });
}

#[test]
fn a_part_in_chunks_that_ends_early_is_not_complete() {
    let file = served(0, "\"a\"");
    let bytes = file.bytes.clone();
    let server = Scripted::start(move |request| match request.range() {
        None => file.answer(request).cut(1_000_000, Ending::Close),
        Some((from, _)) => {
            let end = (from + 900_000).min(LENGTH);
            Reply::new("206 Partial Content")
                .header(
                    "Content-Range",
                    &format!("bytes {from}-{}/{LENGTH}", LENGTH - 1),
                )
                .header("ETag", file.etag)
                .chunked(&file.bytes[from..end], "")
        }
    });
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f")]);
    assert_ends(&said, 0, &["interrupted at 1900000 bytes"]);
    folder.assert_only("f", &bytes);
}

#[test]
fn a_length_that_is_told_late_and_a_range_behind_the_end_complete_a_file() {
    // The chunks are all there, but not their end.
    let bytes = noise::bytes(0, 100_000);
    let whole = bytes.clone();
    let server = Scripted::start(move |request| match request.range() {
        None => {
            let all = Reply::new("200 OK")
                .header("ETag", "\"a\"")
                .chunked(&bytes, "");
            all.cut(100_000 + 2 * 8, Ending::Close)
        }
        Some(_) => Served {
            bytes: Arc::new(bytes.clone()),
            etag: "\"a\"",
        }
        .answer(request),
    });
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f")]);
    assert_ends(&said, 0, &["interrupted at 100000 bytes"]);
    assert_eq!(server.seen()[1].range(), Some((100_000, None)));
    folder.assert_only("f", &whole);
}

#[test]
fn without_a_strong_validator_nothing_is_resumed() {
    let old = "Sun, 29 Nov 2026 12:00:00 GMT";
    for (etag, modified, resumes) in [
        (Some("W/\"a\""), None, false),
        (Some("W/\"a\""), Some(old), false),
        (None, None, false),
        (None, Some("Sun, 29 Nov 2026 12:59:30 GMT"), false),
        (None, Some(old), true),
    ] {
        let bytes = noise::bytes(0, LENGTH);
        let whole = bytes.clone();
        let server = Scripted::start(move |request| {
            let reply = match request.range() {
                Some((from, _)) => {
                    let range = format!("bytes {from}-{}/{LENGTH}", LENGTH - 1);
                    let part = Reply::new("206 Partial Content").header("Content-Range", &range);
                    part.body(&bytes[from..])
                }
                None => Reply::new("200 OK").body(&bytes),
            };
            let reply = reply.header("Date", "Sun, 29 Nov 2026 13:00:00 GMT");
            let reply = etag
                .into_iter()
                .fold(reply, |it, tag| it.header("ETag", tag));
            let reply = modified
                .into_iter()
                .fold(reply, |it, date| it.header("Last-Modified", date));
            match request.number {
                0 => reply.cut(2_000_000, Ending::Close),
                _ => reply,
            }
        });
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f")]);
        let words = if resumes { "resuming" } else { "starting over" };
        assert_ends(&said, 0, &[words]);
        folder.assert_only("f", &whole);
        let second = &server.seen()[1];
        assert_eq!(second.range().is_some(), resumes, "{etag:?} {modified:?}");
        assert_eq!(second.header("if-range"), resumes.then_some(old));
    }
}

#[test]
fn truncation_is_seen_in_every_framing_of_http_1() {
    let bytes = noise::bytes(0, 200_000);
    let ok = || Reply::new("200 OK");
    let truncated = [
        ok().body(&bytes).cut(199_999, Ending::Close),
        ok().body(&bytes).cut(100_000, Ending::Reset),
        ok().chunked(&bytes, "").cut(150_000, Ending::Close),
        ok().chunked(&bytes, "").cut(200_000 + 4 * 8, Ending::Close),
        ok().chunked(&bytes, "")
            .cut(200_000 + 4 * 8 + 4, Ending::Close),
        ok().closed(&bytes).cut(100_000, Ending::Reset),
        ok().body(&bytes).cut(0, Ending::Close),
    ];
    for (number, reply) in truncated.into_iter().enumerate() {
        let server = Scripted::start(move |_| reply.clone());
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f"), "--retries", "0"]);
        said.assert_refused(7, &["/f is not complete"]);
        assert!(folder.names().is_empty(), "{number}: {:?}", folder.names());
    }
    for (reply, code) in [
        (ok().body(&bytes), 0),
        (ok().chunked(&bytes, ""), 0),
        (ok().closed(&bytes), 10),
        (ok().body(b""), 0),
    ] {
        let server = Scripted::start(move |_| reply.clone());
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f"), "--retries", "0"]);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert_eq!(folder.names(), ["f"]);
    }
}

#[test]
fn a_body_that_breaks_off_says_how_and_how_far_it_came() {
    let bytes = noise::bytes(0, 200_000);
    let ok = || Reply::new("200 OK");
    let chunk = [
        b"c350\r\n".as_slice(),
        &bytes[..50_000],
        b"\r\nffffffffffffffffffff\r\n",
    ]
    .concat();
    let ended = "the connection ended in the middle of the file after";
    for (reply, words) in [
        (
            ok().body(&bytes).cut(100_000, Ending::Close),
            format!("{ended} 100000 of 200000 bytes"),
        ),
        (
            ok().body(&bytes).cut(0, Ending::Close),
            format!("{ended} 0 of 200000 bytes"),
        ),
        // In the first chunk, and where the size of the second one would be.
        (
            ok().chunked(&bytes, "").cut(6 + 40_000, Ending::Close),
            format!("{ended} 40000 bytes"),
        ),
        (
            ok().chunked(&bytes, "").cut(6 + 50_002, Ending::Close),
            format!("{ended} 50000 bytes"),
        ),
        (
            ok().body(&bytes).cut(100_000, Ending::Reset),
            "the connection was reset after".into(),
        ),
        (
            ok().header("Transfer-Encoding", "chunked").closed(&chunk),
            "the server broke the transfer off after 50000 bytes".into(),
        ),
        (
            ok().body(&bytes).cut(50_000, Ending::Stall),
            "nothing came for 0.5 s after 50000 of 200000 bytes".into(),
        ),
    ] {
        let server = Scripted::start(move |_| reply.clone());
        let folder = Folder::new();
        let arguments = ["--retries", "0", "--timeout", "0.5"];
        let said = folder.get(&[&[&*server.url("/f")], &arguments[..]].concat());
        said.assert_refused(7, &[&server.url("/f"), "/f is not complete: ", &words]);
        assert_plain(&said);
    }
}

#[test]
fn the_reason_of_the_receipt_is_said_when_a_file_is_given_up() {
    let bytes = noise::bytes(0, 200_000);
    let receipt = |state: &str, outcome: &str| {
        let reason = r#""row 7\nis wrong""#;
        format!(r#"{{"state":"{state}","outcome":"{outcome}","reason":{reason}}}"#)
    };
    for (receipt, is_said) in [
        (Some(receipt("failed", "source_error")), true),
        (Some(receipt("cancelled", "cancelled")), true),
        (Some(receipt("failed", "client_gone")), false),
        (Some(receipt("running", "")), false),
        (Some(r#"{"state":"failed","reason":null}"#.into()), false),
        (Some("<html>".into()), false),
        (None, false),
    ] {
        let whole = bytes.clone();
        let server = Scripted::start(move |request| match (&*request.target, &receipt) {
            ("/f", _) => Reply::new("200 OK")
                .header("Link", "</transfers/1>; rel=\"status\"")
                .body(&whole)
                .cut(1000, Ending::Close),
            (_, Some(text)) => Reply::new("200 OK").body(text.as_bytes()),
            _ => Reply::new("404 Not Found").body(b""),
        });
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f"), "--retries", "1"]);
        assert_ends(&said, 7, &["/f is not complete: the connection ended"]);
        let reason = r"; the server says: row 7\nis wrong";
        let times = said.stderr.matches(reason).count();
        assert_eq!(times, usize::from(is_said), "{said:?}");
        // Not before it gives up.
        let seen = server.seen();
        let targets: Vec<&str> = seen.iter().map(|it| &*it.target).collect();
        assert_eq!(targets[..3], ["/f", "/f", "/transfers/1"]);
        assert!(folder.names().is_empty());
    }
}

#[test]
fn no_other_server_is_asked_why_a_file_is_not_complete() {
    let other = Scripted::start(|_| {
        Reply::new("200 OK").body(br#"{"state":"failed","reason":"of another server"}"#)
    });
    let link = format!("<{}>; rel=status", other.url("/transfers/1"));
    let server = Scripted::start(move |_| {
        let reply = Reply::new("200 OK").header("Link", &link);
        reply.body(&[0; 2000]).cut(1000, Ending::Close)
    });
    let said = Folder::new().get(&[&server.url("/f"), "--retries", "0"]);
    said.assert_refused(7, &["after 1000 of 2000 bytes"]);
    assert!(!said.stderr.contains("another server"), "{said:?}");
    assert!(other.seen().is_empty());
}

#[test]
fn a_server_that_says_nothing_is_left_and_asked_again() {
    let file = served(0, "\"a\"");
    let bytes = file.bytes.clone();
    let server = breaks_once(file, 3_000_000, Ending::Stall);
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f"), "--timeout", "0.5"]);
    assert_ends(
        &said,
        0,
        &["interrupted at 3000000 bytes: nothing came for 0.5 s"],
    );
    folder.assert_only("f", &bytes);
}

#[test]
fn a_server_that_thinks_for_too_long_is_left() {
    let server = Scripted::start(|_| Reply::new("200 OK").body(b"").cut(0, Ending::Stall));
    let thinks = Scripted::start(|_| {
        std::thread::sleep(Duration::from_secs(20));
        Reply::new("200 OK").body(b"")
    });
    let folder = Folder::new();
    // An empty file needs nothing more.
    folder.get(&[&server.url("/f")]).assert_good();
    let said = folder.get(&[
        &thinks.url("/g"),
        "--head-timeout",
        "0.2",
        "--retries",
        "1",
        "-q",
    ]);
    said.assert_refused(7, &["/g", "has not answered in 0.2 s"]);
    assert_eq!(thinks.seen().len(), 2);
}

fn field(algorithm: &'static ring::digest::Algorithm, bytes: &[u8]) -> String {
    let name = if algorithm == &SHA256 {
        "sha-256"
    } else {
        "sha-512"
    };
    format!("{name}=:{}:", STANDARD.encode(digest(algorithm, bytes)))
}

#[test]
fn the_digest_of_the_server_decides_wherever_it_stands() {
    let bytes = noise::bytes(0, 300_000);
    let (good, wrong) = (field(&SHA256, &bytes), field(&SHA256, b"other"));
    let (good_512, wrong_512) = (field(&SHA512, &bytes), field(&SHA512, b"other"));
    let head = |value: &str| {
        Reply::new("200 OK")
            .header("Repr-Digest", value)
            .body(&bytes)
    };
    let trailer =
        |value: &str| Reply::new("200 OK").chunked(&bytes, &format!("Repr-Digest: {value}\r\n"));
    for (reply, code, verified) in [
        (head(&good), 0, true),
        (head(&wrong), 8, false),
        (head(&good_512), 0, true),
        (head(&wrong_512), 8, false),
        (head(&format!("{good}, {wrong_512}")), 8, false),
        (head("md5=:AAAA:, crc32c=:AAAA:"), 0, false),
        (trailer(&good), 0, true),
        (trailer(&wrong), 8, false),
        (trailer(&wrong_512), 8, false),
        // What proves the bytes also proves the end.
        (
            Reply::new("200 OK")
                .header("Repr-Digest", &good)
                .closed(&bytes),
            0,
            true,
        ),
        (
            Reply::new("200 OK")
                .header("Repr-Digest", &good)
                .closed(&bytes[1..]),
            8,
            false,
        ),
    ] {
        let server = Scripted::start(move |_| reply.clone());
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f"), "--json"]);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert_eq!(json(&said)["verified"], verified);
        match code {
            8 => {
                assert_ends(&said, 8, &["the sha-", "f.part was removed"]);
                assert!(folder.names().is_empty());
            }
            _ => folder.assert_only("f", &bytes),
        }
    }
}

#[test]
fn the_digest_of_the_receipt_is_asked_for_if_there_is_no_other() {
    let bytes = noise::bytes(0, 300_000);
    let encoded = |bytes: &[u8]| STANDARD.encode(digest(&SHA256, bytes));
    let receipt = |state: &str, bytes: &[u8]| {
        let text = encoded(bytes);
        format!("{{\"state\":\"{state}\",\"digests\":{{\"sha-256\":\"{text}\"}}}}")
    };
    for (receipt, code, verified) in [
        (Some(receipt("complete", &bytes)), 0, true),
        (Some(receipt("complete", b"other")), 8, false),
        (Some(receipt("running", b"other")), 0, false),
        (Some("<html>".into()), 0, false),
        (None, 0, false),
    ] {
        let whole = bytes.clone();
        let server = Scripted::start(move |request| match (&*request.target, &receipt) {
            ("/f", _) => Reply::new("200 OK")
                .header("Link", "</transfers/1>; rel=\"status\"")
                .body(&whole),
            (_, Some(text)) => Reply::new("200 OK").body(text.as_bytes()),
            _ => Reply::new("404 Not Found").body(b""),
        });
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f"), "--json"]);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert_eq!(json(&said)["verified"], verified);
        assert_eq!(server.seen()[1].target, "/transfers/1");
    }
}

#[test]
fn rows_that_may_be_cut_are_exit_code_10() {
    let head = |limit: &str| {
        Reply::new("200 OK")
            .header("Datastreamer-Row-Limit", limit)
            .header("Link", "</transfers/1>; rel=\"status\"")
    };
    let receipt = |capped: &str| Some(format!("{{\"state\":\"complete\",\"capped\":{capped}}}"));
    let limit = "1000; set-by=request";
    let cut = "its rows are cut: it has 1000 ";
    let may = "its rows may be cut: the request has set a limit of 1000 rows, and ";
    for (reply, receipt, doubt) in [
        (head("1000 of 2000").body(b"rows"), None, Some(cut)),
        (
            head("1000 of 2000; set-by=server").body(b"rows"),
            None,
            Some("its rows are cut: it has 1000 of 2000 rows; the server has set the limit"),
        ),
        (head("1000 of more").body(b"rows"), None, Some(cut)),
        // A receipt of another transfer, which a proxy kept, changes nothing about what is known.
        (
            head("1000 of more").body(b"rows"),
            receipt("false"),
            Some(cut),
        ),
        (
            head(limit).chunked(b"rows", "Datastreamer-Row-Limit: 1000 of more\r\n"),
            None,
            Some(cut),
        ),
        (
            Reply::new("200 OK").chunked(b"rows", "Datastreamer-Row-Limit: 1000 of more\r\n"),
            None,
            Some(cut),
        ),
        // No trailer: there is none, or whoever passed it on has removed it.
        (head(limit).chunked(b"rows", ""), receipt("false"), None),
        (head(limit).chunked(b"rows", ""), receipt("true"), Some(cut)),
        (head(limit).chunked(b"rows", ""), receipt("null"), Some(may)),
        (head(limit).chunked(b"rows", ""), None, Some(may)),
        (head(limit).body(b"rows"), None, Some(may)),
    ] {
        let server = Scripted::start(move |request| match (&*request.target, &receipt) {
            ("/f", _) => reply.clone(),
            (_, Some(text)) => Reply::new("200 OK").body(text.as_bytes()),
            _ => Reply::new("404 Not Found").body(b""),
        });
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f")]);
        match doubt {
            Some(doubt) => said.assert_refused(10, &["f was written", "1000", doubt]),
            None => said.assert_good(),
        }
        assert_plain(&said);
        folder.assert_only("f", b"rows");
    }
}

#[test]
fn a_file_that_is_coded_all_the_same_is_refused() {
    let server = Scripted::start(|_| {
        Reply::new("200 OK")
            .header("Content-Encoding", "gzip")
            .body(b"\x1f\x8b")
    });
    let folder = Folder::new();
    folder
        .get(&[&server.url("/f")])
        .assert_refused(5, &["gzip"]);
    assert!(folder.names().is_empty());
}

#[test]
fn a_refusal_is_an_exit_code_and_what_the_server_says_about_it() {
    for (status, code) in [
        ("401 Unauthorized", 4),
        ("403 Forbidden", 4),
        ("407 Proxy Authentication Required", 4),
        ("404 Not Found", 5),
        ("410 Gone", 5),
        ("500 Internal Server Error", 5),
        ("202 Accepted", 5),
        ("206 Partial Content", 5),
        ("502 Bad Gateway", 5),
        ("503 Service Unavailable", 6),
        ("429 Too Many Requests", 6),
    ] {
        let problem = "{\"title\":\"No \\u001b[31mway\",\"detail\":\"because\\nof this\"}";
        let server = Scripted::start(move |_| {
            Reply::new(status)
                .header("Content-Type", "application/problem+json")
                .body(problem.as_bytes())
        });
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f"), "--retries", "1", "-q"]);
        let words = [&status[..3], "No \\u{1b}[31mway: because\\nof this", "/f"];
        said.assert_refused(code, &words);
        assert!(folder.names().is_empty(), "{status}");
        let is_retried = matches!(&status[..3], "502" | "503" | "429");
        assert_eq!(server.seen().len(), 1 + usize::from(is_retried), "{status}");
    }
}

#[test]
fn a_title_that_says_the_status_again_is_left_out_and_so_are_credentials() {
    let server = Scripted::start(|_| {
        Reply::new("404 Not Found")
            .header("Content-Type", "application/problem+json")
            .body(br#"{"title":"Not Found","detail":"there is no /f"}"#)
    });
    let with_user = server.url("/f").replace("http://", "http://me:secret@");
    let said = Folder::new().get(&[&with_user]);
    let words = format!(
        "{}: the server answers 404 Not Found: there is no /f",
        server.url("/f")
    );
    said.assert_refused(5, &[&words]);
    assert!(!said.stderr.contains("secret"), "{said:?}");
}

#[test]
fn an_endless_problem_is_cut() {
    let server = Scripted::start(|_| {
        let text = format!("{{\"detail\":\"{}", "x".repeat(3_000_000));
        Reply::new("404 Not Found")
            .header("Content-Type", "application/problem+json")
            .closed(text.as_bytes())
    });
    let said = Folder::new().get(&[&server.url("/f")]);
    said.assert_refused(5, &["404"]);
    assert!(said.stderr.len() < 3000);
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let server = Scripted::start(|request| match request.number {
        0 => Reply::new("503 Service Unavailable")
            .header("Retry-After", "1")
            .body(b""),
        1 => Reply::new("429 Too Many Requests").body(b""),
        _ => Reply::new("200 OK").body(b"there"),
    });
    let folder = Folder::new();
    let began = Instant::now();
    assert_ends(
        &folder.get(&[&server.url("/f")]),
        0,
        &["503", "trying again in 1."],
    );
    assert!(began.elapsed() >= Duration::from_secs(1));
    folder.assert_only("f", b"there");

    let server = Scripted::start(|_| {
        Reply::new("503 Service Unavailable")
            .header("Retry-After", "86400")
            .body(b"")
    });
    Folder::new()
        .get(&[&server.url("/f")])
        .assert_refused(6, &["503", "Retry-After: 86400 s"]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_refusal_in_mid_file_keeps_what_is_there() {
    let file = served(0, "\"a\"");
    let server = Scripted::start(move |request| match request.number {
        0 => file.answer(request).cut(1_000_000, Ending::Close),
        _ => Reply::new("403 Forbidden").body(b""),
    });
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f")]);
    assert_ends(&said, 4, &["403", "f.part has 1000000 bytes"]);
    assert_eq!(folder.names(), ["f.part", "f.part.json"]);
}

#[test]
fn redirects_are_followed_and_other_hosts_learn_no_secrets() {
    let target = Scripted::start(|_| Reply::new("200 OK").body(b"there"));
    let url = target.url("/b/stars.csv");
    let server = Scripted::start(move |request| match &*request.target {
        "/f" => Reply::new("302 Found").header("Location", "g?x").body(b""),
        _ => Reply::new("307 Temporary Redirect")
            .header("Location", &url)
            .body(b""),
    });
    let folder = Folder::new();
    let with_user = server.url("/f").replace("http://", "http://me:p%40ss@");
    let headers = ["-H", "X-Token: secret", "-H", "Accept: text/csv"];
    folder
        .get(&[&[&*with_user], &headers[..]].concat())
        .assert_good();
    folder.assert_only("stars.csv", b"there");
    let basic = format!("Basic {}", STANDARD.encode("me:p@ss"));
    for request in server.seen() {
        assert_eq!(request.header("authorization"), Some(&*basic));
        assert_eq!(request.header("x-token"), Some("secret"));
    }
    let request = &target.seen()[0];
    assert_eq!(
        (request.header("authorization"), request.header("x-token")),
        (None, None)
    );
    assert_eq!(request.header("accept"), Some("text/csv"));
}

#[test]
fn redirects_that_lead_nowhere_are_refused() {
    for (location, words) in [
        (Some("/f"), "more than 10 redirects"),
        (Some("ftp://host/f"), "ftp://host/f is not followed"),
        (Some("http://"), "a redirect to http://"),
        (None, "without a Location"),
    ] {
        let server = Scripted::start(move |_| {
            let reply = Reply::new("302 Found");
            let reply = location
                .into_iter()
                .fold(reply, |it, to| it.header("Location", to));
            reply.body(b"")
        });
        Folder::new()
            .get(&[&server.url("/f")])
            .assert_refused(5, &[words]);
        assert!(server.seen().len() <= 11);
    }
}

#[test]
fn the_name_of_the_server_is_a_name_in_this_folder() {
    let server = Scripted::start(|_| {
        Reply::new("200 OK")
            .header(
                "Content-Disposition",
                "attachment; filename=\"x\"; filename*=UTF-8''..%2F..%2F.caf%C3%A9",
            )
            .body(b"there")
    });
    let folder = Folder::new();
    folder.get(&[&server.url("/f")]).assert_good();
    folder.assert_only("caf\u{e9}", b"there");
}

#[test]
fn a_file_that_is_there_is_kept_unless_forced() {
    let server = Scripted::start(|_| Reply::new("200 OK").body(b"new"));
    let folder = Folder::new();
    fs::write(folder.path("f"), "old").expect("files can be written");
    for arguments in [&[][..], &["-o", "f"]] {
        let said = folder.get(&[&[&*server.url("/f")], arguments].concat());
        said.assert_refused(3, &["f is there already", "--force"]);
        folder.assert_only("f", b"old");
    }
    assert_eq!(
        server.seen().len(),
        1,
        "a name that is given is checked before"
    );
    folder.get(&[&server.url("/f"), "--force"]).assert_good();
    folder.assert_only("f", b"new");
    let said = folder.get(&[&server.url("/f"), "-o", "."]);
    said.assert_refused(3, &["is a folder"]);
    let said = folder.get(&[&server.url("/f"), "-o", "no/such/folder"]);
    said.assert_refused(3, &["no/such/folder.part"]);
}

#[test]
fn what_is_in_the_place_of_the_unfinished_file_is_named() {
    let server = Scripted::start(|_| Reply::new("200 OK").body(b"new"));
    let url = server.url("/f");
    let folder = Folder::new();
    symlink("elsewhere", folder.path("f.part")).expect("links can be made");
    for arguments in [&[&*url][..], &[&url, "-o", "f"], &[&url, "--force"]] {
        let said = folder.get(arguments);
        said.assert_refused(3, &["f.part is a symbolic link, ", "remove it", "--output"]);
        assert_plain(&said);
        assert_eq!(folder.names(), ["f.part"]);
    }
    let folder = Folder::new();
    fs::create_dir(folder.path("f.part")).expect("folders can be made");
    let said = folder.get(&[&url, "-o", "f"]);
    said.assert_refused(3, &["f.part is a folder, "]);
    assert_plain(&said);
    assert_eq!(folder.names(), ["f.part"]);
}

#[test]
fn the_second_of_two_downloads_of_a_file_is_refused() {
    let file = served(0, "\"a\"");
    let bytes = file.bytes.clone();
    let server = Scripted::start(move |request| {
        file.answer(request)
            .pace(500_000, Duration::from_millis(100))
    });
    let folder = Folder::new();
    let mut first = folder
        .command(&[&server.url("/f"), "-q"])
        .spawn()
        .expect("it starts");
    wait::until("it has begun", LIMIT, || folder.names() == ["f.part"]);
    for arguments in [&[][..], &["-o", "f"], &["--force"]] {
        let said = folder.get(&[&[&*server.url("/f")], arguments].concat());
        said.assert_refused(1, &["another process is downloading f"]);
    }
    let status = wait::for_exit(&mut first, LIMIT).expect("it ends");
    assert!(status.success());
    folder.assert_only("f", &bytes);
}

#[test]
fn standard_output_gets_the_bytes_and_is_never_taken_back() {
    let file = served(0, "\"a\"");
    let bytes = file.bytes.clone();
    let broken = breaks_once(file.clone(), 1_000_000, Ending::Close);
    let server = Scripted::start(move |request| file.answer(request));
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f"), "-o", "-"]);
    said.assert_good();
    assert!(said.stdout == *bytes);
    let said = folder.get(&[&broken.url("/f"), "-o", "-"]);
    said.assert_refused(7, &["is not complete"]);
    // What was under way when the server closed may be lost.
    assert!(said.stdout.len() <= 1_000_000 && bytes.starts_with(&said.stdout));
    assert!(folder.names().is_empty());
    folder
        .get(&[&server.url("/f"), "-o", "-", "--json"])
        .assert_ends_with_usage();

    let mut bash = tools::program("bash");
    let program = program::command(&[]).get_program().to_owned();
    bash.args([
        "-c",
        "\"$get\" get \"$url\" -o - | head -c 10; echo ${PIPESTATUS[@]} >&2",
    ])
    .env("get", program)
    .env("url", server.url("/f"));
    let said = program::finish(bash);
    assert_eq!((said.stdout.len(), said.stderr.as_str()), (10, "141 0\n"));
}

impl Said {
    #[track_caller]
    fn assert_ends_with_usage(&self) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.stderr.contains("Usage:"), "{self:?}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_exit_code_2() {
    let folder = Folder::new();
    for arguments in [
        &[][..],
        &["ftp://host/f"],
        &["host/f"],
        &["http://"],
        &["http://h/f", "-x", "17"],
        &["http://h/f", "-H", "no colon"],
        &["http://h/f", "-H", "Range: bytes=0-"],
        &["http://h/f", "--timeout", "0"],
        &["http://h/f", "-q", "-v"],
    ] {
        assert_eq!(folder.get(arguments).code, Some(2), "{arguments:?}");
    }
    let said = folder.get(&["https://127.0.0.1:9/f", "--ca-file", "none.pem"]);
    said.assert_refused(3, &["none.pem"]);
}

#[test]
fn what_is_wrong_with_a_url_is_said() {
    let folder = Folder::new();
    for (argument, words) in [
        (
            "host/stars.vot",
            "write http:// or https:// before it, for example http://host/stars.vot",
        ),
        (
            "localhost:8080/x",
            "write http:// or https:// before it, for example http://localhost:8080/x",
        ),
        (
            "127.0.0.1:8080/x",
            "write http:// or https:// before it, for example http://127.0.0.1:8080/x",
        ),
        ("ftp://host/1", "ftp is neither http nor https"),
        ("mailto:me@host", "mailto is neither http nor https"),
        ("http://", "it has no host"),
        ("http://host:99999/", "its port is no number up to 65535"),
    ] {
        let said = folder.get(&[argument]);
        assert_ends(&said, 2, &[argument, words]);
        assert_plain(&said);
    }
}

/// Answers one request with these bytes; returns the URL of a file.
fn answers_once(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let lines = BufReader::new(&client).lines().map_while(Result::ok);
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        client.write_all(bytes).expect("it waits");
    });
    format!("http://127.0.0.1:{port}/f")
}

#[test]
fn what_answers_without_http_is_named_and_not_asked_again() {
    let url = answers_once(b"SSH-2.0-OpenSSH_9.6\r\n");
    let said = Folder::new().get(&[&url]);
    said.assert_refused(7, &[&format!("{url}: what answers is no HTTP server")]);
    assert_plain(&said);
    // Part of a head.
    let url = answers_once(b"HTTP/1.1 200 OK\r\nContent-");
    let said = Folder::new().get(&[&url, "--retries", "0"]);
    said.assert_refused(
        7,
        &[&url, "the connection was closed before the server answered"],
    );
    assert_plain(&said);
}

#[test]
fn a_host_that_is_not_there_is_said_at_once() {
    let folder = Folder::new();
    let began = Instant::now();
    let said = folder.get(&["http://127.0.0.1:9/f"]);
    let words = "http://127.0.0.1:9/f cannot be downloaded: 127.0.0.1:9 refuses connections";
    said.assert_refused(7, &[words]);
    assert_plain(&said);
    let said = folder.get(&["http://no-such-host.invalid/f"]);
    said.assert_refused(7, &["the host no-such-host.invalid cannot be found: "]);
    assert_plain(&said);
    let mut command = folder.command(&["http://host/f"]);
    command.env("http_proxy", "http://127.0.0.1:9");
    let said = program::finish(command);
    said.assert_refused(7, &["the proxy http://127.0.0.1:9/ refuses connections"]);
    assert_plain(&said);
    assert!(began.elapsed() < Duration::from_secs(15));
    assert!(folder.names().is_empty());
}

#[test]
fn a_disk_that_is_full_leaves_no_file_that_looks_complete() {
    let file = served(0, "\"a\"");
    let server = Scripted::start(move |request| file.answer(request));
    let folder = Folder::new();
    let mut bash = folder.command(&[]);
    let program = bash.get_program().to_owned();
    bash = tools::program("bash");
    bash.args([
        "-c",
        "trap '' XFSZ; ulimit -f 1000; exec \"$get\" get \"$url\" -q",
    ])
    .env("get", program)
    .env("url", server.url("/f"))
    .current_dir(folder.path(""));
    let said = program::finish(bash);
    said.assert_refused(7, &["f.part", "cannot be written"]);
    assert!(
        !folder.names().contains(&"f".to_owned()),
        "{:?}",
        folder.names()
    );
}

/// Answers as it should, and notes which ranges were asked for.
fn parallel(length: usize) -> (Scripted, Arc<Vec<u8>>) {
    let file = Served {
        bytes: Arc::new(noise::bytes(0, length)),
        etag: "\"a\"",
    };
    let bytes = file.bytes.clone();
    let server = Scripted::start(move |request| {
        file.answer(request)
            .pace(200_000, Duration::from_millis(30))
    });
    (server, bytes)
}

#[test]
fn parts_are_fetched_at_once_without_a_head_request() {
    let (server, bytes) = parallel(20_000_000);
    let folder = Folder::new();
    let began = Instant::now();
    folder
        .get(&[&server.url("/f"), "-x", "4", "-q"])
        .assert_good();
    let parallel = began.elapsed();
    folder.assert_only("f", &bytes);
    let seen = server.seen();
    assert!(seen.len() >= 4, "{seen:?}");
    assert_eq!(seen[0].range(), None);
    for request in &seen[1..] {
        assert!(request.range().is_some());
        assert_eq!(request.header("if-range"), Some("\"a\""));
    }
    // 100 pauses of 30 ms: one after the other they take three seconds on any machine.
    assert!(parallel < Duration::from_millis(2900), "{parallel:?}");
}

#[test]
fn parts_that_break_are_mended_each_for_itself() {
    let file = Served {
        bytes: Arc::new(noise::bytes(0, 20_000_000)),
        etag: "\"a\"",
    };
    let bytes = file.bytes.clone();
    let server = Scripted::start(move |request| {
        let reply = file.answer(request);
        match request.number % 3 {
            0 => reply.cut(1_500_000, Ending::Reset),
            1 => reply.cut(700_000, Ending::Close),
            _ => reply,
        }
    });
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f"), "-x", "8", "-q"]);
    said.assert_good();
    folder.assert_only("f", &bytes);
}

#[test]
fn a_part_of_another_version_starts_the_file_over() {
    let (old, new) = (served(0, "\"a\""), served(7, "\"b\""));
    let bytes = new.bytes.clone();
    let slowly = |reply: Reply| reply.pace(100_000, Duration::from_millis(20));
    let server = Scripted::start(move |request| match request.number {
        0 => slowly(old.answer(request)),
        _ => new.answer(request),
    });
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f"), "-x", "4"]);
    assert_ends(
        &said,
        0,
        &["starting over: the file has changed on the server"],
    );
    folder.assert_only("f", &bytes);
}

#[test]
fn connections_that_the_server_refuses_are_done_without() {
    let file = served(0, "\"a\"");
    let bytes = file.bytes.clone();
    let server = Scripted::start(move |request| match request.number {
        0 => file
            .answer(request)
            .pace(200_000, Duration::from_millis(20)),
        // Two for a client, and no third; the second breaks once.
        1 => file.answer(request).cut(500_000, Ending::Close),
        2..=3 => Reply::new("403 Forbidden").body(b""),
        _ => file.answer(request),
    });
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f"), "-x", "4", "-v"]);
    assert_ends(&said, 0, &["one connection less: ", "403"]);
    folder.assert_only("f", &bytes);
}

#[test]
fn a_file_that_always_changes_is_exit_code_9() {
    const TAGS: [&str; 40] = {
        let mut tags = ["\"even\""; 40];
        let mut at = 1;
        while at < 40 {
            tags[at] = "\"odd\"";
            at += 2;
        }
        tags
    };
    let server = Scripted::start(|request: &Request| {
        let file = served(request.number as u64, TAGS[request.number]);
        file.answer(request).cut(1_000_000, Ending::Close)
    });
    let folder = Folder::new();
    let said = folder.get(&[&server.url("/f"), "-q"]);
    said.assert_refused(9, &["the file has changed on the server, again and again"]);
    assert!(server.seen().len() < 12);
    assert!(!folder.names().contains(&"f".to_owned()));
}

#[test]
fn one_connection_is_used_where_parts_are_not_offered() {
    let bytes = noise::bytes(0, LENGTH);
    for reply in [
        Reply::new("200 OK").header("ETag", "\"a\"").body(&bytes),
        Reply::new("200 OK")
            .header("Accept-Ranges", "bytes")
            .body(&bytes),
        Reply::new("200 OK")
            .header("ETag", "W/\"a\"")
            .header("Accept-Ranges", "bytes")
            .body(&bytes),
        Reply::new("200 OK")
            .header("ETag", "\"a\"")
            .header("Accept-Ranges", "none")
            .body(&bytes),
        Reply::new("200 OK")
            .header("ETag", "\"a\"")
            .header("Accept-Ranges", "bytes")
            .chunked(&bytes, ""),
    ] {
        let server = Scripted::start(move |_| reply.clone());
        let folder = Folder::new();
        let said = folder.get(&[&server.url("/f"), "-x", "4", "-v"]);
        assert_ends(&said, 0, &["one connection: "]);
        folder.assert_only("f", &bytes);
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn nginx_serves_a_file_to_one_connection_and_to_eight() {
    let folder = Folder::new();
    let bytes = noise::bytes(0, 60_000_000);
    let served = Scratch::new("served");
    fs::write(served.join("f.bin"), &bytes).expect("files can be written");
    let nginx = Static::start(served.path(), "");
    for connections in ["1", "8"] {
        let arguments = ["-x", connections, "--json", "--force"];
        let said = folder.get(&[&[&*nginx.url("/f.bin")], &arguments[..]].concat());
        said.assert_good();
        assert_eq!(json(&said)["sha256"], noise::sha256(60_000_000));
        folder.assert_only("f.bin", &bytes);
    }
    // nginx makes tags of time and size.
    assert!(fs::write(served.join("empty"), "").is_ok());
    folder.get(&[&nginx.url("/empty"), "-x", "8"]).assert_good();
}

#[test]
fn python_serves_a_file_and_its_end() {
    let served = Scratch::new("served");
    let bytes = noise::bytes(0, 3_000_000);
    fs::write(served.join("f.bin"), &bytes).expect("files can be written");
    let mut server = tools::program("python3");
    let mut server = server
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
        .current_dir(served.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python starts");
    let mut line = String::new();
    let stdout = server.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    let port = line
        .split("port ")
        .nth(1)
        .and_then(|it| it.split(' ').next());
    let url = format!("http://127.0.0.1:{}/f.bin", port.expect("a port"));
    let folder = Folder::new();
    let said = folder.get(&[&url, "-x", "4"]);
    let _ = server.kill();
    let _ = server.wait();
    said.assert_good();
    folder.assert_only("f.bin", &bytes);
}

#[test]
fn what_this_program_serves_arrives_or_fails() {
    let server = Server::start(["--demo"]);
    let url = |query: &str| server.url(&format!("/noise.bin?{query}"));
    let folder = Folder::new();
    for query in ["n=2e6", "n=2e6&length=known"] {
        folder.get(&[&url(query), "--force"]).assert_good();
        folder.assert_only("noise.bin", &noise::bytes(0, 2_000_000));
    }
    let asked_for = "; the server says: a failure was asked for after 1000000 bytes";
    for (query, words) in [
        (
            "n=2e6&fail_after=1e6",
            "the server broke the transfer off after 1000000 bytes",
        ),
        ("n=2e6&fail_after=1e6", asked_for),
        ("n=2e6&fail_after=1e6&length=known", asked_for),
        (
            "n=2e6&panic_after=1e6",
            "; the server says: the source failed; the server's log has the reason",
        ),
    ] {
        let said = folder.get(&[&url(query), "-o", "x", "-q", "--retries", "0"]);
        said.assert_refused(7, &["/noise.bin", "is not complete", words]);
        assert_plain(&said);
    }
    let said = folder.get(&[&url("m=1"), "-o", "x"]);
    said.assert_refused(5, &["400", "unknown parameter `m`"]);
    assert_eq!(folder.names(), ["noise.bin"]);
}

#[test]
fn over_tls_both_protocols_arrive_or_fail() {
    for protocols in [&["h2"][..], &["http/1.1"], &["h2", "http/1.1"]] {
        let server = TlsServer::start(protocols);
        let folder = Folder::new();
        let get = |query: &str, more: &[&str]| {
            let url = server.url(&format!("/noise.bin?{query}"));
            let mut command = folder.command(&[&[&*url, "--force"], more].concat());
            command.env("SSL_CERT_FILE", authority_file());
            program::finish(command)
        };
        get("n=3e6", &[]).assert_good();
        folder.assert_only("noise.bin", &noise::bytes(0, 3_000_000));
        for failure in ["fail_after=1e6", "fail_after=1e6&length=known"] {
            let said = get(
                &format!("n=3e6&{failure}"),
                &["-o", "x", "-q", "--retries", "1"],
            );
            said.assert_refused(7, &["is not complete"]);
        }
        let url = server.url("/noise.bin?n=5");
        let strange = folder.get(&[&url, "-o", "y"]);
        let words = ["no TLS with 127.0.0.1:", "certificate", "not trusted here"];
        strange.assert_refused(1, &words);
        assert_plain(&strange);
        let file = authority_file().to_str().expect("text");
        folder
            .get(&[&url, "-o", "y", "--ca-file", file])
            .assert_good();
        server.stop();
    }
}

#[test]
fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    let file = served(0, "\"a\"");
    let server = Scripted::start(move |request| {
        let pause = Duration::from_millis(60);
        match &*request.target {
            "/known" => file.answer(request).pace(500_000, pause),
            _ => Reply::new("200 OK")
                .chunked(&file.bytes, "")
                .pace(500_000, pause),
        }
    });
    let folder = Folder::new();
    let program = program::command(&[]).get_program().to_owned();
    let on_terminal = |arguments: &str| {
        let line = format!("{} get --force {arguments}", program.display());
        let mut script = tools::program("script");
        script.env("TERM", "xterm").current_dir(folder.path(""));
        script.args(["-qec", &line, "/dev/null"]);
        let said = program::finish(script);
        assert_eq!(said.code, Some(0), "{said:?}");
        said.text()
    };
    let known = on_terminal(&server.url("/known"));
    assert!(
        known.contains(" of 4.77 MiB") && known.contains(" left"),
        "{known:?}"
    );
    let unknown = on_terminal(&server.url("/unknown"));
    assert!(
        unknown.contains("MiB/s") && !unknown.contains('%'),
        "{unknown:?}"
    );
    assert_eq!(on_terminal(&format!("-q {}", server.url("/known"))), "");
    folder
        .get(&["--force", &server.url("/known")])
        .assert_good();
}

#[test]
fn proxies_of_the_environment_are_used() {
    let origin = Scripted::start(|_| Reply::new("200 OK").body(b"direct"));
    let proxy = Scripted::start(|request| {
        let text = format!(
            "{} {:?}",
            request.target,
            request.header("proxy-authorization")
        );
        Reply::new("200 OK").body(text.as_bytes())
    });
    let folder = Folder::new();
    let through = |variables: &[(&str, &str)], output: &str| {
        let mut command = folder.command(&[&origin.url("/f?x"), "-o", output]);
        command.envs(variables.iter().copied());
        program::finish(command).assert_good();
        fs::read_to_string(folder.path(output)).expect("a file")
    };
    let url = format!("http://me:pass@127.0.0.1:{}", proxy.port());
    let basic = format!("Basic {}", STANDARD.encode("me:pass"));
    let seen = through(&[("http_proxy", &url)], "a");
    assert_eq!(seen, format!("{} Some({basic:?})", origin.url("/f?x")));
    assert_eq!(
        through(&[("http_proxy", &url), ("no_proxy", "127.0.0.1")], "b"),
        "direct"
    );
    assert_eq!(through(&[("https_proxy", &url)], "c"), "direct");
}
