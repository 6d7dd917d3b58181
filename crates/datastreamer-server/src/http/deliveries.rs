//! Which version of a file a client has received parts of, so that a request that resumes without
//! `If-Range`, as curl, wget and aria2 do, is never answered with the rest of another version.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use datastreamer_http::{BareRanges, ETag};
use lru::LruCache;

use crate::http::client::ClientKey;

/// Pairs of a client and a file: those of some hours of a busy server, in at most 3 MB.
const PAIRS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// Versions of one file that one client has parts of. A client that has parts of more is told to begin
/// anew, so more need not be remembered.
const PARTS_MAX: usize = 4;
/// A day: then a client has given up, or resumes with a program that asks properly.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What clients have received.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries {
    pairs: Arc<Mutex<LruCache<Pair, Received>>>,
    hashers: [RandomState; 2],
}

/// A client and a request's target, as a hash of 128 bits: nobody can foresee it.
type Pair = (ClientKey, [u64; 2]);

/// What one client has of one file.
#[derive(Debug, Default)]
struct Received {
    /// Versions of which it may have a part; `None` is one without a strong tag, or coded.
    parts: Vec<(Option<ETag>, Instant)>,
    /// The version that it received last to its end.
    complete: Option<ETag>,
    /// The version whose head it has asked for last; one that had no tag then is the next one.
    looked: Option<Option<ETag>>,
    /// It has asked for ranges.
    reads_ranges: bool,
}

/// The delivery of one response.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    deliveries: Deliveries,
    /// `None`: of a client that is not known, nothing is remembered.
    pair: Option<Pair>,
    /// Set when the response is the complete file, to its tag.
    complete: Arc<OnceLock<Option<ETag>>>,
}

