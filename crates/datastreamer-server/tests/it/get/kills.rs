//! `datastreamer get`, ended from outside: what a later run finds.

use std::fs;
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::get::Folder;
use crate::support::nginx::Static;
use crate::support::rounds::Chance;
use crate::support::scratch::Scratch;
use crate::support::scripted::{Ending, Scripted, Served};
use crate::support::{noise, program, wait};

const LENGTH: usize = 24_000_000;

/// What takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Some five seconds for the whole file.
fn slow_server() -> Scripted {
    let file = Served {
        bytes: Arc::new(noise::bytes(0, LENGTH)),
        etag: "\"a\"",
    };
    Scripted::start(move |request| {
        file.answer(request)
            .pace(100_000, Duration::from_millis(20))
    })
}

fn start(folder: &Folder, arguments: &[&str]) -> Child {
    let mut command = folder.command(arguments);
    command.stderr(std::process::Stdio::piped());
    command.spawn().expect("it starts")
}

/// Starts downloads and kills each at a time that chance decides, until one ends by itself.
fn kill_until_done(folder: &Folder, arguments: &[&str], chance: &mut Chance) -> usize {
    const KILLS_MAX: usize = 60;
    for kills in 0..KILLS_MAX {
        let mut get = start(folder, arguments);
        let patience = Duration::from_millis(chance.within(50..2500));
        if let Some(status) = wait::for_exit(&mut get, patience) {
            assert_eq!(status.code(), Some(0), "{:?}", get.wait_with_output());
            return kills;
        }
        get.kill().expect("it runs");
        get.wait().expect("it ends");
        assert!(
            !folder.names().contains(&"f".to_owned()),
            "{:?}",
            folder.names()
        );
    }
    panic!("it never ends");
}

#[test]
fn a_download_that_is_killed_again_and_again_is_right_in_the_end() {
    let mut chance = Chance::new("kills of get");
    for connections in ["1", "4"] {
        let server = slow_server();
        let folder = Folder::new();
        let arguments = [&*server.url("/f"), "-q", "-x", connections];
        let kills = kill_until_done(&folder, &arguments, &mut chance);
        folder.assert_only("f", &noise::bytes(0, LENGTH));
        let resumed = server
            .seen()
            .iter()
            .filter(|it| it.range().is_some())
            .count();
        println!("{connections} connections: {kills} kills, {resumed} ranges");
        assert!(kills == 0 || resumed > 0, "{kills} {resumed}");
    }
}

#[test]
fn a_download_from_nginx_that_is_killed_is_right_in_the_end() {
    let mut chance = Chance::new("kills of get from nginx");
    let served = Scratch::new("served");
    fs::write(served.join("f"), noise::bytes(0, LENGTH)).expect("files can be written");
    let nginx = Static::start(served.path(), "limit_rate 6m;");
    for connections in ["1", "4"] {
        let folder = Folder::new();
        let arguments = [&*nginx.url("/f"), "-q", "-x", connections];
        kill_until_done(&folder, &arguments, &mut chance);
        folder.assert_only("f", &noise::bytes(0, LENGTH));
    }
}

/// The state of a download of which so many bytes, from the first on, are on the disk.
fn state(url: &str, synced: u64) -> String {
    format!(
        "{{\"version\":1,\"url\":\"{url}\",\"validator\":{{\"etag\":\"\\\"a\\\"\"}},\
         \"total\":{LENGTH},\"synced\":[[0,{synced}]],\"digests\":{{}},\"row_limit\":null}}"
    )
}

#[test]
fn what_was_written_after_the_last_save_is_not_trusted() {
    let file = Served {
        bytes: Arc::new(noise::bytes(0, LENGTH)),
        etag: "\"a\"",
    };
    let server = Scripted::start(move |request| file.answer(request));
    let folder = Folder::new();
    let url = server.url("/f");
    let mut part = noise::bytes(0, 1_000_000);
    part.extend(std::iter::repeat_n(0xee, 500_000));
    fs::write(folder.path("f.part"), &part).expect("files can be written");
    let state = state(&url, 1_000_000);
    fs::write(folder.path("f.part.json"), &state).expect("files can be written");
    folder.get(&[&url]).assert_good();
    assert_eq!(server.seen()[0].range(), Some((1_000_000, None)));
    folder.assert_only("f", &noise::bytes(0, LENGTH));

    // A state that promises more than there is.
    let folder = Folder::new();
    fs::write(folder.path("f.part"), &part[..900_000]).expect("files can be written");
    fs::write(folder.path("f.part.json"), &state).expect("files can be written");
    let said = folder.get(&[&url]);
    assert!(
        said.stderr.contains("f.part is not used: it is shorter"),
        "{said:?}"
    );
    assert_eq!(server.seen()[1].range(), None);
    folder.assert_only("f", &noise::bytes(0, LENGTH));
}

