//! `datastreamer cat`: the bytes on standard output, the truth in the exit code.

use std::fs::{self, File};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::program::{self, Said};
use crate::support::scratch::Scratch;
use crate::support::{noise, tools, wait};

/// What takes milliseconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(20);

fn cat(target: &str) -> Said {
    program::run(&["cat", target])
}

#[test]
fn the_bytes_are_those_of_the_route() {
    for bytes in [0, 1, 1_000_000, 3_000_000] {
        let said = cat(&format!("/noise.bin?n={bytes}&piece=10000"));
        said.assert_good();
        assert!(said.stdout == noise::bytes(0, bytes), "{bytes}");
    }
    // The default, a flag in place of the leading slash, a promised length.
    assert_eq!(cat("/noise.bin").stdout.len(), 1_000_000);
    let said = program::run(&["cat", "--demo", "noise.bin?n=10"]);
    assert_eq!(said.stdout, noise::bytes(0, 10));
    assert!(cat("/noise.bin?n=2e6&length=known").stdout == noise::bytes(0, 2_000_000));
}

#[test]
fn test_bytes_may_repeat_earlier() {
    for (period, piece) in [(1, 1), (7, 3), (65_521, 65_536), (1_048_573, 1_048_576)] {
        let said = cat(&format!(
            "/noise.bin?n=200000&period={period}&piece={piece}"
        ));
        said.assert_good();
        let one = noise::bytes(0, period);
        let expected: Vec<u8> = one.iter().copied().cycle().take(200_000).collect();
        assert!(said.stdout == expected, "{period}");
    }
    for period in ["0", "1048574"] {
        cat(&format!("/noise.bin?period={period}")).assert_refused(3, &["period", "1048573"]);
    }
}

#[test]
fn a_directory_named_on_the_command_line_is_a_tar() {
    let scratch = Scratch::new("cat");
    fs::create_dir(scratch.join("photos")).expect("directories can be made");
    fs::write(scratch.join("photos/moon"), "full").expect("files can be written");
    let photos = scratch.join("photos");
    let said = program::run(&["cat", "photos.tar", photos.to_str().expect("text")]);
    said.assert_good();
    assert!(said.text().contains("photos/moon"));
    assert!(said.text().contains("full"));
}

#[test]
fn a_source_that_fails_is_exit_code_7_and_one_line() {
    for (how, length) in [("fail_after", ""), ("fail_after", "&length=known")] {
        let said = cat(&format!("/noise.bin?n=1e6&{how}=300000{length}"));
        said.assert_refused(7, &["noise.bin", "300000"]);
        assert!(said.stdout == noise::bytes(0, 300_000));
    }
    cat("/noise.bin?fail_after=0").assert_refused(7, &["noise.bin"]);
}

#[test]
fn a_source_that_panics_is_exit_code_7() {
    let said = cat("/noise.bin?n=1e6&panic_after=300000");
    assert_eq!(said.code, Some(7));
    assert!(said.stdout == noise::bytes(0, 300_000));
    assert!(said.stderr.contains("300000"), "{}", said.stderr);
    assert!(!said.stderr.contains("backtrace"), "{}", said.stderr);
    assert!(said.stderr.lines().count() <= 2, "{}", said.stderr);
}

#[test]
fn a_route_or_parameter_that_is_not_there_is_exit_code_3() {
    cat("/no-such-route").assert_refused(3, &["no-such-route", "/noise.bin"]);
    cat("/noise.bin?m=3").assert_refused(3, &["`m`"]);
    cat("/noise.bin?n=many").assert_refused(3, &["`n`", "many"]);
    cat("/noise.bin?n=1&n=2").assert_refused(3, &["`n`", "twice"]);
    cat("/noise.bin?piece=0").assert_refused(3, &["`piece`"]);
    cat("/noise.bin?piece=1e9").assert_refused(3, &["`piece`"]);
    cat("/noise.bin?length=long").assert_refused(3, &["`length`"]);
    cat("/noise.bin?delay=long").assert_refused(3, &["`delay`"]);
    assert!(cat("/noise.bin?m=3").stdout.is_empty());
}

#[test]
fn a_name_of_no_file_is_not_taken_for_the_demo() {
    for name in ["stars.parquet", "stars", "noise.bin", "stars.vot?rows=3"] {
        let file = name.split('?').next().expect("a name");
        let said = cat(name);
        said.assert_refused(3, &[&format!("there is no file {file}, "), "--demo"]);
        assert!(said.stdout.is_empty(), "{name}");
    }
    let said = cat("/nowhere/at-all.parquet");
    said.assert_refused(3, &["there is no file /nowhere/at-all.parquet, "]);
}

/// Runs a line of bash in which `$cat` is the program's `cat`; returns what it printed, with the
/// exit codes of its pipeline on the last line of standard error.
fn bash(line: &str) -> Said {
    let mut bash = tools::program("bash");
    let binary = program::command(&[]).get_program().to_owned();
    bash.args(["-c", &format!("{line}; echo ${{PIPESTATUS[@]}} >&2")])
        .env("cat", format!("{} cat", binary.display()));
    program::finish(bash)
}

