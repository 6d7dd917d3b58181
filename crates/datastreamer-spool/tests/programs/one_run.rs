//! Runs productions in a folder and checks every byte that it gets; the tests let the system fail
//! under it (`tests/it/faults.rs`).
//!
//! `one_run FOLDER [BYTES]` prints what happened. Exit codes: 0 no false byte (whatever failed), 3 a
//! false byte or a false end, 101 a panic. `one_run FOLDER hold` opens the folder, prints `open`, and
//! keeps it until its standard input ends.

use std::{
    io::{Read, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use datastreamer::{PoolOptions, StreamOptions, StreamPool, StreamWriter, stream_out};
use datastreamer_spool::{Beginning, Keep, Key, Piece, Production, Spool, SpoolOptions, State};

const DEFAULT_BYTES: u64 = 300_000;
const DEADLINE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_default();
    let what = arguments.next();
    let spool = match Spool::open(&folder, SpoolOptions::new().tail_bytes(70_000)) {
        Ok(spool) => spool,
        Err(error) => {
            say(format_args!("not opened: {error}"));
            return ExitCode::SUCCESS;
        }
    };
    if what.as_deref() == Some("hold") {
        say(format_args!("open"));
        let _ended = std::io::stdin().read_to_end(&mut Vec::new());
        return ExitCode::SUCCESS;
    }
    let bytes = what.and_then(|it| it.parse().ok()).unwrap_or(DEFAULT_BYTES);
    let results = [
        run(&spool, "kept", bytes, Keep::For(Duration::from_secs(600))),
        run(&spool, "kept", bytes, Keep::For(Duration::from_secs(600))),
        run(&spool, "passing", bytes / 2, Keep::WhileRunning),
        run(&spool, "other", bytes, Keep::For(Duration::from_secs(600))),
    ];
    match results.into_iter().all(|is_true| is_true) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(3),
    }
}

/// Joins or begins a production and reads it; returns whether everything was true.
fn run(spool: &Spool, key: &str, bytes: u64, keep: Keep) -> bool {
    let begin = || Beginning::new(stream_out(move |out| write(out, bytes))).keep(keep);
    let production = match spool.join_or_begin(Key::new(key), begin) {
        Ok((production, how)) => {
            say(format_args!("{key}: {how:?}"));
            production
        }
        Err(error) => {
            say(format_args!("{key}: {error}"));
            return true;
        }
    };
    let early = read(&production, 0, bytes);
    let is_over = wait(&production);
    let late = read(&production, 1000, bytes);
    say(format_args!("{key}: {:?}", production.state()));
    early && is_over && late
}

fn write(out: &mut StreamWriter, bytes: u64) -> Result<(), datastreamer::Error> {
    let mut at = 0;
    while at < bytes {
        let next = bytes.min(at + 20_000);
        let part: Vec<u8> = (at..next).map(byte_at).collect();
        out.write_slice(&part)?;
        at = next;
    }
    Ok(())
}

/// Reads from an offset to the end; returns whether all bytes and the end are true.
fn read(production: &Production, from: u64, bytes: u64) -> bool {
    let readers = StreamPool::new(PoolOptions::new());
    let options = StreamOptions::new().pool(&readers);
    let chunks = production.open(vec![Piece::From(from)], options);
    let mut at = from;
    for chunk in chunks {
        match chunk {
            Ok(chunk) => {
                let valid = (at..).map(byte_at).take(chunk.len());
                if !valid.eq(chunk.iter().copied()) {
                    say(format_args!("FALSE BYTES behind {at}"));
                    return false;
                }
                at += chunk.len() as u64;
            }
            Err(error) => {
                say(format_args!("read {at}, then: {error}"));
                return at <= bytes;
            }
        }
    }
    say(format_args!("read {at}, then the end"));
    at == bytes
}

/// Waits for the end of a production; returns whether it came.
fn wait(production: &Production) -> bool {
    let begin = Instant::now();
    while matches!(production.state(), State::Running) {
        if begin.elapsed() > DEADLINE {
            say(format_args!("NO END"));
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// The system may fail this, too.
fn say(text: std::fmt::Arguments<'_>) {
    let _lost = writeln!(std::io::stdout(), "{text}");
}

/// As in the tests.
fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}
