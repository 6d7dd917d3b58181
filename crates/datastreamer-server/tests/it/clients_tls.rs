//! The same promise over TLS, where a failure is a connection that is reset without close_notify: the
//! program's routes in a service of the test's own.

use std::{fs, thread, time::Duration};

use crate::clients::{assert_fails_at, failing_noise, try_once};
use crate::support::clients::{Client, TIME_LIMIT, assert_downloads, probe_tls};
use crate::support::rounds::{Chance, rounds};
use crate::support::scratch::Scratch;
use crate::support::table::Table;
use crate::support::tls::TlsServer;
use crate::support::{noise, wait};

/// In the first piece, beyond what buffers usually hold, and far beyond it.
const OFFSETS: [u64; 3] = [1_000, 200_000, 5_000_000];

const OVER_HTTP1: [Client; 11] = [
    Client::Curl,
    Client::Wget,
    Client::Aria2,
    Client::Requests,
    Client::Httpx,
    Client::Urllib,
    Client::NodeFetch,
    Client::NodeFetchClosing,
    Client::Java,
    Client::ChromiumDownload,
    Client::ChromiumFetch,
];

const OVER_HTTP2: [Client; 5] = [
    Client::CurlHttp2,
    Client::HttpxHttp2,
    Client::Java,
    Client::ChromiumDownload,
    Client::ChromiumFetch,
];

/// A server of each protocol, and the clients that speak it.
fn servers() -> [(TlsServer, &'static [Client]); 2] {
    [
        (TlsServer::start(&["http/1.1"]), &OVER_HTTP1),
        (TlsServer::start(&["h2"]), &OVER_HTTP2),
    ]
}

#[test]
fn every_client_gets_the_right_bytes_over_tls() {
    let servers = servers();
    let mut jobs = Vec::new();
    for (server, clients) in &servers {
        for length in [0, 1, 3_000_000] {
            let sha256 = noise::sha256(length);
            for framing in ["", "&length=known"] {
                let url = server.url(&format!("/noise.bin?n={length}&piece=10000{framing}"));
                let job = |client: &Client| (*client, url.clone(), sha256.clone());
                jobs.extend(clients.iter().map(job));
            }
        }
    }
    wait::for_all(jobs, |(client, url, sha256)| {
        assert_downloads(client, &url, &sha256);
    });
}

#[test]
fn no_client_takes_a_source_that_fails_over_tls_for_a_finished_file() {
    let mut chance = Chance::new("failing sources over TLS");
    let servers = servers();
    let table = Table::new("sources that fail over TLS");
    for _ in 0..rounds() {
        let mut jobs = Vec::new();
        for (server, clients) in &servers {
            for (failure, path, fails_at) in failing_noise(&OFFSETS, &mut chance) {
                let url = server.url(&path);
                assert_fails_at(&probe_tls(&url), fails_at, &url);
                jobs.extend(clients.iter().map(|client| (*client, failure, url.clone())));
            }
        }
        wait::for_all(jobs, |(client, failure, url)| {
            try_once(&table, client, failure, &url);
        });
    }
    table.assert_every_failure_was_seen();
}

#[test]
fn no_client_takes_a_part_of_a_file_over_tls_for_the_whole_when_the_server_stops() {
    // 458 pieces of 64 KiB, 5 ms apart: more than two seconds, and the drain takes 0.8.
    const TRANSFER_BYTES: u64 = 30_000_000;
    let mut jobs = Vec::new();
    for framing in ["", "&length=known"] {
        jobs.extend(OVER_HTTP1.map(|client| (client, "http/1.1", framing)));
        jobs.extend(OVER_HTTP2.map(|client| (client, "h2", framing)));
    }
    let table = Table::new("servers that stop over TLS");
    wait::for_all(jobs, |(client, protocol, framing)| {
        let server = TlsServer::start(&[protocol]);
        let url = server.url(&format!(
            "/noise.bin?n={TRANSFER_BYTES}&piece=65536&delay=5ms{framing}"
        ));
        let scratch = Scratch::new("stopped");
        let file = scratch.join("body");
        let report = thread::scope(|scope| {
            let download = scope.spawn(|| client.download(&url, &file));
            wait::until("a download begins", TIME_LIMIT, || {
                server.streams() > 0 || download.is_finished()
            });
            thread::sleep(Duration::from_millis(200));
            assert!(
                !download.is_finished(),
                "{client} has not begun, or is done"
            );
            server.stop();
            download.join().expect("the client can be run")
        });
        // On a fast machine a client may have had all of it.
        let saved_bytes = fs::metadata(&file).map_or(0, |metadata| metadata.len());
        assert!(
            !report.is_success() || saved_bytes < TRANSFER_BYTES,
            "{client}: the download has ended before the server"
        );
        table.record(client, "server: stopped in mid-transfer", &report, &url);
    });
    table.assert_every_failure_was_seen();
}
