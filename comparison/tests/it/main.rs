//! Runs what docs/comparison.md states about failures, bounds, disconnections and threads, so that a
//! statement fails once it is not true any more. Speed is not tested.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use datastreamer_comparison::{
    job::{Ending, Place, Way},
    machine,
    measure::{
        bound,
        failures::{self, Outcome},
        hang_up::{self, Busy, Noticed},
        place,
    },
    peers::{self, Peer},
};

/// What clients see of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A file that looks complete.
    Complete,
    /// An error.
    Error,
    /// A response with this status.
    Status(u16),
    /// An error, or a file that looks complete: it depends on how much hyper has sent.
    Varies,
}

use Seen::{Complete, Error, Status, Varies};

/// What clients of HTTP/1.1 and, second, of HTTP/1.0 see: after an error, after a panic, and after an
/// error before the first byte.
type Facts = [[Seen; 2]; 3];

/// Neither errors nor panics are seen.
const HIDDEN: Facts = [[Complete; 2]; 3];

/// Errors are seen if the author sends them, and only by clients of HTTP/1.1. Panics are not.
const SENT: Facts = [[Error, Complete], [Complete; 2], [Error, Varies]];

/// Errors and panics are seen, by clients of HTTP/1.1.
const SEEN: Facts = [[Error, Complete], [Error, Complete], [Error, Varies]];

const FACTS: [(&str, Ending, Facts); 15] = [
    ("duplex", Ending::Default, HIDDEN),
    ("util-channel", Ending::Default, HIDDEN),
    ("util-channel", Ending::Explicit, SENT),
    ("http-serve", Ending::Default, HIDDEN),
    // What is queued is discarded, and this may include all of the response.
    (
        "http-serve",
        Ending::Explicit,
        [[Error, Varies], [Complete; 2], [Error, Varies]],
    ),
    ("http-body-io", Ending::Default, HIDDEN),
    ("actix-writer", Ending::Default, HIDDEN),
    // actix-web answers HTTP/1.0 with chunks.
    (
        "actix-writer",
        Ending::Explicit,
        [[Error; 2], [Complete; 2], [Error; 2]],
    ),
    ("piper", Ending::Default, HIDDEN),
    ("base-http", Ending::Default, SEEN),
    ("base-http", Ending::Explicit, SEEN),
    ("mpsc", Ending::Default, HIDDEN),
    ("mpsc", Ending::Explicit, SENT),
    ("chunk-reader", Ending::Default, SEEN),
    (
        "armed",
        Ending::Default,
        [[Error, Status(505)], [Error, Status(505)], [Status(500); 2]],
    ),
];

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_comparison"))
}

fn all_peers() -> impl Iterator<Item = &'static Peer> {
    let names = peers::ALL.map(|peer| peer.name);
    names.into_iter().filter_map(peers::find)
}

#[test]
fn clients_see_what_the_document_says() {
    let all: Vec<_> = all_peers().collect();
    let rows = failures::measure_all(program(), &all).unwrap();
    let mut expected = FACTS.iter();
    for row in rows {
        let (name, ending, facts) = expected.next().unwrap();
        assert_eq!((row.peer.name, row.ending), (*name, *ending));
        if *name == "armed" {
            assert_eq!(row.received_bytes, failures::WRITTEN_BYTES);
        }
        for (way, outcomes) in failures::WAYS.into_iter().zip(&row.outcomes) {
            let [curl, curl_http10, urllib] = outcomes.as_slice() else {
                panic!("three clients");
            };
            let facts = match way {
                Way::Fails => facts[0],
                Way::Panics => facts[1],
                Way::FailsEarly => facts[2],
                // Nothing can tell a source that returns success early from one that is done.
                _ if *name == "armed" => [Complete, Status(505)],
                _ => [Complete; 2],
            };
            let what = format!("{name}, {ending:?}, {way:?}");
            assert_seen(facts[0], curl, &format!("{what}, curl"));
            assert_seen(facts[0], urllib, &format!("{what}, urllib"));
            assert_seen(
                facts[1],
                curl_http10,
                &format!("{what}, curl with HTTP/1.0"),
            );
        }
    }
    assert!(expected.next().is_none());
}

fn assert_seen(fact: Seen, outcome: &Outcome, what: &str) {
    let holds = match fact {
        Complete => *outcome == Outcome::LooksComplete,
        Error => matches!(outcome, Outcome::Visible(_)),
        Status(status) => *outcome == Outcome::Status(status),
        Varies => matches!(outcome, Outcome::LooksComplete | Outcome::Visible(_)),
    };
    assert!(holds, "{what}: {outcome:?}, not {fact:?}");
}

#[test]
fn these_peers_hold_whatever_the_source_writes() {
    /// More than a buffer and the kernel hold.
    const BOUND_BYTES: u64 = 32_000_000;
    let unbounded = all_peers().filter(|peer| {
        let wait = Duration::from_secs(2);
        let accepted = bound::accepted(program(), peer, 8192, wait).unwrap();
        accepted.bytes > BOUND_BYTES
    });
    assert_eq!(names(unbounded), names_of(["actix-writer", "http-serve"]));
}

#[test]
fn these_peers_do_not_tell_a_source_that_its_client_has_disconnected() {
    let never = |busy| {
        let peers = all_peers().filter(move |peer| {
            let (noticed, _) = hang_up::once(program(), peer, busy).unwrap();
            noticed == Noticed::Never
        });
        names(peers)
    };
    assert_eq!(never(Busy::Writing), names_of(["http-serve"]));
    let silent = [
        "actix-writer",
        "duplex",
        "http-body-io",
        "http-serve",
        "util-channel",
    ];
    assert_eq!(never(Busy::Silent), names_of(silent));
}

#[test]
fn every_peer_works_on_any_thread_that_may_block_and_none_in_a_task() {
    let in_task = [
        ("duplex", place::Outcome::LooksComplete),
        ("util-channel", place::Outcome::Hangs),
        ("http-serve", place::Outcome::BlocksTheLoop),
        ("http-body-io", place::Outcome::Hangs),
        ("actix-writer", place::Outcome::BlocksTheLoop),
        ("piper", place::Outcome::Hangs),
        ("base-http", place::Outcome::Hangs),
        ("mpsc", place::Outcome::LooksComplete),
    ];
    for (name, outcome) in in_task {
        let peer = peers::find(name).unwrap();
        let measure = |place| place::measure(program(), peer, place).unwrap();
        assert_eq!(measure(Place::Task), outcome, "{name}, in a task");
        for place in [Place::Blocking, Place::Thread] {
            // On a busy machine another request may wait too.
            let works = [place::Outcome::Works, place::Outcome::BlocksTheLoop];
            assert!(works.contains(&measure(place)), "{name}, {place:?}");
        }
    }
}

#[test]
fn the_document_names_the_versions_that_are_tested() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/comparison.md");
    let document = fs::read_to_string(path).unwrap();
    for version in machine::versions() {
        assert!(document.contains(&version), "measure again: {version}");
    }
}

fn names(peers: impl Iterator<Item = &'static Peer>) -> BTreeSet<&'static str> {
    peers.map(|peer| peer.name).collect()
}

fn names_of<const N: usize>(names: [&'static str; N]) -> BTreeSet<&'static str> {
    names.into_iter().collect()
}
