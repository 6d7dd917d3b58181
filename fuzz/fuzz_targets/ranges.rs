//! Ranges and preconditions of any bytes: whatever a request says, what it gets is a part of the file
//! that its head names, the complete file, or a refusal.

#![no_main]

use std::time::{Duration, SystemTime};

use datastreamer_http::{BareRanges, Download, ETag, Piece, Planned};
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::BodyExt;
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

const NAMES: [HeaderName; 7] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::ACCEPT_ENCODING,
];

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    headers: Vec<(u8, &'a [u8])>,
    method: u8,
    bytes: u16,
    has_length: bool,
    has_tag: bool,
    has_ranges: bool,
    bare: u8,
}

fn data(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

fuzz_target!(|input: Input<'_>| {
    let method = ["GET", "HEAD", "POST"][usize::from(input.method % 3)];
    let mut request = Request::builder().method(method);
    for (name, value) in &input.headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request = request.header(&NAMES[usize::from(*name) % NAMES.len()], value);
        }
    }
    let Ok(request) = request.body(()) else { return };
    let data = data(usize::from(input.bytes));
    let planned = Planned::new()
        .length(input.has_length.then_some(data.len() as u64))
        .length_at_least(data.len() as u64)
        .etag(ETag::new("v1").filter(|_| input.has_tag))
        .last_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        .ranges(input.has_ranges)
        .bare_ranges(match input.bare % 3 {
            0 => BareRanges::None,
            1 => BareRanges::Bounded,
            _ => BareRanges::All,
        });
    let file = data.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let (parts, body) = runtime.unwrap().block_on(async move {
        let response = Download::new("text/plain")
            .respond_planned(&request, move |options, report| {
                options.stream_out(move |out| {
                    let Some(pieces) = report.done(planned) else {
                        return Ok(());
                    };
                    if let Some(length) = pieces.length() {
                        out.promise_length(length)?;
                    }
                    for piece in pieces.as_slice() {
                        match piece {
                            Piece::Bytes(bytes) => out.write_bytes(bytes.clone())?,
                            Piece::Range(range) => out
                                .write_slice(&file[range.start as usize..range.end as usize])?,
                            Piece::From(start) => out.write_slice(&file[*start as usize..])?,
                        }
                    }
                    Ok::<(), datastreamer_http::datastreamer::Error>(())
                })
            })
            .await;
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    });
    match (parts.status.as_u16(), method) {
        (_, "HEAD") | (304, _) => assert!(body.is_empty() || parts.status.as_u16() >= 400),
        (200, _) => assert!(body[..] == data[..]),
        (206, _) => {
            assert!(input.has_ranges && method == "GET");
            if let Some(range) = parts.headers.get(header::CONTENT_RANGE) {
                let range = range.to_str().unwrap().strip_prefix("bytes ").unwrap();
                let (range, length) = range.split_once('/').unwrap();
                let (first, last) = range.split_once('-').unwrap();
                let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
                assert!(body[..] == data[first..=last]);
                assert!(length == "*" || length == data.len().to_string());
            }
        }
        (412 | 416, _) => {}
        (status, method) => panic!("{status} for {method}"),
    }
});
