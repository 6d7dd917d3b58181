//! Responses that are read from productions of the spool.

use std::{
    io::{self, Write},
    sync::mpsc,
    time::Duration,
};

use datastreamer_http::{
    BareRanges, Download, DownloadBody, FailWith, Problem,
    datastreamer::{ChunkReader, PoolOptions, StreamOptions, StreamPool, stream_out},
};
use datastreamer_spool::{Beginning, Keep, Key, Production, Spool, SpoolOptions};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;

/// As long as a test waits for what comes at once.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of `seq 100000`, by coreutils: `seq 100000 | sha256sum`, in base64.
const DIGEST: &str = "sha-256=:srx9P4tlLS7JaGW2itj4DiLMoXSr4a7XiJ4kKnR9WQ8=:";

struct Kept {
    _folder: TempDir,
    spool: Spool,
    readers: StreamPool,
}

impl Kept {
    fn new(options: SpoolOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            spool: Spool::open(folder.path(), options).unwrap(),
            _folder: folder,
            readers: StreamPool::new(PoolOptions::new()),
        }
    }

    fn begin(&self, source: ChunkReader) -> Production {
        let beginning = Beginning::new(source).keep(Keep::For(DEADLINE));
        self.spool.begin(Key::new("a"), beginning).unwrap().0
    }

    fn download(&self) -> Download {
        Download::new("text/plain").options(StreamOptions::new().pool(&self.readers))
    }

    async fn answer(
        &self,
        production: &Production,
        headers: &[(&str, &str)],
    ) -> Response<DownloadBody> {
        let request = request(headers);
        let production = production.clone();
        self.download()
            .respond_production(&request, production)
            .await
    }
}

fn request(headers: &[(&str, &str)]) -> Request<()> {
    let add = |request: http::request::Builder, (name, value): &(&str, &str)| {
        request.header(*name, *value)
    };
    let request = headers.iter().fold(Request::get("/a"), add);
    request.body(()).unwrap()
}

/// The numbers to 100000, as `seq` writes them.
fn numbers() -> ChunkReader {
    stream_out(|out| (1..=100_000).try_for_each(|number| writeln!(out, "{number}")))
}

fn all_numbers() -> String {
    (1..=100_000).map(|number| format!("{number}\n")).collect()
}

async fn text(response: Response<DownloadBody>) -> String {
    let collected = response.into_body().collect().await.unwrap();
    String::from_utf8(collected.to_bytes().to_vec()).unwrap()
}

async fn complete(kept: &Kept, source: ChunkReader) -> Production {
    let production = kept.begin(source);
    let _state = production.finished().await;
    production
}

