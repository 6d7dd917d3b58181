//! Failures before the head: an error status, a problem that can be parsed, and the connection
//! remains usable.

use std::time::Duration;

use datastreamer::{Outcome, PoolOptions, StreamOptions, StreamPool, stream_out};
use datastreamer_http::{Download, FailWith, StatusError};
use datastreamer_testkit::{
    BoxError, Probe, Source, eventually, fails_after, noise_source, panics_after,
    silent_until_stopped,
};
use http::{Request, StatusCode};

use crate::support::{
    raw::{End, Raw, Received},
    serving::{Serving, Setup},
    spy::Event,
    streams::{Started, ends, gate, writes_then_waits},
};

/// Longer than a busy machine keeps a source off its cores.
const SOURCE_STALL: Duration = Duration::from_secs(2);

fn serve(source: impl Fn() -> Source + Send + Sync + 'static) -> Serving {
    Setup::HTTP1.serve(move |request| {
        let source = source();
        Download::new("text/csv")
            .file_name("stars.csv")
            .respond(&request, |options| {
                options.source_stall(SOURCE_STALL).stream_out(source)
            })
    })
}

/// Checks that this is a problem details object (RFC 9457); returns its detail.
fn problem(received: &Received, status: u16) -> String {
    assert_eq!(received.head.status, status);
    assert_eq!(received.end, End::Whole);
    let head = &received.head;
    assert_eq!(head.get("content-type"), Some("application/problem+json"));
    assert_eq!(head.get("content-disposition"), None);
    assert_eq!(head.content_length(), Some(received.body.len()));
    let problem: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], "about:blank");
    assert!(!problem["title"].as_str().unwrap().is_empty());
    problem["detail"].as_str().unwrap().to_owned()
}

#[test]
fn an_early_failure_has_a_status_and_keeps_its_text_to_itself() {
    // Within the commit window, even if something was written already.
    for written in [0, 1, 10_000] {
        let serving = serve(move || fails_after(written, 100));
        let mut client = Raw::connect(serving.address());
        let received = client.get("/");
        let detail = problem(&received, 500);
        assert!(!detail.contains(datastreamer_testkit::FAILURE), "{detail}");
        // But it says where to look.
        let json: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
        assert_eq!(json["stream"].as_str().unwrap().len(), 16);
    }
}

#[test]
fn an_early_panic_has_a_status_and_keeps_its_text_to_itself() {
    let serving = serve(|| panics_after(1000, 100));
    let detail = problem(&Raw::connect(serving.address()).get("/"), 500);
    assert!(!detail.contains(datastreamer_testkit::FAILURE), "{detail}");
}

#[test]
fn a_source_decides_about_its_status() {
    let serving = serve(|| {
        Box::new(|_| Err(StatusError::new(StatusCode::NOT_FOUND, "no such field: 17").into()))
    });
    let detail = problem(&Raw::connect(serving.address()).get("/"), 404);
    assert_eq!(detail, "no such field: 17");
}

#[test]
fn a_status_is_found_among_the_causes() {
    let serving = serve(|| {
        Box::new(|_| {
            let status = StatusError::new(StatusCode::GONE, "the field has left");
            Err(BoxError::from(std::io::Error::other(status)))
        })
    });
    let detail = problem(&Raw::connect(serving.address()).get("/"), 410);
    assert_eq!(detail, "the field has left");
}

#[test]
fn a_source_that_stalls_within_the_commit_window_is_a_gateway_timeout() {
    let serving = serve(silent_until_stopped);
    problem(&Raw::connect(serving.address()).get("/"), 504);
}

#[test]
fn a_full_pool_asks_the_client_to_come_again() {
    let pool = StreamPool::new(PoolOptions::new().max_active(1).max_waiting(0));
    let occupied = pool.stream_out(silent_until_stopped());
    let probe = Probe::new();
    let (its_pool, its_probe) = (pool.clone(), probe.clone());
    let serving = Setup::HTTP1.serve(move |request| {
        let (pool, source) = (its_pool.clone(), its_probe.wrap(noise_source(10, 10)));
        Download::new("text/csv").respond(&request, move |options| {
            options.pool(&pool).stream_out(source)
        })
    });
    let mut client = Raw::connect(serving.address());
    let received = client.get("/");
    problem(&received, 503);
    let seconds: u32 = received.head.get("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert!(!probe.has_started());

    drop(occupied);
    datastreamer_testkit::eventually("the place is free", || pool.active() == 0);
    assert_eq!(client.get("/").body.len(), 10, "the same connection");
}

#[test]
fn a_wait_for_a_place_in_vain_is_a_refusal_however_short_the_commit_window() {
    let pool = StreamPool::new(
        PoolOptions::new()
            .max_active(1)
            .queue_timeout(Duration::from_millis(400)),
    );
    let _occupied = pool.stream_out(silent_until_stopped());
    let serving = Setup::HTTP1.serve(move |request| {
        Download::new("text/csv")
            .compressible(true)
            .commit_after(Duration::from_millis(50))
            .options(StreamOptions::new().pool(&pool))
            .respond(&request, |options| options.stream_out(noise_source(10, 10)))
    });
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let mut client = Raw::connect(serving.address());
        client.send(request);
        let received = client.read_response();
        problem(&received, 503);
        assert!(received.head.get("retry-after").is_some());
    }
}

