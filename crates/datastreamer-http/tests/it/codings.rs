//! Content coding: negotiated, correct, flushed in time, on its own thread, and with a clean end only
//! for a complete file.

use std::{
    convert::Infallible,
    fs,
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use datastreamer::{
    DEFAULT_FLUSH_AFTER, ErrorKind, Outcome, PoolOptions, StreamOptions, StreamPool,
};
use datastreamer_http::Download;
use datastreamer_testkit::{
    Probe, Source, endless, eventually, fails_after, noise, noise_source, panics_after, promptly,
    silent_until_stopped,
};
use http::{HeaderValue, Request, header::ETAG};

use crate::support::{
    raw::{End, Raw, Received},
    serving::{Serving, Setup},
    streams::{A_WHILE, Started, gate, incompressible, writes_then_waits},
};

const CODINGS: [&str; 2] = ["gzip", "zstd"];
/// From a hang-up until the source is stopped: a few wake-ups and the start of a thread.
const TOLD_WITHIN: Duration = Duration::from_millis(50);

fn serve(source: impl Fn(&Request<()>) -> Source + Send + Sync + 'static) -> Serving {
    Setup::HTTP1.serve(move |request| {
        let source = source(&request);
        Download::new("text/csv")
            .compressible(true)
            .commit_bytes(1)
            .respond(&request, |options| options.stream_out(source))
    })
}

fn accept(coding: &str) -> String {
    format!("Accept-Encoding: {coding}\r\n")
}

fn get(serving: &Serving, coding: &str) -> Received {
    let mut client = Raw::connect(serving.address());
    client.ask_with("/", &accept(coding));
    client.read_response()
}

/// Decodes all bytes; also returns whether the coding's own end was among them.
fn decode(coding: &str, coded: &[u8]) -> (Vec<u8>, bool) {
    let mut decoded = Vec::new();
    let mut decoder: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(coded)),
        _ => Box::new(zstd::Decoder::with_buffer(coded).unwrap()),
    };
    let mut buffer = [0; 4096];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return (decoded, true),
            Ok(read) => decoded.extend_from_slice(&buffer[..read]),
            Err(_) => return (decoded, false),
        }
    }
}

#[test]
fn a_coded_body_decodes_to_the_file() {
    for coding in CODINGS {
        for bytes in [0, 1, 1000, 200_000, 1_000_000] {
            let serving = serve(move |_| noise_source(bytes as u64, 4096));
            let received = get(&serving, coding);
            assert_eq!(received.head.get("content-encoding"), Some(coding));
            assert_eq!(received.head.get("vary"), Some("accept-encoding"));
            assert_eq!(received.end, End::Whole);
            let (decoded, ended) = decode(coding, &received.body);
            assert!(decoded == noise(bytes), "{coding} of {bytes}");
            assert!(ended, "{coding} of {bytes}");
        }
    }
}

#[test]
fn a_coded_stream_has_no_length_whatever_the_source_promised() {
    for coding in CODINGS {
        let (open, gate) = gate();
        let serving = Setup::HTTP1.serve(move |request| {
            let then = noise_source(0, 1);
            let source = writes_then_waits(200_000, gate.clone(), then);
            Download::new("text/csv")
                .compressible(true)
                .length(200_000)
                .commit_bytes(1)
                .respond(&request, |options| options.stream_out(source))
        });
        let mut client = Raw::connect(serving.address());
        client.ask_with("/", &accept(coding));
        let head = client.read_head();
        assert!(head.is_chunked());
        assert_eq!(head.content_length(), None);
        drop(open);
        let (body, end) = client.read_body(&head);
        assert_eq!(end, End::Whole);
        assert!(decode(coding, &body).0 == noise(200_000));
    }
}

#[test]
fn a_client_that_accepts_no_coding_gets_the_bytes_as_they_are() {
    let serving = serve(|_| noise_source(200_000, 4096));
    for coding in ["identity", "br", "gzip;q=0", "zstd;q=0, identity"] {
        let received = get(&serving, coding);
        assert_eq!(received.head.get("content-encoding"), None, "{coding}");
        assert_eq!(received.head.get("vary"), Some("accept-encoding"));
        assert!(received.body == noise(200_000), "{coding}");
    }
}