impl Deliveries {
    pub(crate) fn new() -> Self {
        Self {
            pairs: Arc::new(Mutex::new(LruCache::new(PAIRS_MAX))),
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Names the delivery of a target (path and query) to a client.
    pub(crate) fn of(&self, client: Option<ClientKey>, target: &str) -> Delivery {
        let hashed = self
            .hashers
            .each_ref()
            .map(|hasher| hasher.hash_one(target));
        Delivery {
            deliveries: self.clone(),
            pair: client.map(|client| (client, hashed)),
            complete: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Pair, Received>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Delivery {
    /// Returns which ranges of this version the client may have without a precondition. `unknown`: those
    /// of a client of which nothing is known.
    pub(crate) fn bare_ranges(&self, tag: Option<&ETag>, unknown: BareRanges) -> BareRanges {
        let Some(pair) = &self.pair else {
            return unknown;
        };
        let mut pairs = self.deliveries.lock();
        let Some(received) = pairs.get_mut(pair) else {
            return unknown;
        };
        received.forget_old();
        let is_this = |other: &Option<ETag>| tag.is_some() && other.as_ref() == tag;
        let has_this = match received.parts.as_slice() {
            [] if received.complete.is_none() => return unknown,
            [] => is_this(&received.complete),
            parts => parts.iter().all(|(part, _)| is_this(part)),
        };
        match has_this {
            true => BareRanges::All,
            // It has looked at this version since.
            false if received.looked.as_ref().is_some_and(is_this) => BareRanges::Bounded,
            false if received.looked == Some(None) && tag.is_some() => {
                received.looked = Some(tag.cloned());
                BareRanges::Bounded
            }
            false => BareRanges::None,
        }
    }

    /// Notes that the client has asked for the head of this version: programs that read parts of a file
    /// do so first, and programs that resume do not.
    pub(crate) fn look(&self, tag: Option<&ETag>) {
        let Some(pair) = &self.pair else {
            return;
        };
        if let Some(received) = self.deliveries.lock().get_mut(pair) {
            received.looked = Some(tag.cloned());
        }
    }

    /// Notes that the client asks for ranges.
    pub(crate) fn note_ranges(&self) {
        if let Some(pair) = self.pair {
            let mut pairs = self.deliveries.lock();
            pairs
                .get_or_insert_mut(pair, Received::default)
                .reads_ranges = true;
        }
    }

    /// Returns whether the client has asked for ranges before.
    pub(crate) fn reads_ranges(&self) -> bool {
        let Some(pair) = &self.pair else {
            return false;
        };
        let mut pairs = self.deliveries.lock();
        pairs
            .get(pair)
            .is_some_and(|received| received.reads_ranges)
    }

    /// Notes that the client gets bytes of this version: all, or some of them. `None`: of one that no tag
    /// tells apart.
    pub(crate) fn begin(&self, tag: Option<&ETag>, is_complete: bool) {
        if is_complete {
            // A response begins once.
            let _begun = self.complete.set(tag.cloned());
        }
        let Some(pair) = self.pair else {
            return;
        };
        let mut pairs = self.deliveries.lock();
        let received = pairs.get_or_insert_mut(pair, Received::default);
        received.forget_old();
        received.parts.retain(|(part, _)| part.as_ref() != tag);
        if received.parts.len() == PARTS_MAX {
            received.parts.remove(0);
        }
        received.parts.push((tag.cloned(), Instant::now()));
    }

    /// Returns whether the response is the complete file.
    pub(crate) fn is_of_complete_file(&self) -> bool {
        self.complete.get().is_some()
    }

    /// Notes that the client has received the response to its end.
    pub(crate) fn end(&self) {
        let (Some(pair), Some(tag)) = (&self.pair, self.complete.get()) else {
            return;
        };
        if let Some(received) = self.deliveries.lock().get_mut(pair) {
            received.parts.retain(|(part, _)| part != tag);
            received.complete.clone_from(tag);
        }
    }
}

impl Received {
    fn forget_old(&mut self) {
        self.parts.retain(|(_, since)| since.elapsed() < KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client, of which `begin` and `complete` are responses of their own.
    struct OneClient(Deliveries);

    impl OneClient {
        fn new() -> Self {
            Self(Deliveries::new())
        }

        fn delivery(&self) -> Delivery {
            let client = ClientKey::of_address([192, 0, 2, 1].into());
            self.0.of(Some(client), "/stars.fits")
        }

        fn begin(&self, tag: Option<&ETag>) -> Delivery {
            let delivery = self.delivery();
            delivery.begin(tag, true);
            delivery
        }

        fn complete(&self, tag: Option<&ETag>) {
            self.begin(tag).end();
        }

        fn ranges(&self, tag: &ETag) -> BareRanges {
            self.delivery().bare_ranges(Some(tag), BareRanges::Bounded)
        }
    }

    fn tag(text: &str) -> ETag {
        ETag::new(text).unwrap()
    }

    #[test]
    fn a_client_goes_on_with_the_version_that_it_has_a_part_of() {
        let client = OneClient::new();
        assert_eq!(client.ranges(&tag("a")), BareRanges::Bounded);
        let first = client.begin(Some(&tag("a")));
        assert_eq!(client.ranges(&tag("a")), BareRanges::All);
        assert_eq!(client.ranges(&tag("b")), BareRanges::None);
        // Two programs behind one address, of which one has an older version.
        client.begin(Some(&tag("b")));
        assert_eq!(client.ranges(&tag("a")), BareRanges::None);
        assert_eq!(client.ranges(&tag("b")), BareRanges::None);
        first.end();
        assert_eq!(client.ranges(&tag("b")), BareRanges::All);
    }

    #[test]
    fn a_client_that_has_an_older_version_completely_does_not_go_on_with_a_newer_one() {
        let client = OneClient::new();
        client.complete(Some(&tag("a")));
        assert_eq!(client.ranges(&tag("a")), BareRanges::All);
        assert_eq!(client.ranges(&tag("b")), BareRanges::None);
        // It begins anew.
        client.complete(Some(&tag("b")));
        assert_eq!(client.ranges(&tag("b")), BareRanges::All);
    }

    #[test]
    fn a_program_that_looks_first_reads_parts_of_the_version_that_it_has_seen() {
        let client = OneClient::new();
        client.begin(Some(&tag("a")));
        client.delivery().look(Some(&tag("b")));
        assert_eq!(client.ranges(&tag("b")), BareRanges::Bounded);
        assert_eq!(client.ranges(&tag("c")), BareRanges::None);
        // There was nothing to see yet: the next one.
        client.delivery().look(None);
        assert_eq!(client.ranges(&tag("c")), BareRanges::Bounded);
        assert_eq!(client.ranges(&tag("d")), BareRanges::None);
    }

    #[test]
    fn a_part_that_no_tag_tells_apart_is_never_gone_on_with() {
        let client = OneClient::new();
        client.begin(None);
        assert_eq!(client.ranges(&tag("a")), BareRanges::None);
        let untagged = client.delivery().bare_ranges(None, BareRanges::All);
        assert_eq!(untagged, BareRanges::None);
    }

    #[test]
    fn a_range_that_has_arrived_is_a_part_still() {
        let client = OneClient::new();
        let range = client.delivery();
        range.begin(Some(&tag("a")), false);
        range.end();
        assert_eq!(client.ranges(&tag("a")), BareRanges::All);
        assert_eq!(client.ranges(&tag("b")), BareRanges::None);
    }

    #[test]
    fn clients_and_targets_are_told_apart() {
        let deliveries = Deliveries::new();
        let client = |last| Some(ClientKey::of_address([192, 0, 2, last].into()));
        let a = tag("a");
        let ranges = |client, target| {
            let delivery = deliveries.of(client, target);
            delivery.bare_ranges(Some(&a), BareRanges::Bounded)
        };
        deliveries.of(client(1), "/a").begin(Some(&a), true);
        assert_eq!(ranges(client(1), "/a"), BareRanges::All);
        assert_eq!(ranges(client(2), "/a"), BareRanges::Bounded);
        assert_eq!(ranges(client(1), "/b"), BareRanges::Bounded);
        assert_eq!(ranges(None, "/a"), BareRanges::Bounded);
    }
}
