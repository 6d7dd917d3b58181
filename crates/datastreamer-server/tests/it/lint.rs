//! Heads of every kind, judged by a linter of HTTP that others have written.

use std::fs;
use std::time::Duration;

use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::{noise, program, tools};

#[test]
fn httplint_finds_no_fault_in_any_kind_of_response() {
    let scratch = Scratch::new("lint");
    fs::write(scratch.join("file.bin"), noise::bytes(0, 300_000)).expect("files can be written");
    // A file that was changed just now has no tag.
    std::thread::sleep(Duration::from_millis(3200));
    let config = scratch.join("datastreamer.toml");
    let text = "[spool]\nfolder = \"spool\"\n[routes.noise]\nkind = \"noise\"\n\
        [routes.kept]\nkind = \"noise\"\nkeep = \"10m\"\ncompress = true\n\
        [routes.file]\nkind = \"file\"\npath = \"file.bin\"\n";
    fs::write(&config, text).expect("files can be written");
    let server = Server::start(["--config".into(), config.into_os_string()]);
    let mut python = tools::python();
    python.arg(tools::client_script("lint_responses.py"));
    python.args([&server.url(""), "/file.bin", "/kept.bin?n=200000"]);
    python.arg("/noise.bin?n=1000&fail_after=0");
    let said = program::finish(python);
    assert_eq!(said.code, Some(0), "{}{}", said.text(), said.stderr);
    // It has looked.
    assert!(said.text().lines().count() > 20, "{}", said.text());
}
