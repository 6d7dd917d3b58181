//! Ranges and preconditions of files whose sources start anywhere: against a model of RFC 9110 that
//! looks at single bytes, and against the RFC's own words.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use datastreamer_http::{BareRanges, DiskFile, Download, ETag, Piece, Planned};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use proptest::prelude::*;

const TAG: &str = "\"v1\"";
const DATE: &str = "Sun, 29 Nov 2026 12:00:00 GMT";

/// What a file is, and what its source says of it.
#[derive(Clone, Copy, Debug)]
struct Served {
    bytes: usize,
    has_length: bool,
    has_etag: bool,
    has_ranges: bool,
    bare_ranges: BareRanges,
}

const FILE: Served = Served {
    bytes: 1000,
    has_length: true,
    has_etag: true,
    has_ranges: true,
    bare_ranges: BareRanges::Bounded,
};

fn data(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

/// Answers a request and reads the response.
fn answer(
    served: Served,
    method: &str,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri("/file");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(async move {
        let modified = httpdate::parse_http_date(DATE).unwrap() + Duration::from_millis(300);
        let planned = Planned::new()
            .length(served.has_length.then_some(served.bytes as u64))
            .length_at_least(served.bytes as u64)
            .etag(served.has_etag.then(|| ETag::new("v1").unwrap()))
            .last_modified(modified)
            .ranges(served.has_ranges)
            .bare_ranges(served.bare_ranges);
        let response = Download::new("text/plain")
            .compressible(true)
            .header(
                header::HeaderName::from_static("repr-digest"),
                header::HeaderValue::from_static("sha-256=:AA==:"),
            )
            .respond_planned(&request, move |options, report| {
                options.stream_out(move |out| {
                    let data = data(served.bytes);
                    let Some(pieces) = report.done(planned) else {
                        return Ok(());
                    };
                    if let Some(length) = pieces.length() {
                        out.promise_length(length)?;
                    }
                    for piece in pieces.as_slice() {
                        match piece {
                            Piece::Bytes(bytes) => out.write_bytes(bytes.clone())?,
                            Piece::Range(range) => {
                                out.write_slice(&data[range.start as usize..range.end as usize])?;
                            }
                            Piece::From(start) => out.write_slice(&data[*start as usize..])?,
                        }
                    }
                    Ok::<(), datastreamer::Error>(())
                })
            })
            .await;
        read(response).await
    })
}

async fn read<B>(response: Response<B>) -> (StatusCode, HeaderMap, Bytes)
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    if let Some(length) = parts.headers.get(header::CONTENT_LENGTH)
        && !body.is_empty()
    {
        assert_eq!(length.to_str().unwrap(), body.len().to_string());
    }
    (parts.status, parts.headers, body)
}

/// Reads a multipart response as RFC 2046 has it, and returns its parts: offsets, bytes.
fn parts(headers: &HeaderMap, body: &[u8], length: usize) -> Vec<(usize, Vec<u8>)> {
    let content_type = headers[header::CONTENT_TYPE].to_str().unwrap();
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let mut rest = body;
    let mut found = Vec::new();
    let mut delimiter = format!("--{boundary}\r\n");
    loop {
        if rest == format!("\r\n--{boundary}--\r\n").as_bytes() {
            return found;
        }
        rest = rest.strip_prefix(delimiter.as_bytes()).unwrap();
        delimiter = format!("\r\n--{boundary}\r\n");
        let end = rest
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 4..];
        let range = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix("Content-Range: "));
        assert!(
            head.split("\r\n")
                .any(|line| line == "Content-Type: text/plain")
        );
        let (first, bytes) = content_range(range.unwrap(), &length.to_string());
        found.push((first, rest[..bytes].to_vec()));
        rest = &rest[bytes..];
    }
}

/// First byte and number of bytes.
fn content_range(value: &str, length: &str) -> (usize, usize) {
    let (range, of) = value
        .strip_prefix("bytes ")
        .unwrap()
        .split_once('/')
        .unwrap();
    assert_eq!(of, length);
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    (first, last - first + 1)
}

