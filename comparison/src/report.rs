//! Runs the measurements and prints their tables as Markdown.

use std::{env, io, path::Path, time::Duration};

use crate::{
    job::{Ending, Place},
    machine,
    measure::{
        bound::{self, Accepted},
        failures::{self, Outcome},
        hang_up::{self, Noticed},
        place, speed,
    },
    peers::{self, Peer},
};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Full,
    /// Everything but the speed, with short waits: about a minute.
    Quick,
    /// Only the speed.
    Speed,
}

/// Measures and prints.
///
/// # Errors
/// That of the operating system or of a connection.
pub fn run(extent: Extent) -> io::Result<()> {
    let program = env::current_exe()?;
    let peers: Vec<&'static Peer> = peers::ALL
        .iter()
        .filter_map(|peer| peers::find(peer.name))
        .collect();
    println!("{}", machine::describe()?);
    if extent != Extent::Speed {
        failures(&program, &peers)?;
        bound(&program, &peers, extent)?;
        hang_up(&program, &peers, extent)?;
        places(&program, &peers)?;
    }
    if extent != Extent::Quick {
        speed(&program, &peers)?;
    }
    Ok(())
}

fn failures(program: &Path, peers: &[&'static Peer]) -> io::Result<()> {
    println!(
        "| peer | a failure is reported by | returns an error | received of 1 MB | panics | fails before the first byte | returns success early |"
    );
    println!("|---|---|---|---:|---|---|---|");
    for row in failures::measure_all(program, peers)? {
        let peer = row.peer;
        let by = match (row.ending, peer.explicit) {
            (Ending::Explicit, Some(call)) => call,
            _ if peer.name == "chunk-reader" || peer.name == "armed" => "the result",
            _ => "dropping the writer",
        };
        let cells = row.outcomes.iter().map(|clients| cell(clients));
        let mut cells: Vec<String> = cells.collect();
        cells.insert(1, format!("{:.2} MB", row.received_bytes as f64 / 1e6));
        println!("| {} | {by} | {} |", peer.title, cells.join(" | "));
    }
    println!();
    Ok(())
}

fn cell(outcomes: &[Outcome]) -> String {
    let texts = outcomes.iter().map(|outcome| match outcome {
        Outcome::LooksComplete => "**complete**".to_owned(),
        Outcome::Visible(error) => error.clone(),
        Outcome::Status(status) => format!("status {status}"),
        Outcome::Hung => "hangs".to_owned(),
    });
    let texts: Vec<String> = texts.collect();
    match texts.iter().all(|text| *text == texts[0]) {
        true => texts[0].clone(),
        false => texts.join(", "),
    }
}

fn bound(program: &Path, peers: &[&'static Peer], extent: Extent) -> io::Result<()> {
    println!(
        "| peer | accepted, writes of 8 KiB | of 64 B | memory of 50 clients, writes of 64 KiB | of 8 KiB | CPU while a client waits |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let wait = Duration::from_millis(match extent {
        Extent::Quick => 400,
        Extent::Full | Extent::Speed => 3000,
    });
    for peer in peers {
        let bound = bound::measure(program, peer, wait)?;
        println!(
            "| {} | {} | {} | {:.0} MB | {:.0} MB | {:.0} % |",
            peer.title,
            megabytes(bound.accepted[0]),
            megabytes(bound.accepted[1]),
            bound.growth_bytes[0] as f64 / 1e6,
            bound.growth_bytes[1] as f64 / 1e6,
            bound.accepted[0].cpu_share * 100.0
        );
    }
    println!();
    Ok(())
}

fn megabytes(accepted: Accepted) -> String {
    match accepted.bytes == bound::FILE_BYTES {
        true => format!("all {:.0} MB", accepted.bytes as f64 / 1e6),
        false => format!("{:.1} MB", accepted.bytes as f64 / 1e6),
    }
}

fn hang_up(program: &Path, peers: &[&'static Peer], extent: Extent) -> io::Result<()> {
    println!(
        "| peer | a source that writes | that is blocked | that is silent | CPU while both are silent |"
    );
    println!("|---|---:|---:|---:|---:|");
    let rounds = match extent {
        Extent::Quick => 1,
        Extent::Full | Extent::Speed => 5,
    };
    for peer in peers {
        let measured = hang_up::measure(program, peer, rounds)?;
        let cells = measured.noticed.iter().map(|noticed| match noticed {
            Noticed::After(milliseconds) => format!("{milliseconds:.1} ms"),
            Noticed::Never => "never".to_owned(),
            Noticed::HadEnded => "had ended".to_owned(),
        });
        let cells: Vec<String> = cells.collect();
        println!(
            "| {} | {} | {:.0} % |",
            peer.title,
            cells.join(" | "),
            measured.silent_cpu_share * 100.0
        );
    }
    println!();
    Ok(())
}

fn places(program: &Path, peers: &[&'static Peer]) -> io::Result<()> {
    println!("| peer | in `spawn_blocking` | on a plain thread | in a task |");
    println!("|---|---|---|---|");
    for peer in peers {
        let cells = [Place::Blocking, Place::Thread, Place::Task].map(|place| {
            if !peer.places.contains(&place) {
                return Ok("has its own thread");
            }
            Ok(match place::measure(program, peer, place)? {
                place::Outcome::Works => "works",
                place::Outcome::BlocksTheLoop => "blocks the event loop",
                place::Outcome::Fails => "fails, visibly",
                place::Outcome::LooksComplete => "**fails, looks complete**",
                place::Outcome::Hangs => "hangs",
            })
        });
        let cells: Vec<&str> = cells.into_iter().collect::<io::Result<_>>()?;
        println!("| {} | {} |", peer.title, cells.join(" | "));
    }
    println!();
    Ok(())
}

fn speed(program: &Path, peers: &[&'static Peer]) -> io::Result<()> {
    const ROUNDS: usize = 7;
    let rows = speed::measure(program, peers, ROUNDS, |round| {
        eprintln!("round {} of {ROUNDS}", round + 1);
    })?;
    println!(
        "| peer | rate, writes of 64 KiB | CPU | rate, 8 KiB | CPU | rate, 64 B | CPU | peak memory | static body |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for row in rows {
        let cells = row.speeds.map(|speed| {
            let [low, median, high] = speed.ratio;
            format!("{median:.2} ({low:.2}–{high:.2}) | {:.2}", speed.cpu_per_gb)
        });
        let fixed = row.speeds[0];
        println!(
            "| {} | {} | {:.0} MB | {:.0} MB/s, {:.2} |",
            row.peer.title,
            cells.join(" | "),
            row.peak_bytes as f64 / 1e6,
            fixed.static_rate,
            fixed.static_cpu_per_gb
        );
    }
    println!();
    Ok(())
}