#[test]
fn what_came_before_a_stall_is_kept_although_nothing_follows_it() {
    const CAME: usize = 300_000;
    let file = Served {
        bytes: Arc::new(noise::bytes(0, LENGTH)),
        etag: "\"a\"",
    };
    let server = Scripted::start(move |request| match request.number {
        0 => file.answer(request).cut(CAME, Ending::Stall),
        _ => file.answer(request),
    });
    let folder = Folder::new();
    let url = server.url("/f");
    let mut get = start(&folder, &[&url, "-q"]);
    wait::until("its state is saved", LIMIT, || {
        let state = fs::read_to_string(folder.path("f.part.json"));
        state.is_ok_and(|state| state.contains(&format!("[[0,{CAME}]]")))
    });
    get.kill().expect("it runs");
    get.wait().expect("it ends");
    folder.get(&[&url]).assert_good();
    assert_eq!(server.seen()[1].range(), Some((CAME, None)));
    folder.assert_only("f", &noise::bytes(0, LENGTH));
}

#[test]
fn a_part_of_which_nothing_is_known_is_not_used_and_the_user_is_told() {
    let file = Served {
        bytes: Arc::new(noise::bytes(0, LENGTH)),
        etag: "\"a\"",
    };
    let server = Scripted::start(move |request| file.answer(request));
    let url = server.url("/f");
    for arguments in [&[&*url][..], &[&url, "-o", "f"]] {
        let folder = Folder::new();
        fs::write(folder.path("f.part"), noise::bytes(0, 1000)).expect("files can be written");
        let said = folder.get(arguments);
        let text = "f.part is not used: nothing says which of its bytes are right";
        assert_eq!(said.stderr.matches(text).count(), 1, "{said:?}");
        folder.assert_only("f", &noise::bytes(0, LENGTH));
    }
    assert!(server.seen().iter().all(|it| it.range().is_none()));
}

#[test]
fn a_complete_file_without_its_name_is_checked_by_its_last_byte() {
    let file = Served {
        bytes: Arc::new(noise::bytes(0, LENGTH)),
        etag: "\"a\"",
    };
    let server = Scripted::start(move |request| file.answer(request));
    let folder = Folder::new();
    let url = server.url("/f");
    fs::write(folder.path("f.part"), noise::bytes(0, LENGTH)).expect("files can be written");
    let state = state(&url, LENGTH as u64);
    fs::write(folder.path("f.part.json"), state).expect("files can be written");
    folder.get(&[&url]).assert_good();
    assert_eq!(server.seen()[0].range(), Some((LENGTH - 1, None)));
    folder.assert_only("f", &noise::bytes(0, LENGTH));
}

#[test]
fn a_signal_saves_what_is_there() {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let server = slow_server();
        let folder = Folder::new();
        let url = server.url("/f");
        let get = start(&folder, &[&url, "-q", "--json"]);
        let part = folder.path("f.part");
        wait::until("it has a megabyte", LIMIT, || {
            fs::metadata(&part).is_ok_and(|part| part.len() > 1_000_000)
        });
        assert!(program::signal(get.id(), name));
        let output = get.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(code));
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(
            said.contains("f.part has ") && said.lines().count() == 1,
            "{said}"
        );
        let kept = fs::metadata(&part).expect("it is there").len();
        let mut next = start(&folder, &[&url, "-q"]);
        wait::until("it asks", LIMIT, || server.seen().len() > 1);
        let (from, _) = server.seen()[1].range().expect("a range");
        assert_eq!(from as u64, kept);
        next.kill().expect("it runs");
        next.wait().expect("it ends");
    }
}

#[test]
fn a_signal_before_the_first_byte_leaves_nothing() {
    let server = Scripted::start(|_| {
        thread::sleep(Duration::from_secs(20));
        crate::support::scripted::Reply::new("200 OK").body(b"late")
    });
    let folder = Folder::new();
    let get = start(&folder, &[&server.url("/f"), "-o", "f", "-q"]);
    wait::until("it asks", LIMIT, || !server.seen().is_empty());
    assert!(program::signal(get.id(), "INT"));
    let output = get.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn an_interrupt_ends_it_while_its_output_is_blocked() {
    let server = slow_server();
    let folder = Folder::new();
    let mut command = folder.command(&[&server.url("/f"), "-o", "-", "-q"]);
    command.stdout(std::process::Stdio::piped());
    let mut get = command.spawn().expect("it starts");
    wait::until("it asks", LIMIT, || !server.seen().is_empty());
    // Long enough to fill the pipe.
    thread::sleep(Duration::from_millis(500));
    assert!(program::signal(get.id(), "INT"));
    let status = wait::for_exit(&mut get, Duration::from_secs(5)).expect("it ends");
    assert_eq!(status.code(), Some(130));
}