/// Which bytes a list of ranges names, one by one.
fn named(specs: &[(Option<u64>, Option<u64>)], length: usize) -> Vec<bool> {
    let is_named = |at: u64| {
        specs.iter().any(|spec| match *spec {
            (Some(first), Some(last)) => first <= at && at <= last,
            (Some(first), None) => first <= at,
            (None, Some(last)) => at >= (length as u64).saturating_sub(last),
            (None, None) => false,
        })
    };
    (0..length as u64).map(is_named).collect()
}

fn specs() -> impl Strategy<Value = Vec<(Option<u64>, Option<u64>)>> {
    let number = || prop_oneof![0..20_u64, 0..1100_u64, Just(u64::MAX)];
    let spec = (number(), number(), 0..3).prop_map(|(one, other, kind)| match kind {
        0 => (Some(one.min(other)), Some(one.max(other))),
        1 => (Some(one), None),
        _ => (None, Some(one)),
    });
    prop::collection::vec(spec, 1..6)
}

fn header_of(specs: &[(Option<u64>, Option<u64>)]) -> String {
    let text = |number: &Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let specs = specs
        .iter()
        .map(|(first, last)| format!("{}-{}", text(first), text(last)));
    format!("bytes={}", specs.collect::<Vec<_>>().join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn ranges_give_the_bytes_that_they_name(
        specs in specs(),
        bytes in prop_oneof![Just(0_usize), 1..4_usize, Just(1000_usize)],
        if_range in prop_oneof![Just(None), Just(Some("\"v1\"")), Just(Some("\"v2\"")), Just(Some("W/\"v1\""))],
    ) {
        let range = header_of(&specs);
        let mut headers = vec![("range", range.as_str())];
        headers.extend(if_range.map(|tag| ("if-range", tag)));
        let (status, head, body) = answer(Served { bytes, ..FILE }, "GET", &headers);
        let data = data(bytes);
        let named = named(&specs, bytes);
        let wanted: Vec<usize> = (0..bytes).filter(|at| named[*at]).collect();
        let is_resume = matches!(specs.as_slice(), [(Some(first), None)] if *first > 0);
        if if_range.is_some_and(|tag| tag != TAG) {
            prop_assert_eq!(status, 200);
            prop_assert_eq!(&body[..], &data[..]);
        } else if is_resume && if_range.is_none() {
            prop_assert_eq!(status, 412);
        } else if wanted.is_empty() {
            prop_assert_eq!(status, 416);
            let of = head[header::CONTENT_RANGE].to_str().unwrap().to_owned();
            prop_assert_eq!(of, format!("bytes */{bytes}"));
        } else {
            prop_assert_eq!(status, 206);
            prop_assert_eq!(head[header::ETAG].to_str().unwrap(), TAG);
            let received = match head.get(header::CONTENT_RANGE) {
                Some(range) => {
                    let (first, count) = content_range(range.to_str().unwrap(), &bytes.to_string());
                    prop_assert_eq!(count, body.len());
                    vec![(first, body.to_vec())]
                }
                None => parts(&head, &body, bytes),
            };
            let mut sent = vec![0; bytes];
            for (first, part) in &received {
                prop_assert_eq!(&part[..], &data[*first..first + part.len()]);
                sent[*first..first + part.len()].iter_mut().for_each(|count| *count += 1);
            }
            // Each byte once, those that were named all, and no others but short gaps.
            prop_assert!(sent.iter().all(|count| *count <= 1));
            prop_assert!(wanted.iter().all(|at| sent[*at] == 1));
            let extra = (0..bytes).filter(|at| sent[*at] == 1 && !named[*at]).count();
            prop_assert!(extra <= 120 * specs.len(), "{} bytes too many", extra);
        }
    }
}

#[test]
fn a_source_that_starts_only_at_its_beginning_ignores_ranges() {
    let served = Served {
        has_ranges: false,
        ..FILE
    };
    let (status, headers, body) = answer(served, "GET", &[("range", "bytes=5-9")]);
    assert_eq!((status, &body[..]), (StatusCode::OK, &data(1000)[..]));
    assert_eq!(headers[header::ACCEPT_RANGES], "none");
}

/// wget appends what follows its own bytes in a complete response.
#[test]
fn a_resumption_without_proof_gets_no_complete_response() {
    let without = Served {
        has_ranges: false,
        ..FILE
    };
    let resumed = ("range", "bytes=5-");
    assert_eq!(answer(without, "GET", &[resumed]).0, 412);
    for proof in [("if-range", TAG), ("if-match", TAG), ("if-range", "\"v0\"")] {
        assert_eq!(
            answer(without, "GET", &[resumed, proof]).0,
            200,
            "{proof:?}"
        );
    }
    assert_eq!(answer(without, "GET", &[("range", "bytes=0-")]).0, 200);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(async {
        for (range, status) in [("bytes=5-", 412), ("bytes=5-9", 200), ("bytes=0-", 200)] {
            let request = Request::get("/").header("range", range).body(()).unwrap();
            let response = Download::new("text/plain")
                .respond(&request, |options| {
                    options.stream_out(|out| out.write_slice(&[0; 10]))
                })
                .await;
            assert_eq!(response.status(), status, "{range}");
        }
    });
}

#[test]
fn who_has_begun_a_version_gets_its_rest_and_no_range_with_an_end() {
    let begun = Served {
        bare_ranges: BareRanges::Open,
        ..FILE
    };
    assert_eq!(answer(begun, "GET", &[("range", "bytes=500-")]).0, 206);
    for range in ["bytes=500-600", "bytes=0-1,500-600"] {
        assert_eq!(answer(begun, "GET", &[("range", range)]).0, 412, "{range}");
    }
}

#[test]
fn a_client_that_resumes_without_proof_gets_412_unless_the_source_knows_it() {
    let resume = &[("range", "bytes=500-")];
    assert_eq!(answer(FILE, "GET", resume).0, 412);
    let known = Served {
        bare_ranges: BareRanges::All,
        ..FILE
    };
    let (status, _, body) = answer(known, "GET", resume);
    assert_eq!(
        (status, &body[..]),
        (StatusCode::PARTIAL_CONTENT, &data(1000)[500..])
    );
    let proved = &[("range", "bytes=500-"), ("if-match", TAG)];
    assert_eq!(answer(FILE, "GET", proved).0, 206);
    // A range of all bytes joins nothing, and one with an end is that of a program that reads parts.
    assert_eq!(answer(FILE, "GET", &[("range", "bytes=0-")]).0, 206);
    let bounded = ["bytes=500-600", "bytes=-1", "bytes=0-1,500-600"];
    for range in bounded {
        assert_eq!(answer(FILE, "GET", &[("range", range)]).0, 206, "{range}");
    }
    let none = Served {
        bare_ranges: BareRanges::None,
        ..FILE
    };
    // The last bytes are read by nobody who resumes.
    assert_eq!(answer(none, "GET", &[("range", "bytes=-1")]).0, 206);
    for range in ["bytes=500-600", "bytes=0-1,500-600"] {
        assert_eq!(answer(none, "GET", &[("range", range)]).0, 412, "{range}");
        let proved = &[("range", range), ("if-range", TAG)];
        assert_eq!(answer(none, "GET", proved).0, 206, "{range}");
    }
    assert_eq!(answer(none, "GET", &[("range", "bytes=0-9")]).0, 206);
}

#[test]
fn preconditions_are_evaluated_in_the_order_of_rfc_9110() {
    let before = "Sun, 29 Nov 2026 11:59:59 GMT";
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("if-none-match", TAG)], 304),
        (&[("if-none-match", "W/\"v1\"")], 304),
        (&[("if-none-match", "\"v0\", \"v1\"")], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"v2\"")], 200),
        (&[("if-modified-since", DATE)], 304),
        (&[("if-modified-since", before)], 200),
        (&[("if-modified-since", "yesterday")], 200),
        // The tag decides where there is one (13.1.3).
        (
            &[("if-none-match", "\"v2\""), ("if-modified-since", DATE)],
            200,
        ),
        (&[("if-match", TAG)], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", "\"v0\"")], 412),
        (&[("if-match", "W/\"v1\"")], 412),
        (&[("if-match", "\"v0\""), ("if-none-match", TAG)], 412),
        (&[("if-unmodified-since", DATE)], 200),
        (&[("if-unmodified-since", before)], 412),
        (&[("if-match", TAG), ("if-unmodified-since", before)], 200),
        // A precondition goes before a range (13.2.2).
        (&[("if-none-match", TAG), ("range", "bytes=0-4")], 304),
        (&[("if-range", DATE), ("range", "bytes=0-4")], 206),
        (&[("if-range", before), ("range", "bytes=0-4")], 200),
        (&[("range", "bytes=0-4"), ("range", "bytes=5-6")], 200),
        (&[("range", "lines=0-4")], 200),
    ];
    for (headers, expected) in cases {
        let (status, head, body) = answer(FILE, "GET", headers);
        assert_eq!(status.as_u16(), *expected, "{headers:?}");
        if *expected == 304 {
            assert!(body.is_empty());
            assert_eq!(head[header::ETAG], TAG, "{headers:?}");
            assert_eq!(head[header::CACHE_CONTROL], "no-cache");
        }
        let has_ranges = headers.iter().any(|(name, _)| *name == "range");
        if !has_ranges {
            assert_eq!(answer(FILE, "HEAD", headers).0, status, "HEAD {headers:?}");
        }
    }
    // Without a tag no tag matches, and no date proves that the bytes are the same.
    let untagged = Served {
        has_etag: false,
        ..FILE
    };
    assert_eq!(answer(untagged, "GET", &[("if-match", TAG)]).0, 412);
    assert_eq!(answer(untagged, "GET", &[("if-none-match", TAG)]).0, 200);
    assert_eq!(
        answer(
            untagged,
            "GET",
            &[("if-range", DATE), ("range", "bytes=0-4")]
        )
        .0,
        200
    );
}