#[test]
fn what_is_not_compressible_is_never_coded() {
    let serving = Setup::HTTP1.serve(|request| {
        Download::new("image/jpeg").respond(&request, |options| {
            options.stream_out(noise_source(1000, 100))
        })
    });
    let received = get(&serving, "gzip, zstd");
    assert_eq!(received.head.get("content-encoding"), None);
    assert_eq!(received.head.get("vary"), None);
    assert_eq!(received.body, noise(1000));
}

#[test]
fn curl_decodes_what_it_asked_for() {
    let serving = serve(|_| noise_source(1_000_000, 4096));
    let mut curl = Command::new("curl")
        .args(["-q", "--silent", "--show-error", "--fail", "--compressed"])
        .args(["--noproxy", "*"])
        .arg(format!("http://{}/", serving.address()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut body = Vec::new();
    let mut output = curl.stdout.take().unwrap();
    output.read_to_end(&mut body).unwrap();
    assert!(curl.wait().unwrap().success());
    assert!(body == noise(1_000_000));
}

#[test]
fn a_failure_inside_gives_the_valid_bytes_and_never_the_codings_end() {
    for coding in CODINGS {
        for after in [1, 1000, 600_000] {
            for panics in [false, true] {
                let serving = serve(move |_| match panics {
                    false => fails_after(after as u64, 4096),
                    true => panics_after(after as u64, 4096),
                });
                let received = get(&serving, coding);
                assert_eq!(received.head.status, 200);
                assert_eq!(received.end, End::Reset, "{coding} after {after}");
                let (decoded, ended) = decode(coding, &received.body);
                assert!(!ended, "{coding} after {after}: looks whole");
                assert!(decoded == noise(after), "{coding} after {after}");
            }
        }
    }
}

#[test]
fn an_early_failure_inside_has_its_status() {
    for coding in CODINGS {
        let serving = Setup::HTTP1.serve(|request| {
            Download::new("text/csv")
                .compressible(true)
                .respond(&request, |options| {
                    options.stream_out(|_| {
                        Err::<(), _>(datastreamer_http::StatusError::new(
                            http::StatusCode::NOT_FOUND,
                            "no such field: 17",
                        ))
                    })
                })
        });
        let received = get(&serving, coding);
        assert_eq!(received.head.status, 404);
        assert_eq!(received.head.get("content-encoding"), None);
        serde_json::from_slice::<serde_json::Value>(&received.body).unwrap();
    }
}

#[test]
fn bytes_before_a_silence_arrive_decodable() {
    for coding in CODINGS {
        let serving = serve(|_| {
            Box::new(|out| {
                out.write_slice(b"a row\n")?;
                silent_until_stopped()(out)
            })
        });
        let mut client = Raw::connect(serving.address());
        let asked = Instant::now();
        client.ask_with("/", &accept(coding));
        client.read_head();
        let mut coded = Vec::new();
        while decode(coding, &coded).0 != b"a row\n" {
            coded.extend(client.read_at_least(1));
        }
        // One check of the watchdog for the plain bytes, one for the coded ones, and a reserve for
        // a busy machine.
        let waited = asked.elapsed();
        assert!(
            waited < 2 * DEFAULT_FLUSH_AFTER + DEFAULT_FLUSH_AFTER,
            "{coding}: {waited:?}"
        );
    }
}

#[test]
fn a_client_that_leaves_stops_the_source_behind_the_coder() {
    for coding in CODINGS {
        let started = Started::default();
        let its_started = started.clone();
        let serving = Setup::HTTP1.serve(move |request| {
            let started = its_started.clone();
            Download::new("text/csv")
                .compressible(true)
                .respond(&request, move |options| {
                    let plain = options.stream_out(endless(4096));
                    started.note(plain.handle());
                    plain
                })
        });
        let mut client = Raw::connect(serving.address());
        client.ask_with("/", &accept(coding));
        client.read_head();
        let left = Instant::now();
        drop(client);
        let record = started.record(0);
        assert_eq!(record.outcome, Some(Outcome::ClientGone));
        assert!(left.elapsed() < Duration::from_secs(1), "{coding}");
    }
}

#[test]
fn a_client_that_leaves_is_told_to_a_silent_source_behind_the_coder() {
    for coding in CODINGS {
        promptly("the source is told", TOLD_WITHIN, || {
            let probe = Probe::new();
            let its_probe = probe.clone();
            let serving = Setup::HTTP1.serve(move |request| {
                let source = its_probe.wrap(silent_until_stopped());
                Download::new("text/csv")
                    .compressible(true)
                    .commit_after(Duration::from_millis(10))
                    .respond(&request, |options| options.stream_out(source))
            });
            let mut client = Raw::connect(serving.address());
            client.ask_with("/", &accept(coding));
            client.read_head();
            let left = Instant::now();
            drop(client);
            let (told, why) = probe.wait_told();
            assert_eq!(why.kind(), ErrorKind::HangUp);
            told - left
        });
    }
}

/// Serves coded files from a pool with one place.
fn serve_from(
    pool: &StreamPool,
    started: &Started,
    source: impl Fn() -> Source + Send + Sync + 'static,
) -> Serving {
    serve_with(StreamOptions::new().pool(pool), started, source)
}

fn serve_with(
    options: StreamOptions,
    started: &Started,
    source: impl Fn() -> Source + Send + Sync + 'static,
) -> Serving {
    let started = started.clone();
    Setup::HTTP1.serve(move |request| {
        let (started, source) = (started.clone(), source());
        Download::new("text/csv")
            .compressible(true)
            .options(options.clone())
            .observe(move |stream| started.note(stream))
            .respond(&request, |options| options.stream_out(source))
    })
}

fn one_place() -> StreamPool {
    StreamPool::new(PoolOptions::new().max_active(1))
}

#[test]
fn a_coded_stream_that_waits_for_its_place_takes_no_thread_and_goes_with_its_client() {
    for coding in CODINGS {
        promptly("the waiting room is empty", TOLD_WITHIN, || {
            let (pool, started) = (one_place(), Started::default());
            let occupied = pool.stream_out(silent_until_stopped());
            let serving = serve_from(&pool, &started, || noise_source(1000, 100));
            let mut client = Raw::connect(serving.address());
            client.ask_with("/", &accept(coding));
            eventually("the stream waits", || pool.waiting() == 1);
            thread::sleep(A_WHILE);
            assert_eq!(pool.threads(), 1);
            let left = Instant::now();
            drop(client);
            eventually("it is gone", || pool.waiting() == 0);
            let waited = left.elapsed();
            let record = started.record(0);
            assert_eq!(record.outcome, Some(Outcome::ClientGone), "{coding}");
            drop(occupied);
            waited
        });
    }
}

#[test]
fn a_coded_stream_has_its_place_until_its_client_has_all() {
    const BYTES: usize = 400_000;
    let (pool, started) = (one_place(), Started::default());
    let options = StreamOptions::new().pool(&pool).buffer_bytes(2 * BYTES);
    let serving = serve_with(options, &started, || {
        Box::new(|out| Ok(out.write_slice(&incompressible(BYTES))?))
    });
    for (index, coding) in CODINGS.into_iter().enumerate() {
        let mut client = Raw::connect_narrow(serving.address());
        client.ask_with("/", &accept(coding));
        let coded = started.handle(index);
        eventually("all is coded", || {
            coded.record().bytes_written >= BYTES as u64
        });
        thread::sleep(A_WHILE);
        assert_eq!(pool.active(), 1, "{coding}");
        assert_eq!(client.read_response().end, End::Whole);
        eventually("the place is free", || pool.active() == 0);
    }
}

#[test]
fn the_record_of_a_coded_stream_tells_of_the_rows() {
    let (pool, started) = (one_place(), Started::default());
    let serving = serve_from(&pool, &started, || {
        Box::new(|out| {
            out.expect_rows(3);
            for _ in 0..3 {
                out.write_slice(b"a row\n")?;
                out.add_rows(1);
                out.flush_now()?;
            }
            Ok(())
        })
    });
    for (index, coding) in CODINGS.into_iter().enumerate() {
        assert_eq!(get(&serving, coding).end, End::Whole);
        let record = started.record(index);
        assert_eq!((record.rows, record.rows_expected), (3, Some(3)));
    }
}

#[test]
fn an_async_source_behind_the_coder_has_its_runtime() {
    let serving = Setup::HTTP1.serve(|request| {
        let rows = futures_util::stream::unfold(0, |row| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            (row < 3).then(|| (Ok::<_, Infallible>(Bytes::from("a row\n")), row + 1))
        });
        Download::new("text/csv")
            .compressible(true)
            .respond(&request, |options| options.stream_out_async(rows))
    });
    for coding in CODINGS {
        let received = get(&serving, coding);
        assert_eq!(received.head.status, 200);
        assert_eq!(decode(coding, &received.body).0, b"a row\n".repeat(3));
    }
}

/// The CPU time of this process's threads with a name, as counted by the scheduler.
fn cpu_time(thread_name: &str) -> Duration {
    let mut nanoseconds = 0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.trim_end() == thread_name {
            let stat = fs::read_to_string(task.join("schedstat")).unwrap();
            nanoseconds += stat.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    Duration::from_nanos(nanoseconds)
}

#[test]
fn coding_is_no_work_of_the_event_loop() {
    const BYTES: usize = 2_000_000;
    let cost = thread::Builder::new()
        .name("one-coder".into())
        .spawn(|| {
            let level = flate2::Compression::new(1);
            let mut coder = flate2::write::GzEncoder::new(std::io::sink(), level);
            coder.write_all(&incompressible(BYTES)).unwrap();
            coder.finish().unwrap();
            cpu_time("one-coder")
        })
        .unwrap()
        .join()
        .unwrap();
    let serving = serve(|_| Box::new(|out| Ok(out.write_slice(&incompressible(BYTES))?)));
    let plain = get(&serving, "identity");
    let before = cpu_time(serving.thread_name());
    let coded = get(&serving, "gzip");
    let in_loop = cpu_time(serving.thread_name()) - before;
    assert!(decode("gzip", &coded.body).0 == plain.body);
    assert!(in_loop < cost / 2, "{in_loop:?} of {cost:?}");
}

#[test]
fn a_strong_etag_becomes_weak_with_a_coding() {
    let serving = Setup::HTTP1.serve(move |request: Request<()>| {
        let etag = match request.uri().path() {
            "/weak" => "W/\"v1\"",
            _ => "\"v1\"",
        };
        Download::new("text/csv")
            .compressible(true)
            .header(ETAG, HeaderValue::from_static(etag))
            .respond(&request, |options| {
                options.stream_out(noise_source(1000, 100))
            })
    });
    let etag = |path: &str, coding: &str| {
        let mut client = Raw::connect(serving.address());
        client.ask_with(path, &accept(coding));
        client
            .read_response()
            .head
            .get("etag")
            .map(str::to_owned)
            .unwrap()
    };
    assert_eq!(etag("/", "identity"), "\"v1\"");
    for coding in CODINGS {
        assert_eq!(etag("/", coding), "W/\"v1\"");
        assert_eq!(etag("/weak", coding), "W/\"v1\"");
    }
}

#[test]
fn a_length_in_the_options_does_not_break_a_coded_response() {
    let serving = Setup::HTTP1.serve(move |request: Request<()>| {
        Download::new("text/csv")
            .compressible(true)
            .options(StreamOptions::new().length(100_000))
            .respond(&request, |options| {
                options.stream_out(noise_source(100_000, 1000))
            })
    });
    for coding in CODINGS {
        let received = get(&serving, coding);
        assert_eq!(received.end, End::Whole);
        assert_eq!(decode(coding, &received.body), (noise(100_000), true));
    }
}