#[tokio::test]
async fn a_complete_production_has_its_tag_length_digest_and_ranges() {
    let kept = Kept::new(SpoolOptions::new());
    let production = complete(&kept, numbers()).await;
    let response = kept.answer(&production, &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers().clone();
    assert_eq!(headers["content-length"], all_numbers().len().to_string());
    assert_eq!(headers["etag"], production.etag().as_str());
    assert_eq!(headers["accept-ranges"], "bytes");
    assert_eq!(headers["repr-digest"], DIGEST);
    assert!(text(response).await == all_numbers());

    let range = kept.answer(&production, &[("range", "bytes=2-5")]).await;
    assert_eq!(range.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(range.headers()["content-length"], "4");
    // Of the complete file (RFC 9530, 2).
    assert_eq!(range.headers()["repr-digest"], DIGEST);
    assert_eq!(text(range).await, all_numbers()[2..6]);

    let tag = production.etag().to_string();
    let known = kept.answer(&production, &[("if-none-match", &tag)]).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let behind = kept.answer(&production, &[("range", "bytes=-0")]).await;
    assert_eq!(behind.status(), StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn the_digest_of_a_production_that_runs_is_a_trailer() {
    let kept = Kept::new(SpoolOptions::new());
    let (go, told) = mpsc::channel();
    let production = kept.begin(stream_out(move |out| {
        let numbers = all_numbers();
        let (first, rest) = numbers.as_bytes().split_at(100_000);
        out.write_slice(first)?;
        told.recv().map_err(io::Error::other)?;
        out.write_all(rest)
    }));
    let response = kept.answer(&production, &[("te", "trailers")]).await;
    assert_eq!(response.headers()["trailer"], "repr-digest");
    assert!(!response.headers().contains_key("content-length"));
    go.send(()).unwrap();
    let collected = response.into_body().collect().await.unwrap();
    let trailers = collected.trailers().unwrap().clone();
    assert_eq!(trailers["repr-digest"], DIGEST);
    assert!(collected.to_bytes() == all_numbers().as_bytes());
}

#[tokio::test]
async fn a_range_waits_for_its_bytes_and_no_longer_than_it_may() {
    let kept = Kept::new(SpoolOptions::new());
    let (go, told) = mpsc::channel::<()>();
    let production = kept.begin(stream_out(move |out| {
        out.write_slice(b"0123456789")?;
        out.flush_now()?;
        let _told = told.recv();
        out.write_slice(b"abc")
    }));
    let bounded = kept.answer(&production, &[("range", "bytes=8-9")]).await;
    assert_eq!(bounded.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(text(bounded).await, "89");
    let last = request(&[("range", "bytes=-2")]);
    let hasty = kept.download().length_wait(Duration::from_millis(20));
    let hasty = hasty.respond_production(&last, production.clone()).await;
    assert_eq!(hasty.status(), StatusCode::PRECONDITION_FAILED);
    let patient = kept
        .download()
        .respond_production(&last, production.clone());
    let (patient, ()) = tokio::join!(patient, async { go.send(()).unwrap() });
    assert_eq!(patient.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(text(patient).await, "bc");
}

#[tokio::test]
async fn an_early_failure_of_the_source_has_the_status_of_the_source() {
    let kept = Kept::new(SpoolOptions::new());
    let production = kept.begin(stream_out(|out| {
        Err::<(), _>(out.fail_with(StatusCode::NOT_FOUND, "no such field: 17"))
    }));
    let response = kept.answer(&production, &[]).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(text(response).await.contains("no such field: 17"));
}

#[tokio::test]
async fn a_spool_without_room_is_507_before_the_head_and_a_visible_failure_behind_it() {
    let kept = Kept::new(SpoolOptions::new().production_bytes_max(100_000));
    // It is refused before its first byte if its length is known.
    let options = StreamOptions::new().length(100_001);
    let promised = kept.begin(options.stream_out(|out| out.write_slice(&[0; 100_001])));
    let response = kept.answer(&promised, &[]).await;
    assert_eq!(response.status(), StatusCode::INSUFFICIENT_STORAGE);
    assert!(
        text(response)
            .await
            .contains("larger than the server keeps")
    );
    // Some bytes are there, and the response is not committed.
    let short = kept.begin(stream_out(|out| {
        out.write_slice(&[0; 10_000])?;
        out.flush_now()?;
        out.write_slice(&[0; 100_000])
    }));
    let _failed = short.finished().await;
    let response = kept.answer(&short, &[]).await;
    match response.status() {
        StatusCode::INSUFFICIENT_STORAGE => {}
        status => {
            assert_eq!(status, StatusCode::OK);
            assert!(response.into_body().collect().await.is_err());
        }
    }
}

#[tokio::test]
async fn a_spool_that_fails_is_503_and_says_nothing_of_itself() {
    let kept = Kept::new(SpoolOptions::new());
    kept.spool.close();
    let beginning = || Beginning::new(numbers());
    let error = kept
        .spool
        .join_or_begin(Key::new("b"), beginning)
        .unwrap_err();
    let problem = Problem::from(&error);
    assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!problem.detail.contains("spool"), "{}", problem.detail);
}

#[tokio::test]
async fn a_service_that_knows_its_clients_decides_which_ranges_they_get() {
    let kept = Kept::new(SpoolOptions::new());
    let production = complete(&kept, numbers()).await;
    let resumed = request(&[("range", "bytes=588890-")]);
    let answer = |honoured: BareRanges| {
        kept.download().respond_production_with(
            &resumed,
            production.clone(),
            move |report, planned| report.done(planned.bare_ranges(honoured)),
        )
    };
    let stranger = answer(BareRanges::Bounded).await;
    assert_eq!(stranger.status(), StatusCode::PRECONDITION_FAILED);
    let known = answer(BareRanges::All).await;
    assert_eq!(known.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(text(known).await, all_numbers()[588_890..]);
}

#[tokio::test]
async fn head_is_answered_without_the_bytes() {
    let kept = Kept::new(SpoolOptions::new());
    let production = complete(&kept, numbers()).await;
    let head = Request::head("/a").body(()).unwrap();
    let response = kept
        .download()
        .respond_production(&head, production.clone())
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-length"],
        all_numbers().len().to_string()
    );
    assert_eq!(response.headers()["repr-digest"], DIGEST);
    assert_eq!(text(response).await, "");
}