#[test]
fn a_file_of_unknown_length_gives_what_is_there() {
    let growing = Served {
        has_length: false,
        bare_ranges: BareRanges::All,
        ..FILE
    };
    let (status, headers, body) = answer(growing, "GET", &[("range", "bytes=10-19")]);
    assert_eq!(
        (status, &body[..]),
        (StatusCode::PARTIAL_CONTENT, &data(1000)[10..20])
    );
    assert_eq!(headers[header::CONTENT_RANGE], "bytes 10-19/*");
    assert_eq!(answer(growing, "GET", &[("range", "bytes=0-")]).0, 200);
    for range in ["bytes=10-1000", "bytes=10-", "bytes=-10", "bytes=0-1,5-6"] {
        assert_eq!(
            answer(growing, "GET", &[("range", range)]).0,
            412,
            "{range}"
        );
    }
}

#[test]
fn a_coded_response_has_no_ranges_and_a_weak_tag() {
    let (status, headers, _) = answer(FILE, "GET", &[("accept-encoding", "gzip")]);
    assert_eq!(status, 200);
    assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(headers[header::ETAG], "W/\"v1\"");
    // It would be that of other bytes.
    assert!(!headers.contains_key("repr-digest"));
    assert_eq!(headers[header::ACCEPT_RANGES], "none");
    let ranged = &[("accept-encoding", "gzip"), ("range", "bytes=0-4")];
    let (status, headers, body) = answer(FILE, "GET", ranged);
    assert_eq!(
        (status, &body[..]),
        (StatusCode::PARTIAL_CONTENT, &data(5)[..])
    );
    assert!(!headers.contains_key(header::CONTENT_ENCODING));
    assert!(headers.contains_key("repr-digest"));
}

