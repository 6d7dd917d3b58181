//! Content coding: negotiated, right, flushed in time, on a thread of its own, and no end that is
//! none.

use std::{
    fs,
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use datastreamer::DEFAULT_FLUSH_AFTER;
use datastreamer_http::Download;
use datastreamer_testkit::{
    Source, endless, fails_after, noise, noise_source, panics_after, silent_until_stopped,
};
use http::Request;

use crate::support::{
    raw::{End, Raw, Received},
    serving::{Serving, Setup},
    streams::{Started, gate, incompressible, writes_then_waits},
};

const CODINGS: [&str; 2] = ["gzip", "zstd"];

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

/// Decodes what there is; says whether the coding's own end was there.
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
        // A look of the watchdog each for the plain bytes and for the coded ones, and a busy
        // machine.
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
        assert_eq!(record.outcome, Some(datastreamer::Outcome::ClientGone));
        assert!(left.elapsed() < Duration::from_secs(1), "{coding}");
    }
}

/// Processor time of this process's threads with a name, from the scheduler's own count.
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
