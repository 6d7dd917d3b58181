//! A source that plans before it writes: the head waits for the plan, however long it takes.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use datastreamer::{StreamOptions, StreamPool};
use datastreamer_http::{Download, Piece, Pieces, Planned, Problem, StatusError};
use datastreamer_testkit::{noise, noise_source};
use http::StatusCode;

use crate::support::{
    raw::{End, Raw},
    serving::Setup,
    streams::{ends, gate, write_noise, writes_then_waits},
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Long after the commit window would have ended.
const PLANNING: Duration = Duration::from_millis(300);
const COMMIT_AFTER: Duration = Duration::from_millis(10);

#[test]
fn planning_that_fails_late_has_its_status_and_its_members() {
    let serving = Setup::HTTP1.serve(|request| {
        Download::new("text/csv")
            .commit_after(COMMIT_AFTER)
            .respond_planned(&request, |options, report| {
                options.stream_out(move |_| -> Result<(), Failure> {
                    let _report = report;
                    sleep(PLANNING);
                    let problem = Problem::new(StatusCode::BAD_REQUEST, "no such column");
                    Err(StatusError::from(problem.member("position", 7)).into())
                })
            })
    });
    let mut client = Raw::connect(serving.address());
    for method in ["GET", "HEAD"] {
        client.send(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let head = client.read_head();
        assert_eq!(head.status, 400, "{method}");
        if method == "GET" {
            let (body, end) = client.read_body(&head);
            assert_eq!(end, End::Whole);
            let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(told["detail"], "no such column");
            assert_eq!(told["position"], 7);
        }
    }
}

#[test]
fn the_window_begins_with_the_report_and_lasts_as_long_as_that_says() {
    for (said, window) in [(None, COMMIT_AFTER), (Some(PLANNING), PLANNING)] {
        let (open, gate) = gate();
        let serving = Setup::HTTP1.serve(move |request| {
            let gate = gate.clone();
            Download::new("text/csv")
                .commit_after(COMMIT_AFTER)
                .respond_planned(&request, move |options, report| {
                    options.stream_out(move |out| {
                        sleep(PLANNING);
                        let _pieces = report.done(Planned::new().commit_after(said));
                        writes_then_waits(10, gate, ends())(out)
                    })
                })
        });
        let mut client = Raw::connect(serving.address());
        let asked = Instant::now();
        client.ask("/");
        let head = client.read_head();
        assert!(asked.elapsed() >= PLANNING + window);
        assert!(head.is_chunked());
        assert_eq!(client.read_at_least(10), noise(10));
        drop(open);
        assert_eq!(client.read_body(&head), (Vec::new(), End::Whole));
    }
}

#[test]
fn a_length_that_planning_finds_is_in_the_head_of_get_and_head() {
    const BYTES: u64 = 1_000_000;
    let serving = Setup::HTTP1.serve(|request| {
        Download::new("text/csv").respond_planned(&request, |options, report| {
            options.stream_out(move |out| {
                let head_only = report.done(Planned::new().length(BYTES)).is_none();
                if head_only {
                    return Ok(());
                }
                noise_source(BYTES, 1000)(out)
            })
        })
    });
    let mut client = Raw::connect(serving.address());
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().content_length(), Some(BYTES as usize));
    let received = client.get("/");
    assert_eq!(received.head.content_length(), Some(BYTES as usize));
    assert!(received.body == noise(BYTES as usize));
}

#[test]
fn a_request_whose_body_was_read_is_planned_too() {
    let serving = Setup::HTTP1.serve(|request| {
        let (parts, _body) = request.into_parts();
        Download::new("text/csv").respond_planned_to(&parts, |options, report| {
            options.stream_out(move |out| {
                let pieces = report.done(Planned::new().length(1000).ranges(true));
                match pieces.iter().flat_map(Pieces::as_slice).next() {
                    Some(Piece::Range(bytes)) => {
                        write_noise(out, bytes.start, (bytes.end - bytes.start) as usize)
                    }
                    other => panic!("{other:?}"),
                }
            })
        })
    });
    let mut client = Raw::connect(serving.address());
    client.ask_with("/", "Range: bytes=10-19\r\n");
    let received = client.read_response();
    assert_eq!(received.head.status, 206);
    assert_eq!(received.head.get("content-range"), Some("bytes 10-19/1000"));
    assert_eq!(received.body, noise(20)[10..]);
}

#[test]
fn a_source_that_writes_other_than_it_has_planned_fails_visibly() {
    const PLANNED: u64 = 300_000;
    // Fewer, more, none; within the commit window and beyond it.
    for (difference, window) in [
        (-1, PLANNED),
        (1, PLANNED),
        (-300_000, PLANNED),
        (-1, 1),
        (1, 1),
    ] {
        for range in [
            "",
            "Range: bytes=0-299998\r\n",
            "Range: bytes=5-9, 20-29\r\n",
        ] {
            let serving = Setup::HTTP1.serve(move |request| {
                Download::new("text/csv")
                    .commit_bytes(2 * window as usize)
                    .respond_planned(&request, move |options, report| {
                        options.stream_out(move |out| {
                            let planned = Planned::new().length(PLANNED).ranges(true);
                            let length = report.done(planned).and_then(|pieces| pieces.length());
                            let length = length.expect("it is known");
                            let written = length.checked_add_signed(difference);
                            noise_source(written.unwrap_or_default(), 1000)(out)
                        })
                    })
            });
            let mut client = Raw::connect(serving.address());
            client.ask_with("/", range);
            let received = client.read_response();
            let what = format!("{difference} bytes, window {window}, {range:?}");
            match received.head.status {
                200 | 206 => assert_eq!(received.end, End::Reset, "{what}"),
                status => assert_eq!(status, 500, "{what}"),
            }
        }
    }
}

#[test]
fn a_length_that_is_known_without_planning_is_in_the_head_of_head() {
    let serving = Setup::HTTP1.serve(|request| {
        Download::new("text/csv")
            .length(5)
            .respond_planned(&request, |options, report| {
                options.stream_out(move |_| drop(report.done(Planned::new())))
            })
    });
    let mut client = Raw::connect(serving.address());
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.read_head();
    assert_eq!((head.status, head.content_length()), (200, Some(5)));
}

#[test]
fn head_takes_a_place() {
    let pool = StreamPool::new(
        datastreamer::PoolOptions::new()
            .max_active(1)
            .max_waiting(0),
    );
    let (open, gate) = gate();
    let busy = StreamOptions::new()
        .pool(&pool)
        .stream_out(writes_then_waits(10, gate, ends()));
    let serving = Setup::HTTP1.serve(move |request| {
        Download::new("text/csv")
            .options(StreamOptions::new().pool(&pool))
            .respond_planned(&request, |options, report| {
                options.stream_out(move |_| drop(report.done(Planned::new())))
            })
    });
    let mut client = Raw::connect(serving.address());
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().status, 503);
    drop(open);
    assert_eq!(busy.read_to_vec().unwrap().len(), 10);
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().status, 200);
}