#[test]
fn a_reader_that_leaves_ends_it_without_a_word() {
    for piece in ["", "&piece=1", "&delay=50ms"] {
        let said = bash(&format!("$cat '/noise.bin?n=1e12{piece}' | head -c 10"));
        assert_eq!(said.stdout, noise::bytes(0, 10));
        assert_eq!(said.stderr, "141 0\n", "{piece}");
    }
}

#[test]
fn a_disk_that_is_full_leaves_a_file_that_is_not_whole() {
    let mut command = program::command(&["cat", "/noise.bin?n=1e6"]);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("it is there");
    let output = command.stdout(full).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(7));
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert!(stderr.contains("standard output"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    let scratch = Scratch::new("terminal");
    let output = scratch.join("output");
    let binary = program::command(&[]).get_program().to_owned();
    let on_terminal = |options: &str, target: &str| {
        let line = format!(
            "{} cat {options} '{target}' > '{}'",
            binary.display(),
            output.display()
        );
        let mut script = tools::program("script");
        script.env("TERM", "xterm");
        script.args(["-qec", &line, "/dev/null"]);
        let said = program::finish(script);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(fs::read(&output).expect("a file") == noise::bytes(0, 500_000));
        said.text()
    };
    // Half a second.
    let paced = "/noise.bin?n=500000&piece=50000&delay=50ms";
    let shown = on_terminal("", paced);
    assert!(shown.contains("/s"), "{shown:?}");
    assert!(
        !shown.contains('%') && !shown.contains("members"),
        "{shown:?}"
    );
    let known = on_terminal("", &format!("{paced}&length=known"));
    assert!(
        known.contains("% of ") || known.contains("%, "),
        "{known:?}"
    );
    assert!(known.contains(" of 488.28 KiB"), "{known:?}");
    assert_eq!(on_terminal("--quiet", paced), "");
    cat(paced).assert_good();
}

#[test]
fn the_members_of_an_archive_are_counted_on_a_terminal() {
    let scratch = Scratch::new("counted");
    let tree = scratch.join("tree");
    fs::create_dir(&tree).expect("directories can be made");
    for name in ["a", "b", "c"] {
        fs::write(tree.join(name), name).expect("files can be written");
    }
    let binary = program::command(&[]).get_program().to_owned();
    let line = format!(
        "{} cat tree.tar '{}' | (sleep 0.5; cat) > /dev/null",
        binary.display(),
        tree.display()
    );
    let mut script = tools::program("script");
    script.env("TERM", "xterm");
    script.args(["-qec", &line, "/dev/null"]);
    let said = program::finish(script);
    assert!(said.text().contains("4 members"), "{said:?}");
}

#[test]
fn a_command_that_fails_is_exit_code_7() {
    let scratch = Scratch::new("fails");
    let file = scratch.join("datastreamer.toml");
    let routes = "[routes.fails]\nkind = \"command\"\n\
                  argv = [\"sh\", \"-c\", \"echo some; exit 3\"]\n\
                  [routes.dies]\nkind = \"command\"\n\
                  argv = [\"sh\", \"-c\", \"echo some; kill -9 $$\"]\n";
    fs::write(&file, routes).expect("files can be written");
    for (route, why) in [("fails.bin", "exit code 3"), ("dies.bin", "signal 9")] {
        let config = file.to_str().expect("text");
        let said = program::run(&["cat", route, "--config", config]);
        said.assert_refused(7, &[route, why]);
        assert_eq!(said.text(), "some\n");
    }
}

#[test]
fn an_interrupt_ends_it_at_once_while_its_output_is_blocked() {
    let mut cat = program::command(&["cat", "--quiet", "/noise.bin?n=1e9"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    // Long enough to fill the pipe.
    thread::sleep(Duration::from_millis(500));
    let told = Instant::now();
    assert!(program::signal(cat.id(), "INT"));
    let status = wait::for_exit(&mut cat, LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(told.elapsed() < Duration::from_secs(1), "{told:?}");
}

#[test]
fn an_interrupt_ends_the_program_that_writes() {
    let scratch = Scratch::new("interrupt");
    let file = scratch.join("datastreamer.toml");
    let script = "echo $$ > pid; exec sleep 1000";
    let route =
        format!("[routes.silent]\nkind = \"command\"\nargv = [\"sh\", \"-c\", '{script}']\n");
    fs::write(&file, route).expect("files can be written");
    let mut cat = program::command(&["cat", "--quiet", "silent.bin", "--config"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let pid = program::pid_in(&scratch.join("pid"));
    assert!(program::is_running(pid));
    assert!(program::signal(cat.id(), "INT"));
    let status = wait::for_exit(&mut cat, LIMIT).expect("it ends");
    assert_eq!(status.code(), Some(130));
    wait::until("the program that writes ends too", LIMIT, || {
        !program::is_running(pid)
    });
}
