//! Shares of a pool's places: how many streams of one client, or of one route, run and wait.
//!
//! The pool counts them under its own lock, together with its places: a stream is admitted once the
//! pool and all of its shares have room. A stream that waits for its share holds up no other.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::error::{Error, ErrorKind};

/// A part of a pool's places, which some of its streams have together.
///
/// Streams with a share of the same name are counted together. See
/// [`StreamOptions::share`](crate::StreamOptions::share).
///
/// ```
/// use datastreamer::{ErrorKind, PoolOptions, Share, ShareOf, StreamOptions, StreamPool};
/// let pool = StreamPool::new(PoolOptions::default());
/// let of_client = Share::new("client 192.0.2.1", ShareOf::Consumer, 1).max_waiting(0);
/// let options = StreamOptions::new().pool(&pool).share(of_client);
/// let first = options.clone().stream_out(|out| out.write_slice(b"first"));
/// let second = options.stream_out(|out| out.write_slice(b"second"));
/// assert_eq!(second.read_to_vec().unwrap_err().kind(), ErrorKind::ConsumerAtLimit);
/// let others = StreamOptions::new().pool(&pool).stream_out(|out| out.write_slice(b"others"));
/// assert_eq!(others.read_to_vec()?, b"others");
/// assert_eq!(first.read_to_vec()?, b"first");
/// # Ok::<(), datastreamer::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "`StreamOptions::share` takes it"]
pub struct Share {
    name: Arc<str>,
    of: ShareOf,
    max_active: usize,
    max_waiting: usize,
}

/// The side of its streams that a share belongs to; it decides the kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShareOf {
    /// One consumer has asked for all of these streams: [`ErrorKind::ConsumerAtLimit`].
    Consumer,
    /// They use one source, whoever has asked: [`ErrorKind::Busy`].
    Source,
}

impl Share {
    /// Makes a share of `max_active` streams at once, 0 becomes 1, in which as many may wait as run.
    /// The name says what is counted, also in messages: `client 192.0.2.1`.
    pub fn new(name: impl Into<Arc<str>>, of: ShareOf, max_active: usize) -> Self {
        Self {
            name: name.into(),
            of,
            max_active: max_active.max(1),
            max_waiting: max_active,
        }
    }

    /// Sets how many streams may wait for a place; a further stream is refused at once.
    pub fn max_waiting(mut self, streams: usize) -> Self {
        self.max_waiting = streams;
        self
    }
}

/// The shares that streams of a pool have at the moment.
#[derive(Default)]
pub(crate) struct Shares(HashMap<Arc<str>, Arc<Counts>>);

/// Changed under the pool's lock only.
#[derive(Default)]
struct Counts {
    active: AtomicUsize,
    waiting: AtomicUsize,
}

/// What one stream counts in.
#[derive(Default)]
pub(crate) struct Membership(Vec<Member>);

struct Member {
    share: Share,
    counts: Arc<Counts>,
}

impl Shares {
    pub(crate) fn join(&mut self, shares: &[Share]) -> Membership {
        let join = |share: &Share| Member {
            share: share.clone(),
            counts: Arc::clone(self.0.entry(Arc::clone(&share.name)).or_default()),
        };
        Membership(shares.iter().map(join).collect())
    }

    /// Forgets the shares that no other stream has.
    pub(crate) fn leave(&mut self, membership: Membership) {
        for Member { share, counts } in membership.0 {
            drop(counts);
            let last = self.0.get(&share.name);
            if last.is_some_and(|counts| Arc::strong_count(counts) == 1) {
                self.0.remove(&share.name);
            }
        }
    }

    #[cfg(all(test, not(miri)))]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Membership {
    pub(crate) fn has_room(&self) -> bool {
        self.full().is_none()
    }

    /// Says why the stream may not even wait, if that is so.
    pub(crate) fn check_waiting(&self) -> Result<(), Error> {
        let mut members = self.0.iter();
        let full = members.find(|it| it.counts.waiting.load(Relaxed) >= it.share.max_waiting);
        full.map_or(Ok(()), |full| Err(full.refusal()))
    }

    /// Says which share the stream has waited for in vain, if it is one.
    pub(crate) fn check_room(&self) -> Result<(), Error> {
        self.full().map_or(Ok(()), |full| Err(full.refusal()))
    }

    fn full(&self) -> Option<&Member> {
        let mut members = self.0.iter();
        members.find(|it| it.counts.active.load(Relaxed) >= it.share.max_active)
    }

    /// Returns how many streams of the same consumer run.
    pub(crate) fn consumers_active(&self) -> usize {
        let of_consumer = self.0.iter().filter(|it| it.share.of == ShareOf::Consumer);
        let active = of_consumer.map(|it| it.counts.active.load(Relaxed));
        active.max().unwrap_or(0)
    }

    pub(crate) fn begin(&self) {
        self.each(|counts| add(&counts.active));
    }

    pub(crate) fn end(&self) {
        self.each(|counts| subtract(&counts.active));
    }

    pub(crate) fn begin_waiting(&self) {
        self.each(|counts| add(&counts.waiting));
    }

    pub(crate) fn end_waiting(&self) {
        self.each(|counts| subtract(&counts.waiting));
    }

    fn each(&self, change: impl Fn(&Counts)) {
        self.0.iter().for_each(|member| change(&member.counts));
    }
}

impl Member {
    fn refusal(&self) -> Error {
        let (active, waiting) = (&self.counts.active, &self.counts.waiting);
        let kind = match self.share.of {
            ShareOf::Consumer => ErrorKind::ConsumerAtLimit,
            ShareOf::Source => ErrorKind::Busy,
        };
        let text = format!(
            "{}: {} active, {} waiting",
            self.share.name,
            active.load(Relaxed),
            waiting.load(Relaxed)
        );
        Error::new(kind, text)
    }
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Relaxed);
}