/// Serves a file on disk to a request, while `meanwhile` runs once the head is there.
fn file_answer(
    path: &std::path::Path,
    range: Option<&str>,
    meanwhile: impl FnOnce(),
) -> Result<(StatusCode, HeaderMap, Bytes), String> {
    let mut request = Request::get("/file");
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let request = request.body(()).unwrap();
    let path = path.to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(async move {
        let response = Download::new("application/octet-stream")
            .respond_planned(&request, move |options, report| {
                options.stream_out(move |out| {
                    let file = DiskFile::open(&path)?;
                    match report.done(file.planned().bare_ranges(BareRanges::All)) {
                        Some(pieces) => file.write(&pieces, out),
                        None => Ok(()),
                    }
                })
            })
            .await;
        meanwhile();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok((parts.status, parts.headers, body.to_bytes()))
    })
}

#[test]
fn a_file_is_sent_with_its_length_and_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content = data(3_000_000);
    std::fs::write(&path, &content).unwrap();
    let (status, headers, body) = file_answer(&path, None, || {}).unwrap();
    assert_eq!((status, body.len()), (StatusCode::OK, content.len()));
    assert!(body[..] == content);
    assert_eq!(headers[header::ACCEPT_RANGES], "bytes");
    // It was changed a moment ago, so no tag is a strong one.
    assert!(!headers.contains_key(header::ETAG));
    let (status, headers, body) = file_answer(&path, Some("bytes=1234567-2999998"), || {}).unwrap();
    assert_eq!(status, 206);
    assert_eq!(
        headers[header::CONTENT_RANGE],
        "bytes 1234567-2999998/3000000"
    );
    assert!(body[..] == content[1_234_567..2_999_999]);
}