#[test]
fn a_stream_without_the_promised_length_is_refused() {
    for (bytes, coding) in [(999, ""), (1001, ""), (1001, "Accept-Encoding: gzip\r\n")] {
        let started = Started::default();
        let its_started = started.clone();
        let serving = Setup::HTTP1.serve(move |request| {
            let started = its_started.clone();
            Download::new("text/csv")
                .length(1000)
                .compressible(true)
                .observe(move |stream| started.note(stream))
                .respond(&request, move |_| stream_out(noise_source(bytes, 10)))
        });
        let mut client = Raw::connect(serving.address());
        client.ask_with("/", coding);
        let detail = problem(&client.read_response(), 500);
        assert!(
            detail.contains("did not write the promised length"),
            "{detail}"
        );
        let record = started.record(0);
        assert_eq!(record.outcome, Some(Outcome::SourceError));
    }
}

#[test]
fn a_pool_that_shuts_down_asks_the_client_to_come_again() {
    let pool = StreamPool::new(PoolOptions::default());
    pool.refuse_new();
    let serving = Setup::HTTP1.serve(move |request| {
        let pool = pool.clone();
        Download::new("text/csv").respond(&request, move |options| {
            options.pool(&pool).stream_out(noise_source(10, 10))
        })
    });
    let received = Raw::connect(serving.address()).get("/");
    problem(&received, 503);
    assert!(received.head.get("retry-after").is_some());
}

#[test]
fn an_early_failure_leaves_the_connection_alive_and_unarmed() {
    let serving = Setup::HTTP1.serve(|request: Request<()>| {
        let source = match request.uri().path() {
            "/bad" => fails_after(10, 10),
            _ => noise_source(200_000, 4096),
        };
        Download::new("text/csv").respond(&request, |options| options.stream_out(source))
    });
    let mut client = Raw::connect(serving.address());
    for _ in 0..3 {
        problem(&client.get("/bad"), 500);
        let spy = serving.spy(0);
        assert_ne!(spy.events().last(), Some(&Event::Armed));
        assert_eq!(client.get("/good").body.len(), 200_000);
        spy.wait_last(Event::Disarmed);
    }
    serving.close_gracefully();
    assert_eq!(client.read_close(), End::Fin);
}

#[test]
fn a_promised_length_of_zero_is_no_clean_end_before_the_verdict() {
    // hyper never polls a body of no bytes, so the failure would not be seen.
    for fails in [true, false] {
        let (open, gate) = gate();
        let started = Started::default();
        let its_started = started.clone();
        let serving = Setup::HTTP1.serve(move |request| {
            let then = match fails {
                true => fails_after(0, 1),
                false => ends(),
            };
            let started = its_started.clone();
            let source = writes_then_waits(0, gate.clone(), then);
            Download::new("text/plain")
                .length(0)
                .commit_after(Duration::from_millis(10))
                .observe(move |stream| started.note(stream))
                .respond(&request, |options| options.stream_out(source))
        });
        let mut client = Raw::connect(serving.address());
        client.ask("/");
        let head = client.read_head();
        assert_eq!((head.status, head.content_length()), (200, None));
        drop(open);
        let (body, end) = client.read_body(&head);
        assert!(body.is_empty());
        assert_eq!(end, if fails { End::Reset } else { End::Whole });
        let outcome = started.record(0).outcome;
        let expected = if fails {
            Outcome::SourceError
        } else {
            Outcome::Complete
        };
        assert_eq!(outcome, Some(expected));
    }
}

#[test]
fn a_head_request_is_refused_as_its_get_would_be() {
    let pool = StreamPool::new(PoolOptions::new().max_active(1).max_waiting(0));
    let its_pool = pool.clone();
    let serving = Setup::HTTP1.serve(move |request| {
        Download::new("text/plain")
            .options(StreamOptions::new().pool(&its_pool))
            .respond(&request, |options| options.stream_out(noise_source(10, 10)))
    });
    let status = |method: &str| {
        let mut client = Raw::connect(serving.address());
        client.send(&format!("{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = client.read_head();
        (head.status, head.get("retry-after").is_some())
    };
    assert_eq!(
        (status("HEAD"), status("GET")),
        ((200, false), (200, false))
    );
    let wait_for_the_place = || eventually("the place is free", || pool.active() == 0);
    wait_for_the_place();
    let holding = pool.stream_out(silent_until_stopped());
    assert_eq!((status("HEAD"), status("GET")), ((503, true), (503, true)));
    drop(holding);
    wait_for_the_place();
    assert_eq!(status("HEAD"), (200, false));
    pool.refuse_new();
    assert_eq!((status("HEAD"), status("GET")), ((503, true), (503, true)));
}

#[test]
fn a_source_may_fail_with_a_status_whatever_it_returns() {
    let serving = serve(|| {
        Box::new(|out| {
            let _failed = out.fail_with(StatusCode::CONFLICT, "the field is being reduced");
            Ok(()) // As an author may forget.
        })
    });
    let detail = problem(&Raw::connect(serving.address()).get("/"), 409);
    assert_eq!(detail, "the field is being reduced");
}

#[cfg(feature = "anyhow")]
#[test]
fn a_status_is_found_behind_an_error_of_anyhow() {
    use anyhow::Context;
    for with_context in [false, true] {
        let serving = Setup::HTTP1.serve(move |request: Request<()>| {
            Download::new("text/csv").respond(&request, move |options| {
                options.stream_out(move |_| -> anyhow::Result<()> {
                    let refused = StatusError::new(StatusCode::GONE, "the field has left");
                    match with_context {
                        true => Err(refused).context("select * from secret"),
                        false => Err(refused.into()),
                    }
                })
            })
        });
        let detail = problem(&Raw::connect(serving.address()).get("/"), 410);
        assert_eq!(detail, "the field has left");
    }
}
