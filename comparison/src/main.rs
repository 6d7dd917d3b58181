//! `comparison [--quick | --speed]` measures and prints Markdown; `comparison serve PEER [one-thread]`
//! is the server that it starts.

use std::{env, io, process::ExitCode};

use datastreamer_comparison::{
    peers,
    report::{self, Extent},
    servers::{self, Threads},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [] => report::run(Extent::Full),
        ["--quick"] => report::run(Extent::Quick),
        ["--speed"] => report::run(Extent::Speed),
        ["serve", name] => serve(name, Threads::Two),
        ["serve", name, "one-thread"] => serve(name, Threads::One),
        _ => Err(io::Error::other(
            "usage: comparison [--quick | --speed], or comparison serve PEER [one-thread]",
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(name: &str, threads: Threads) -> io::Result<()> {
    let peer = peers::find(name).ok_or_else(|| io::Error::other("no such peer"))?;
    servers::serve(peer, threads)
}
