//! What the tests share: sources whose bytes follow from the offset, sources that wait for a word,
//! and waits with a deadline.

use std::{
    collections::BTreeSet,
    fmt::Debug,
    fs,
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use datastreamer::{
    ChunkReader, Error, ErrorKind, PoolOptions, StreamHandle, StreamOptions, StreamPool, stream_out,
};
use datastreamer_spool::{Beginning, Keep, Piece, Production, Spool, SpoolOptions, State};
use tempfile::TempDir;

/// No wait of a test is longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const KEPT: Keep = Keep::For(Duration::from_secs(600));

/// The byte at an offset of every source here: no period that a chunk or a piece could have.
pub(crate) fn byte_at(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

pub(crate) fn bytes(range: std::ops::Range<u64>) -> Vec<u8> {
    range.map(byte_at).collect()
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn spool(folder: &TempDir) -> Spool {
    open(folder, SpoolOptions::new())
}

/// Opens a folder that a spool which was dropped just now may still have.
pub(crate) fn open(folder: &TempDir, options: SpoolOptions) -> Spool {
    eventually("the folder is free", || {
        match Spool::open(folder.path(), options.clone()) {
            Ok(spool) => Some(spool),
            Err(error) if error.kind() == datastreamer_spool::ErrorKind::Locked => None,
            Err(error) => panic!("{error}"),
        }
    })
}

/// A source that writes so many bytes, in pieces of changing size.
pub(crate) fn counted(length: u64) -> ChunkReader {
    stream_out(move |out| write_range(out, 0..length))
}

pub(crate) fn write_range(
    out: &datastreamer::StreamWriter,
    range: std::ops::Range<u64>,
) -> Result<(), Error> {
    let mut at = range.start;
    while at < range.end {
        let next = range.end.min(at + 1 + (at * 7) % 70_000);
        out.write_slice(&bytes(at..next))?;
        at = next;
    }
    Ok(())
}

/// Only whole pairs of data and manifest are there.
pub(crate) fn assert_no_leftovers(folder: &Path) {
    let names = fs::read_dir(folder).unwrap();
    let names: BTreeSet<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in &names {
        let other = match name.rsplit_once('.') {
            Some((id, "data")) => format!("{id}.json"),
            Some((id, "json")) => format!("{id}.data"),
            _ => {
                assert_eq!(name, "spool.lock", "{names:?}");
                continue;
            }
        };
        assert!(names.contains(&other), "{names:?}");
    }
}

pub(crate) fn beginning(length: u64) -> Beginning {
    Beginning::new(counted(length)).keep(KEPT)
}

/// What a source that is led by a test is told.
pub(crate) enum Word {
    Promise(u64),
    Write(u64),
    Fail(&'static str),
    Panic,
    End,
}

/// A source that does what it is told.
pub(crate) struct Led {
    words: mpsc::Sender<Word>,
    pub(crate) runs: Arc<AtomicUsize>,
    stream: StreamHandle,
}

impl Led {
    pub(crate) fn tell(&self, word: Word) {
        self.words.send(word).unwrap();
    }

    pub(crate) fn write(&self, bytes: u64) {
        self.tell(Word::Write(bytes));
    }

    pub(crate) fn stopped(&self) -> Option<ErrorKind> {
        self.stream.error().map(|error| error.kind())
    }
}

pub(crate) fn led() -> (Led, ChunkReader) {
    led_with(StreamOptions::new())
}

pub(crate) fn led_with(options: StreamOptions) -> (Led, ChunkReader) {
    let (words, told) = mpsc::channel();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let reader = options.stream_out(move |out| {
        counted.fetch_add(1, Ordering::SeqCst);
        follow(out, &told)
    });
    let led = Led {
        words,
        runs,
        stream: reader.handle(),
    };
    (led, reader)
}

fn follow(
    out: &datastreamer::StreamWriter,
    told: &mpsc::Receiver<Word>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut at = 0;
    loop {
        if out.is_stopped() {
            return Ok(out.flush_now()?);
        }
        match told.recv_timeout(Duration::from_millis(5)) {
            Ok(Word::Write(bytes)) => {
                write_range(out, at..at + bytes)?;
                out.flush_now()?;
                at += bytes;
            }
            Ok(Word::Promise(bytes)) => out.promise_length(bytes)?,
            Ok(Word::Fail(text)) => return Err(text.into()),
            Ok(Word::Panic) => panic!("row 7"),
            Ok(Word::End) => return Ok(()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// A pool for readers, so that they never wait for the places of sources.
pub(crate) fn readers() -> StreamOptions {
    static POOL: std::sync::OnceLock<StreamPool> = std::sync::OnceLock::new();
    StreamOptions::new().pool(POOL.get_or_init(|| StreamPool::new(PoolOptions::new())))
}

pub(crate) fn all(production: &Production) -> ChunkReader {
    production.open(vec![Piece::From(0)], readers())
}

/// Reads to the end; returns the valid bytes and how it ended.
pub(crate) fn read(reader: ChunkReader) -> (Vec<u8>, Result<(), Error>) {
    let mut valid = Vec::new();
    for chunk in reader {
        match chunk {
            Ok(chunk) => valid.extend_from_slice(&chunk),
            Err(error) => return (valid, Err(error)),
        }
    }
    (valid, Ok(()))
}

pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}

pub(crate) fn block_on<T: Debug>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let waited = async { tokio::time::timeout(DEADLINE, future).await };
    runtime.block_on(waited).expect("within the deadline")
}

pub(crate) fn finished(production: &Production) -> State {
    block_on(production.finished())
}

pub(crate) fn complete(production: &Production) {
    let state = finished(production);
    assert!(matches!(state, State::Complete), "{state:?}");
}
