//! Test bytes, and failures on demand. Byte i of any stream is P[i mod 1048573], so every client can
//! check what it has received.

use std::{
    borrow::Cow,
    ops::Range,
    sync::{OnceLock, mpsc},
    time::Duration,
};

use datastreamer::StreamWriter;
use datastreamer_http::StatusError;
use http::StatusCode;

use super::{Job, Query, SourceError};
use crate::units::{parse_bytes, parse_duration};

/// A prime below 1 MiB: no power of two divides the stream's period, so a lost or doubled chunk is
/// always noticed.
const PERIOD: usize = 1_048_573;
/// The largest piece: a slice of the table, which is longer than a period by so much.
const PIECE_MAX: usize = 1 << 20;
/// What `n` is if it is not given.
const DEFAULT_LENGTH: u64 = 1_000_000;
/// What `piece` is if it is not given: how much common writers hand over at a time.
const DEFAULT_PIECE: usize = 4096;

/// The source of test bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noise;

/// The parameters of one request.
struct Wishes {
    length: u64,
    piece: usize,
    period: usize,
    delay: Duration,
    fail_after: Option<u64>,
    panic_after: Option<u64>,
}

impl Noise {
    pub(crate) fn check(self, query: &Query) -> Result<Job, String> {
        query.allow(&[
            "n",
            "piece",
            "period",
            "delay",
            "fail_after",
            "panic_after",
            "length",
        ])?;
        let wishes = Wishes {
            length: query.get("n", parse_bytes)?.unwrap_or(DEFAULT_LENGTH),
            piece: query
                .get("piece", parse_up_to::<PIECE_MAX>)?
                .unwrap_or(DEFAULT_PIECE),
            period: query
                .get("period", parse_up_to::<PERIOD>)?
                .unwrap_or(PERIOD),
            delay: query.get("delay", parse_duration)?.unwrap_or_default(),
            fail_after: query.get("fail_after", parse_bytes)?,
            panic_after: query.get("panic_after", parse_bytes)?,
        };
        let length_known = query.get("length", parse_length)?.unwrap_or(false);
        let length = length_known.then_some(wishes.length);
        let write = Box::new(move |out: &mut StreamWriter| wishes.write(out));
        Ok(Job::unplanned(length, write))
    }
}

fn parse_up_to<const MOST: usize>(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(parse_bytes(text)?).ok();
    let bytes = bytes.filter(|bytes| (1..=MOST).contains(bytes));
    bytes.ok_or_else(|| format!("must be from 1 to {MOST}"))
}

fn parse_length(text: &str) -> Result<bool, String> {
    match text {
        "known" => Ok(true),
        "unknown" => Ok(false),
        _ => Err("must be `known` or `unknown`".into()),
    }
}

impl Wishes {
    fn write(&self, out: &mut StreamWriter) -> Result<(), SourceError> {
        let pause = Pause::new(out, self.delay);
        let table = self.table();
        let mut done = 0;
        self.fail_at(done)?;
        while done < self.length {
            let stop = self.next_stop(done);
            self.write_until(&table, done..stop, out, &pause)?;
            done = stop;
            self.fail_at(done)?;
        }
        Ok(())
    }

    /// Writes piece after piece; nothing but the write is in the loop, as 64-byte pieces are
    /// what writers are measured with.
    fn write_until(
        &self,
        table: &[u8],
        bytes: Range<u64>,
        out: &StreamWriter,
        pause: &Pause,
    ) -> Result<(), SourceError> {
        let Range {
            start: mut done,
            end: stop,
        } = bytes;
        let mut at = (done % self.period as u64) as usize;
        while done < stop {
            let piece = (self.piece as u64).min(stop - done) as usize;
            out.write_slice(&table[at..at + piece])?;
            done += piece as u64;
            at = (at + piece) % self.period;
            pause.wait();
        }
        Ok(())
    }

    /// The pattern, long enough that every piece is one slice of it.
    fn table(&self) -> Cow<'static, [u8]> {
        static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
        match self.period {
            PERIOD => Cow::Borrowed(WHOLE.get_or_init(|| pattern(PERIOD, PIECE_MAX))),
            shorter => Cow::Owned(pattern(shorter, self.piece)),
        }
    }

    /// Where the next failure is due, or the end.
    fn next_stop(&self, done: u64) -> u64 {
        [self.fail_after, self.panic_after]
            .into_iter()
            .flatten()
            .filter(|&stop| stop > done)
            .fold(self.length, u64::min)
    }

    #[allow(clippy::panic, reason = "a panic was asked for")]
    fn fail_at(&self, done: u64) -> Result<(), SourceError> {
        if self.panic_after.is_some_and(|after| done >= after) {
            panic!("a panic was asked for after {done} bytes");
        }
        match self.fail_after {
            Some(after) if done >= after => {
                let text = format!("a failure was asked for after {done} bytes");
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Err(Box::new(StatusError::new(status, text)))
            }
            _ => Ok(()),
        }
    }
}

/// Waits between pieces, and no longer than until the stream is stopped.
struct Pause {
    delay: Duration,
    /// Its other end is dropped by the stop.
    stopped: Option<mpsc::Receiver<()>>,
}

impl Pause {
    fn new(out: &StreamWriter, delay: Duration) -> Self {
        if delay.is_zero() {
            return Self {
                delay,
                stopped: None,
            };
        }
        let (sender, receiver) = mpsc::channel();
        out.on_stop(move |_| drop(sender)).keep();
        Self {
            delay,
            stopped: Some(receiver),
        }
    }

    fn wait(&self) {
        if let Some(stopped) = &self.stopped {
            // Time-out or stop: the next write reports a stop.
            let _ = stopped.recv_timeout(self.delay);
        }
    }
}

/// One period, and as many bytes of the next as a piece may have.
fn pattern(period: usize, piece: usize) -> Vec<u8> {
    (0..period + piece)
        .map(|i| (((i % period) as u64 * 2_654_435_761) >> 24) as u8)
        .collect()
}