#[test]
fn a_tag_changes_with_every_change_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, b"one").unwrap();
    assert_eq!(DiskFile::open(&path).unwrap().etag(), None);
    std::thread::sleep(Duration::from_millis(3100));
    let first = DiskFile::open(&path)
        .unwrap()
        .etag()
        .expect("it has rested");
    assert_eq!(DiskFile::open(&path).unwrap().etag(), Some(first.clone()));
    // The same size and the same time of modification.
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, b"two").unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    std::thread::sleep(Duration::from_millis(3100));
    let second = DiskFile::open(&path)
        .unwrap()
        .etag()
        .expect("it has rested");
    assert_ne!(first, second);
}

#[test]
fn a_file_that_is_changed_in_mid_stream_is_a_failure_and_one_that_is_replaced_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content = data(3_000_000);
    let past = SystemTime::now() - Duration::from_secs(100);
    let write = |path: &std::path::Path, content: &[u8]| {
        std::fs::write(path, content).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(past).unwrap();
    };
    write(&path, &content);
    let other = folder.path().join("other");
    std::fs::write(&other, b"another file").unwrap();
    let replace = || std::fs::rename(&other, &path).unwrap();
    let (_, _, body) = file_answer(&path, None, replace).unwrap();
    assert!(body[..] == content);

    write(&path, &content);
    file_answer(&path, None, || std::fs::write(&path, data(100)).unwrap()).unwrap_err();
    write(&path, &content);
    let rewrite = || std::fs::write(&path, vec![0; 3_000_000]).unwrap();
    file_answer(&path, Some("bytes=0-2500000"), rewrite).unwrap_err();
    // The same size, and the time of modification set back.
    write(&path, &content);
    file_answer(&path, None, || write(&path, &vec![0; 3_000_000])).unwrap_err();
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(DiskFile::open(folder.path()).is_err());
    assert!(DiskFile::open(std::path::Path::new("/dev/zero")).is_err());
    assert!(DiskFile::open(&folder.path().join("missing")).is_err());
}

#[test]
fn a_response_without_bytes_is_no_client_that_has_left() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    for (name, value) in [
        ("if-none-match", TAG),
        ("range", "bytes=5-"),
        ("if-match", "\"v0\""),
    ] {
        let request = Request::get("/").header(name, value).body(()).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let record = runtime.block_on(async {
            let response = Download::new("text/plain")
                .observe(move |stream| sender.send(stream).unwrap())
                .respond_planned(&request, |options, report| {
                    let tag = ETag::new("v1").unwrap();
                    let planned = Planned::new().length(10).etag(tag).ranges(true);
                    options.stream_out(move |_| assert!(report.done(planned).is_none()))
                })
                .await;
            drop(response);
            receiver.recv().unwrap().ended().await
        });
        assert_eq!(
            record.outcome,
            Some(datastreamer::Outcome::Complete),
            "{name}"
        );
    }
}