fn subtract(count: &AtomicUsize) {
    count.fetch_sub(1, Relaxed);
}

// Not under miri: hundreds of streams run on threads that outlive a test, and take it ten minutes.
#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use std::{thread, time::Duration};

    use super::*;
    use crate::{
        BlockedOn, EndOnStop, Outcome, PoolOptions, StreamOptions, StreamPool, StreamWriter,
    };

    fn forever(out: &mut StreamWriter) -> Result<(), Error> {
        loop {
            out.write_slice(&[0; 1000])?;
        }
    }

    #[test]
    fn every_end_of_a_stream_gives_its_shares_back() {
        let pool = StreamPool::new(
            PoolOptions::new()
                .max_active(6)
                .max_waiting(20)
                .queue_timeout(Duration::from_millis(20)),
        );
        let mut left = Vec::new();
        for round in 0..600_usize {
            let client = format!("client {}", round % 5);
            let mut options = StreamOptions::new()
                .pool(&pool)
                .share(Share::new(client, ShareOf::Consumer, 2))
                .share(Share::new("route", ShareOf::Source, 4));
            if round % 3 == 0 {
                options = options.end_on_stop(EndOnStop::Finish);
            }
            let stream = match round % 8 {
                0 => options.stream_out(|out| out.write_slice(b"complete")),
                1 => options.stream_out(|_| Err::<(), _>("the source fails")),
                2 => options.stream_out(|_| -> () { panic!("the source panics") }),
                _ => options.stream_out(forever),
            };
            let handle = stream.handle();
            match round % 8 {
                0..=2 => drop(stream.read_to_vec()),
                3 => drop(stream),
                4 => {
                    handle.stop(Error::new(ErrorKind::Stopped, "enough"));
                    drop(stream);
                }
                5 => {
                    let coded = StreamOptions::new()
                        .pool(&pool)
                        .within_admitted_stream(&handle)
                        .stream_out(forever);
                    drop(stream);
                    drop(coded);
                }
                // Late refusals, and hang-ups while others wait.
                _ => left.push(stream),
            }
            if left.len() > 7 {
                drop(left.remove(round % 7));
            }
        }
        drop(left);
        assert!(pool.wait_until_empty(Duration::from_secs(20)));
        // The last place is given back a moment before the last stream is forgotten.
        assert_eq!((pool.active(), pool.waiting(), pool.shares()), (0, 0, 0));
    }

    #[test]
    fn whoever_waits_for_a_share_holds_up_nobody_else() {
        let pool = StreamPool::new(
            PoolOptions::new()
                .max_active(8)
                // On a busy machine nobody leaves the queue while the others come.
                .queue_timeout(Duration::from_secs(600)),
        );
        let ask = |client: usize| {
            let share =
                Share::new(format!("client {client}"), ShareOf::Consumer, 4).max_waiting(500);
            StreamOptions::new().pool(&pool).share(share)
        };
        let greedy: Vec<_> = (0..504).map(|_| ask(0).stream_out(forever)).collect();
        assert_eq!((pool.active(), pool.waiting()), (4, 500));
        for client in 1..=100 {
            let file = ask(client).stream_out(|out| out.write_slice(b"a file"));
            assert_eq!(file.read_to_vec().unwrap(), b"a file", "client {client}");
        }
        drop(greedy);
        assert!(pool.wait_until_empty(Duration::from_secs(20)));
    }

    #[test]
    fn the_consumer_with_the_fewest_streams_is_next() {
        let pool = StreamPool::new(PoolOptions::new().max_active(3));
        let ask = |client: &str| {
            let share = Share::new(client, ShareOf::Consumer, 3);
            StreamOptions::new()
                .pool(&pool)
                .share(share)
                .stream_out(forever)
        };
        let mut running = [(); 3].map(|()| ask("greedy")).map(Some);
        let later = [(); 3].map(|()| ask("greedy"));
        let modest = ask("modest");
        assert_eq!(modest.handle().record().blocked_on, BlockedOn::Admission);
        running[0] = None;
        while modest.handle().record().blocked_on == BlockedOn::Admission {
            thread::sleep(Duration::from_millis(1));
        }
        let waits = |stream: &crate::ChunkReader| {
            stream.handle().record().blocked_on == BlockedOn::Admission
        };
        assert!(later.iter().all(waits), "they have asked before");
    }

    #[test]
    fn a_refusal_says_which_share_is_full() {
        let pool = StreamPool::new(PoolOptions::new().queue_timeout(Duration::from_millis(50)));
        for (of, kind, text) in [
            (
                ShareOf::Consumer,
                ErrorKind::ConsumerAtLimit,
                "too many streams of one consumer: it: 1 active, 1 waiting",
            ),
            (
                ShareOf::Source,
                ErrorKind::Busy,
                "too many streams: it: 1 active, 1 waiting",
            ),
        ] {
            let options = StreamOptions::new()
                .pool(&pool)
                .share(Share::new("it", of, 1));
            let runs = options.clone().stream_out(forever);
            let waits = options.clone().stream_out(forever);
            let beyond = options.stream_out(forever);
            for refused in [beyond, waits] {
                let handle = refused.handle();
                let error = refused.read_to_vec().unwrap_err();
                assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
                assert_eq!(handle.wait().outcome, Some(Outcome::Shed));
            }
            drop(runs);
            assert!(pool.wait_until_empty(Duration::from_secs(20)));
        }
    }
}
