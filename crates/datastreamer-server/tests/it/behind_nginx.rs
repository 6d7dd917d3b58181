//! The same promise behind Debian's nginx, which buffers, re-frames, and speaks HTTP/1.0 with the
//! program unless told otherwise. Then a response of unknown length is refused: framed by the end
//! of the connection, its failure would look like its end.

use std::time::Duration;

use crate::clients::{assert_fails_at, download_while_server_ends, failing_noise, try_once};
use crate::support::clients::{Client, assert_downloads, probe};
use crate::support::nginx::{Nginx, Upstream};
use crate::support::rounds::{Chance, rounds};
use crate::support::server::Server;
use crate::support::table::Table;
use crate::support::{noise, wait};

/// Before anything, and beyond what nginx keeps in memory (8 buffers of 4 KiB).
const OFFSETS: [u64; 2] = [0, 200_000];

const UPSTREAMS: [Upstream; 2] = [Upstream::Http10, Upstream::Http11];

/// This nginx speaks HTTP/1.1 only with its clients. It closes the connection of a response that has
/// failed, so a client that takes that for the end of a file has no chance.
fn clients() -> Vec<Client> {
    Client::ALL
        .into_iter()
        .filter(|client| !client.is_http2() && *client != Client::Lenient)
        .collect()
}

#[test]
fn every_client_behind_nginx_gets_the_right_bytes() {
    let server = Server::start(["--demo"]);
    let nginx = Nginx::start(server.port());
    let mut jobs = Vec::new();
    for length in [0, 1, 100_000, 30_000_000] {
        let sha256 = noise::sha256(length);
        for (upstream, framing) in [
            (Upstream::Http10, "&length=known"),
            (Upstream::Http11, "&length=known"),
            (Upstream::Http11, ""),
        ] {
            let path = format!("/noise.bin?n={length}&piece=10000{framing}");
            for client in clients() {
                jobs.push((client, nginx.url(upstream, &path), sha256.clone()));
            }
        }
    }
    wait::for_all(jobs, |(client, url, sha256)| {
        assert_downloads(client, &url, &sha256);
    });
}

#[test]
fn an_unknown_length_is_refused_to_an_http_1_0_upstream_and_every_client_sees_it() {
    let server = Server::start(["--demo"]);
    let nginx = Nginx::start(server.port());
    let url = nginx.url(Upstream::Http10, "/noise.bin?n=1000000&piece=4096");
    let seen = probe(&url);
    let text = String::from_utf8_lossy(&seen.body);
    assert!(
        (400..600).contains(&seen.status),
        "status {} of {url}: {text}",
        seen.status
    );
    assert_ne!(
        seen.status, 502,
        "nginx did not understand the program: {text}"
    );

    let table = Table::new("refused to HTTP/1.0");
    wait::for_all(clients(), |client| {
        try_once(&table, client, "refusal", &url);
    });
    table.assert_every_failure_was_seen();
}

#[test]
fn no_client_behind_nginx_takes_a_source_that_fails_or_panics_for_a_finished_file() {
    let mut chance = Chance::new("failing sources behind nginx");
    let server = Server::start(["--demo"]);
    let nginx = Nginx::start(server.port());
    let table = Table::new("sources that fail, behind nginx");
    for _ in 0..rounds() {
        let mut jobs = Vec::new();
        for (failure, path, fails_at) in failing_noise(&OFFSETS, &mut chance) {
            for upstream in UPSTREAMS {
                if upstream == Upstream::Http10 && !path.contains("length=known") {
                    continue; // refused, as another test shows
                }
                let url = nginx.url(upstream, &path);
                assert_fails_at(&probe(&url), fails_at, &url);
                let failure = format!("{failure}, {upstream}");
                jobs.extend(
                    clients()
                        .into_iter()
                        .map(|c| (c, failure.clone(), url.clone())),
                );
            }
        }
        wait::for_all(jobs, |(client, failure, url)| {
            try_once(&table, client, &failure, &url);
        });
    }
    table.assert_every_failure_was_seen();
}

#[test]
fn no_client_behind_nginx_takes_the_file_of_a_killed_server_for_a_finished_one() {
    const LATEST_MILLISECONDS: u64 = 800;
    let mut chance = Chance::new("killed servers behind nginx");
    let table = Table::new("servers that are killed, behind nginx");
    for _ in 0..rounds() {
        let mut jobs = Vec::new();
        for (upstream, framing) in [
            (Upstream::Http10, "&length=known"),
            (Upstream::Http11, "&length=known"),
            (Upstream::Http11, ""),
        ] {
            for client in clients() {
                let path = format!("/noise.bin?n=1000000000&piece=65536&delay=5ms{framing}");
                let moment = Duration::from_millis(chance.within(0..LATEST_MILLISECONDS));
                jobs.push((client, upstream, path, moment));
            }
        }
        wait::for_all(jobs, |(client, upstream, path, moment)| {
            let mut server = Server::start(["--demo"]);
            let nginx = Nginx::start(server.port());
            let url = nginx.url(upstream, &path);
            let kill = Server::kill_9;
            let report = download_while_server_ends(client, &url, &mut server, moment, kill);
            let failure = format!("server: kill -9, {upstream}");
            let detail = format!("{path} after {moment:?}");
            table.record(client, &failure, &report, &detail);
        });
    }
    table.assert_every_failure_was_seen();
}
