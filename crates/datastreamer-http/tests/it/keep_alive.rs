//! Many responses over one connection: each is complete, and the connection is disarmed between them.

use datastreamer_http::{Download, DownloadBody};
use datastreamer_testkit::{fails_after, noise, noise_source};
use http::{Request, StatusCode};

use crate::support::{
    raw::{End, Raw},
    serving::{Serving, Setup},
    spy::Event,
};

/// Serves `/BYTES` of unknown length and `/BYTES/known` of known length.
fn serve_noise() -> Serving {
    Setup::HTTP1.serve(|request: Request<()>| {
        let path = request.uri().path().trim_start_matches('/');
        let (bytes, length) = match path.strip_suffix("/known") {
            Some(bytes) => (bytes, Some(bytes.parse::<u64>().unwrap())),
            None => (path, None),
        };
        let source = noise_source(bytes.parse().unwrap(), 4096);
        Download::new("text/plain")
            .length(length)
            .respond(&request, |options| options.stream_out(source))
    })
}

/// Sizes around zero, the chunk and the commit window, and in between.
fn size_of(request: usize) -> usize {
    match request % 10 {
        0 => 0,
        1 => 1,
        2 => 65_535,
        3 => 65_536,
        4 => 131_072,
        5 => 131_073,
        _ => request * 37 % 20_000,
    }
}

#[test]
fn a_thousand_responses_over_one_connection_are_all_right() {
    let serving = serve_noise();
    let mut client = Raw::connect(serving.address());
    for request in 0..1000 {
        let size = size_of(request);
        let received = match request % 3 {
            0 => client.get(&format!("/{size}/known")),
            _ => client.get(&format!("/{size}")),
        };
        assert_eq!(received.head.status, 200);
        assert_eq!(received.end, End::Whole);
        assert!(received.body == noise(size), "request {request}");
    }
    let spy = serving.spy(0);
    spy.wait_last(Event::Disarmed);
    assert_eq!(spy.bytes_unarmed(), 0, "every byte was covered");
    let events = spy.events();
    assert_eq!(events.len(), 2000);
    for pair in events.chunks(2) {
        assert_eq!(pair, [Event::Armed, Event::Disarmed]);
    }
}

#[test]
fn an_idle_connection_ends_with_a_clean_fin() {
    let serving = serve_noise();
    for _ in 0..20 {
        let mut client = Raw::connect(serving.address());
        assert_eq!(client.get("/100000").end, End::Whole);
        assert_eq!(client.get("/100000/known").end, End::Whole);
    }
    let mut clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Raw::connect(serving.address());
            assert_eq!(client.get("/100000").end, End::Whole);
            client
        })
        .collect();
    serving.close_gracefully();
    for client in &mut clients {
        assert_eq!(client.read_close(), End::Fin);
    }
}

#[test]
fn an_idle_connection_of_a_crashed_server_ends_with_a_clean_fin() {
    let serving = serve_noise();
    let mut client = Raw::connect(serving.address());
    assert_eq!(client.get("/1000000").end, End::Whole);
    serving.spy(0).wait_last(Event::Disarmed);
    serving.crash();
    assert_eq!(client.read_close(), End::Fin);
}

#[test]
fn a_connection_that_is_asked_to_close_ends_with_a_clean_fin_behind_the_last_byte() {
    let serving = serve_noise();
    for path in ["/0", "/1000", "/1000000", "/1000000/known"] {
        let mut client = Raw::connect(serving.address());
        client.ask_with(path, "Connection: close\r\n");
        let received = client.read_response();
        assert_eq!(received.end, End::Whole, "{path}");
        assert_eq!(client.read_close(), End::Fin, "{path}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let serving = serve_noise();
    let mut client = Raw::connect(serving.address());
    let requests: String = [300_000, 5, 200_000]
        .map(|size| format!("GET /{size} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .concat();
    client.send(&requests);
    for size in [300_000, 5, 200_000] {
        let received = client.read_response();
        assert_eq!(received.end, End::Whole);
        assert!(received.body == noise(size));
    }
    serving.spy(0).wait_last(Event::Disarmed);
}

#[test]
fn a_body_that_nobody_asked_for_anything_leaves_the_connection_at_peace() {
    let serving = Setup::HTTP1.serve(|request: Request<()>| {
        let source = noise_source(300_000, 4096);
        let answer =
            Download::new("text/plain").respond(&request, |options| options.stream_out(source));
        async move {
            let mut response = answer.await;
            if request.uri().path() == "/unchanged" {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                *response.body_mut() = DownloadBody::empty();
            }
            response
        }
    });
    let mut client = Raw::connect(serving.address());
    for _ in 0..3 {
        client.ask("/unchanged");
        assert_eq!(client.read_head().status, 304);
        assert_eq!(client.get("/").end, End::Whole);
    }
    serving.spy(0).wait_last(Event::Disarmed);
    serving.close_gracefully();
    assert_eq!(client.read_close(), End::Fin);
}

#[test]
fn a_failure_after_good_responses_resets_their_connection() {
    let serving = Setup::HTTP1.serve(|request: Request<()>| {
        let source = match request.uri().path() {
            "/bad" => fails_after(300_000, 4096),
            _ => noise_source(300_000, 4096),
        };
        Download::new("text/plain").respond(&request, |options| options.stream_out(source))
    });
    let mut client = Raw::connect(serving.address());
    for _ in 0..3 {
        assert_eq!(client.get("/good").end, End::Whole);
    }
    let received = client.get("/bad");
    assert_eq!((received.body, received.end), (noise(300_000), End::Reset));
}
