//! Which version of a file a client has received parts of, so that a request that resumes without
//! `If-Range`, as curl, wget and aria2 do, is never answered with the rest of another version.
//!
//! `journal.rs` keeps it over restarts, where `spool.folder` is set. This file decides.
//!
//! # What clients ask for, and what that proves
//! - curl and wget resume with an open range (`bytes=K-`) and nothing before it. They have a part.
//! - aria2 gets the complete file first, whatever it has, and drops that response when it has read the
//!   length. Then it asks for bounded ranges: of a new file, to share the work among connections, and of
//!   one that it has parts of. The requests do not tell which. After a break it asks for its ranges again,
//!   without a complete GET.
//! - Programs that read parts of a file (fsspec, polars, GDAL) ask for the head or for the last bytes, then
//!   for bounded ranges. None of those that resume asks for either first.
//!
//! A client that is on record has what the record says: ranges of that version, and of no other one unless
//! it has asked for the head since. A client that is not on record has nothing, as long as the ledger is
//! *sure*: it has everything of the last day ([`KEPT`]). It is not sure in its first day without a file of
//! an earlier process (see `journal.rs`), nor after it had to forget somebody too early. Then a client may
//! have a part of a version that nobody remembers, and what a request cannot prove is refused with 412:
//!
//! | request of a client that is not on record | sure | not sure |
//! |---|---|---|
//! | open range | the source decides | 412 |
//! | bounded range | the source decides | 412, unless it has asked for the head |
//! | complete GET, then an open range (curl, wget: they began anew) | served | served |
//! | complete GET, then a bounded range (aria2) | served | 412, unless it has asked for the head |
//!
//! A file on disk that was last changed more than a day ago has no other version that a client could have:
//! for it the ledger is always sure.
//!
//! aria2 goes on with its first response when its other ones are refused, so a new file still arrives; what
//! it resumes fails visibly.
//!
//! A response that has gone out to its end has not arrived: a proxy, or the buffers of sockets, may have had
//! the rest when the client lost the connection. So a client of which another version is on record that has
//! ended is as one of which nothing is known, in the right column.
//!
//! Clients that cannot be told apart (behind a proxy that the configuration does not name) share one record,
//! in which nothing is taken back: not by a response that one of them has received to its end, and not by a
//! head that one of them has asked for.
//!
//! What it cannot see: a file that becomes another one because a folder above it is a link that is turned; a
//! program whose address has changed; parts that are older than a day; two programs
//! of one address of which one asks for the head while the other one resumes.

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use datastreamer_http::{BareRanges, ETag, Pieces, PlanReport, Planned, Problem};
use lru::LruCache;

use crate::http::{
    client::ClientKey,
    journal::{Entry, Event, Journal, PairKey, Recorded, Secret},
};

/// Pairs of a client and a file: those of some hours of a busy server, in at most 3 MB.
const PAIRS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// Versions of one file that one client has parts of. A client that has parts of more is told to begin
/// anew, so more need not be remembered.
const PARTS_MAX: usize = 4;
/// A day: then a client has given up, or resumes with a program that asks properly.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What clients have received.
#[derive(Clone, Debug)]
pub(crate) struct Deliveries(Arc<Mutex<Ledger>>);

#[derive(Debug)]
struct Ledger {
    secret: Secret,
    pairs: LruCache<PairKey, Received>,
    /// From then on it knows of every part that is not older than [`KEPT`].
    sure_from: SystemTime,
    journal: Option<Journal>,
}

/// What one client has of one file.
#[derive(Debug, Default)]
struct Received {
    /// Versions of which it may have a part, the last one that it began last.
    parts: Vec<Part>,
    /// The version whose head it has asked for last; one that had no tag then is the next one.
    looked: Option<Option<ETag>>,
    /// It has asked for ranges.
    reads_ranges: bool,
    /// It had nothing when its record began.
    is_sure: bool,
    /// The last time that it began to receive something.
    at: Option<SystemTime>,
}

/// What a client may have of one version.
#[derive(Clone, Debug)]
struct Part {
    /// `None` is one without a strong tag, or coded.
    tag: Option<ETag>,
    since: SystemTime,
    /// The complete file has gone out. What is on the way to the client may have been lost still.
    has_ended: bool,
}

/// The delivery of one response.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    deliveries: Deliveries,
    pair: PairKey,
    /// Whether the client cannot be told from others.
    is_shared: bool,
    /// Set when the response is the complete file, to its tag.
    complete: Arc<OnceLock<Option<ETag>>>,
    /// Until its record is in the journal.
    recorded: Arc<Mutex<Option<Recorded>>>,
    /// What the client gets instead, if its preconditions or its ranges do not fit.
    refusal: Arc<OnceLock<Problem>>,
}

impl Deliveries {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Ledger {
            secret: Secret::random(),
            pairs: LruCache::new(PAIRS_MAX),
            sure_from: SystemTime::now() + KEPT,
            journal: None,
        })))
    }

    /// Goes on with what an earlier process has written in a folder, which this process has locked, and
    /// writes what is new there. **Blocks**.
    pub(crate) fn remember(&self, folder: &Path) {
        let snapshot = {
            let deliveries = self.clone();
            move || deliveries.lock().snapshot()
        };
        let opened = match Journal::open(folder, KEPT, snapshot) {
            Ok(opened) => opened,
            Err(error) => {
                let folder = folder.display();
                tracing::error!(%error, %folder, "what clients receive is not recorded");
                return;
            }
        };
        let mut ledger = self.lock();
        // Their keys were made with another secret.
        let has_forgotten = !ledger.pairs.is_empty();
        ledger.pairs.clear();
        ledger.secret = opened.secret;
        ledger.sure_from = opened.sure_from;
        for entry in opened.entries {
            ledger.apply(&entry);
        }
        if has_forgotten {
            ledger.sure_from = SystemTime::now() + KEPT;
        }
        ledger.journal = Some(opened.journal);
    }

    /// Names the delivery of a target (path and query) to a client.
    pub(crate) fn of(&self, client: Option<ClientKey>, target: &str) -> Delivery {
        let name = client.map(|client| client.to_string()).unwrap_or_default();
        let pair = self.lock().secret.pair(&name, target);
        Delivery {
            deliveries: self.clone(),
            pair,
            is_shared: client.is_none(),
            complete: Arc::default(),
            recorded: Arc::default(),
            refusal: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn is_sure(&self) -> bool {
        SystemTime::now() >= self.sure_from
    }

    /// The record of a pair, which is made if there is none.
    fn record(&mut self, pair: PairKey) -> &mut Received {
        let is_sure = self.is_sure();
        if !self.pairs.contains(&pair)
            && self.pairs.len() == PAIRS_MAX.get()
            && let Some((_, forgotten)) = self.pairs.pop_lru()
            && let Some(at) = forgotten.at
        {
            self.sure_from = self.sure_from.max(at + KEPT);
            self.write(&Entry::sure_from(self.sure_from));
        }
        self.pairs.get_or_insert_mut(pair, || Received {
            is_sure,
            ..Received::default()
        })
    }

    fn write(&self, entry: &Entry) -> Option<Recorded> {
        self.journal.as_ref().map(|journal| journal.write(entry))
    }

    /// Does what an earlier process has noted.
    fn apply(&mut self, entry: &Entry) {
        if let Event::SureFrom = entry.event {
            self.sure_from = self.sure_from.max(entry.at);
            return;
        }
        let received = self.record(entry.pair);
        match entry.event {
            Event::Begin { is_sure } => {
                received.is_sure = is_sure;
                received.begin(entry.tag.as_ref(), entry.at);
            }
            Event::End => received.end(entry.tag.as_ref()),
            Event::Look => received.looked = Some(entry.tag.clone()),
            Event::SureFrom => {}
        }
    }

    /// All that is remembered, in the order in which it is to be read.
    fn snapshot(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::sure_from(self.sure_from)];
        for (pair, received) in self.pairs.iter().rev() {
            let mut add = |event, tag: &Option<ETag>, at| {
                let (pair, tag) = (*pair, tag.clone());
                entries.push(Entry {
                    pair,
                    at,
                    tag,
                    event,
                });
            };
            let is_sure = received.is_sure;
            let at = received.at.unwrap_or(SystemTime::UNIX_EPOCH);
            for part in &received.parts {
                add(Event::Begin { is_sure }, &part.tag, part.since);
                if part.has_ended {
                    add(Event::End, &part.tag, part.since);
                }
            }
            if let Some(tag) = &received.looked {
                add(Event::Look, tag, at);
            }
        }
        entries
    }
}

impl Delivery {
    /// Reports the plan of a file, with the ranges that its client may have, and notes what the client
    /// gets of it. `unknown` and `changed` as for [`bare_ranges`](Self::bare_ranges).
    pub(crate) fn report(
        &self,
        report: PlanReport,
        planned: Planned,
        unknown: BareRanges,
        changed: Option<SystemTime>,
    ) -> Option<Pieces> {
        // A coder makes other bytes.
        let tag = planned.known_etag().filter(|_| !report.is_coded()).cloned();
        if report.is_for_last_bytes() {
            self.look(tag.as_ref());
        }
        let bare = self.bare_ranges(tag.as_ref(), unknown, changed);
        let head_only = report.is_head_only();
        let planned = planned.bare_ranges(bare);
        // Before the report: behind it, the stream ends.
        if let Some(problem) = report.refusal(&planned) {
            let _first = self.refusal.set(problem);
        }
        let pieces = report.done(planned);
        match &pieces {
            Some(pieces) => self.begin(tag.as_ref(), pieces.is_complete()),
            None if head_only => self.look(tag.as_ref()),
            None => {}
        }
        pieces
    }

    /// Returns which ranges of this version the client may have without a precondition. `unknown`: those
    /// of a client that has nothing.
    ///
    /// `changed`: when the file became what it is, if that is known. If there was no other version in the
    /// last day, whoever is not on record has bytes of this one or none.
    fn bare_ranges(
        &self,
        tag: Option<&ETag>,
        unknown: BareRanges,
        changed: Option<SystemTime>,
    ) -> BareRanges {
        let mut ledger = self.deliveries.lock();
        let is_old = changed.is_some_and(|at| at + KEPT < SystemTime::now());
        let mut is_sure = is_old || ledger.is_sure();
        let Some(received) = ledger.pairs.get_mut(&self.pair) else {
            return if is_sure { unknown } else { BareRanges::None };
        };
        received.forget_old();
        is_sure |= received.is_sure;
        let is_this = |other: &Option<ETag>| tag.is_some() && other.as_ref() == tag;
        if received.looked == Some(None) && tag.is_some() {
            received.looked = Some(tag.cloned());
        }
        let has_looked = received.looked.as_ref().is_some_and(is_this);
        if received.parts.is_empty() {
            return match (is_sure, has_looked) {
                (true, _) => unknown,
                (false, true) => BareRanges::Bounded,
                (false, false) => BareRanges::None,
            };
        }
        let mut others = received.parts.iter().filter(|part| !is_this(&part.tag));
        let is_only_part = is_sure && others.clone().next().is_none();
        let has_another = others.any(|part| !part.has_ended);
        let this = received.parts.iter().find(|part| is_this(&part.tag));
        match this.filter(|_| !has_another) {
            Some(_) if self.is_shared && is_only_part => unknown,
            Some(_) if is_only_part || has_looked => BareRanges::All,
            // It has begun this version anew. Who has all of it resumes nothing.
            Some(part) if !part.has_ended && !self.is_shared => BareRanges::Open,
            // It has looked at this version since.
            None if has_looked => BareRanges::Bounded,
            _ => BareRanges::None,
        }
    }

    /// Notes that the client has asked for the head of this version: programs that read parts of a file
    /// do so first, and programs that resume do not.
    fn look(&self, tag: Option<&ETag>) {
        if self.is_shared {
            return;
        }
        let mut ledger = self.deliveries.lock();
        ledger.record(self.pair).looked = Some(tag.cloned());
        // One that is lost makes a refusal.
        let _recorded = ledger.write(&self.entry(Event::Look, tag, SystemTime::now()));
    }

    /// Notes that the client asks for ranges.
    pub(crate) fn note_ranges(&self) {
        self.deliveries.lock().record(self.pair).reads_ranges = true;
    }

    /// Returns whether the client can be told from others.
    pub(crate) fn is_of_known_client(&self) -> bool {
        !self.is_shared
    }

    /// Returns whether the client has asked for ranges before.
    pub(crate) fn reads_ranges(&self) -> bool {
        let mut ledger = self.deliveries.lock();
        let received = ledger.pairs.get(&self.pair);
        received.is_some_and(|received| received.reads_ranges)
    }

    /// Notes that the client gets bytes of this version: all, or some of them. `None`: of one that no tag
    /// tells apart. Before they are sent, [`recorded`](Self::recorded) says that this will be known after
    /// the end of the process.
    fn begin(&self, tag: Option<&ETag>, is_complete: bool) {
        if is_complete {
            // A response begins once.
            let _begun = self.complete.set(tag.cloned());
        }
        let now = SystemTime::now();
        let mut ledger = self.deliveries.lock();
        let received = ledger.record(self.pair);
        received.begin(tag, now);
        let is_sure = received.is_sure;
        let recorded = ledger.write(&self.entry(Event::Begin { is_sure }, tag, now));
        drop(ledger);
        *self.recorded_lock() = recorded;
    }

    /// Waits until what [`begin`](Self::begin) has noted is in the journal, if there is one.
    pub(crate) async fn recorded(&self) {
        let recorded = self.recorded_lock().take();
        if let Some(recorded) = recorded {
            recorded.wait().await;
        }
    }

    /// Does the same on a thread that may block.
    pub(crate) fn recorded_blocking(&self) {
        let recorded = self.recorded_lock().take();
        if let Some(recorded) = recorded {
            recorded.wait_blocking();
        }
    }

    /// Returns what the client gets instead of the file, if its request does not fit it.
    pub(crate) fn refusal(&self) -> Option<&Problem> {
        self.refusal.get()
    }

    /// Returns whether the response is the complete file.
    pub(crate) fn is_of_complete_file(&self) -> bool {
        self.complete.get().is_some()
    }

    /// Returns the tag of the response, if that is the complete file and has one.
    pub(crate) fn complete_tag(&self) -> Option<&ETag> {
        self.complete.get()?.as_ref()
    }

    /// Notes that the client has received the response to its end.
    pub(crate) fn end(&self) {
        let Some(tag) = self.complete.get().filter(|_| !self.is_shared) else {
            return;
        };
        let mut ledger = self.deliveries.lock();
        if let Some(received) = ledger.pairs.get_mut(&self.pair) {
            received.end(tag.as_ref());
            // One that is lost leaves a part, which says the same.
            let _recorded = ledger.write(&self.entry(Event::End, tag.as_ref(), SystemTime::now()));
        }
    }

    fn entry(&self, event: Event, tag: Option<&ETag>, at: SystemTime) -> Entry {
        Entry {
            pair: self.pair,
            at,
            tag: tag.cloned(),
            event,
        }
    }

    fn recorded_lock(&self) -> MutexGuard<'_, Option<Recorded>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Received {
    fn begin(&mut self, tag: Option<&ETag>, at: SystemTime) {
        self.forget_old();
        self.at = Some(at);
        self.parts.retain(|part| part.tag.as_ref() != tag);
        if self.parts.len() == PARTS_MAX {
            let ended = self.parts.iter().position(|part| part.has_ended);
            self.parts.remove(ended.unwrap_or_default());
        }
        self.parts.push(Part {
            tag: tag.cloned(),
            since: at,
            has_ended: false,
        });
    }

    fn end(&mut self, tag: Option<&ETag>) {
        let ended = self.parts.iter_mut().find(|part| part.tag.as_ref() == tag);
        if let Some(part) = ended {
            part.has_ended = true;
        }
    }

    fn forget_old(&mut self) {
        let is_old = |since: &SystemTime| since.elapsed().is_ok_and(|age| age >= KEPT);
        self.parts.retain(|part| !is_old(&part.since));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Deliveries {
        fn sure() -> Self {
            let deliveries = Self::new();
            deliveries.lock().sure_from = SystemTime::UNIX_EPOCH;
            deliveries
        }
    }

    /// A client, of which `begin` and `complete` are responses of their own.
    struct OneClient(Deliveries);

    impl OneClient {
        fn new() -> Self {
            Self(Deliveries::sure())
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
            self.delivery()
                .bare_ranges(Some(tag), BareRanges::Bounded, None)
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
        // As far as can be seen: a proxy may have received it, and the client a part.
        first.end();
        assert_eq!(client.ranges(&tag("b")), BareRanges::Open);
    }

    #[test]
    fn a_client_that_has_an_older_version_completely_does_not_go_on_with_a_newer_one() {
        let client = OneClient::new();
        client.complete(Some(&tag("a")));
        assert_eq!(client.ranges(&tag("a")), BareRanges::All);
        assert_eq!(client.ranges(&tag("b")), BareRanges::None);
        // It begins anew, as aria2 does with a part.
        let again = client.begin(Some(&tag("b")));
        assert_eq!(client.ranges(&tag("b")), BareRanges::Open);
        again.end();
        assert_eq!(client.ranges(&tag("b")), BareRanges::None);
        client.delivery().look(Some(&tag("b")));
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
        let untagged = client.delivery().bare_ranges(None, BareRanges::All, None);
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
        let deliveries = Deliveries::sure();
        let client = |last| Some(ClientKey::of_address([192, 0, 2, last].into()));
        let a = tag("a");
        let ranges = |client, target| {
            let delivery = deliveries.of(client, target);
            delivery.bare_ranges(Some(&a), BareRanges::Bounded, None)
        };
        deliveries.of(client(1), "/a").begin(Some(&a), true);
        assert_eq!(ranges(client(1), "/a"), BareRanges::All);
        assert_eq!(ranges(client(2), "/a"), BareRanges::Bounded);
        assert_eq!(ranges(client(1), "/b"), BareRanges::Bounded);
        assert_eq!(ranges(None, "/a"), BareRanges::Bounded);
    }

    #[test]
    fn a_ledger_that_is_not_sure_wants_a_proof() {
        let client = OneClient(Deliveries::new());
        let a = tag("a");
        assert_eq!(client.ranges(&a), BareRanges::None);
        // curl that begins anew, or aria2 that has a part.
        let begun = client.begin(Some(&a));
        assert_eq!(client.ranges(&a), BareRanges::Open);
        begun.end();
        assert_eq!(client.ranges(&a), BareRanges::None);
        client.delivery().look(Some(&a));
        assert_eq!(client.ranges(&a), BareRanges::All);
        assert_eq!(client.ranges(&tag("b")), BareRanges::None);
    }

    #[test]
    fn a_ledger_that_forgets_somebody_is_not_sure_of_anybody_else() {
        let client = OneClient::new();
        let before = client.delivery();
        before.begin(Some(&tag("a")), true);
        for other in 0..PAIRS_MAX.get() {
            let delivery = client.0.of(None, &format!("/{other}"));
            delivery.begin(Some(&tag("a")), true);
        }
        assert_eq!(client.ranges(&tag("b")), BareRanges::None);
    }

    #[test]
    fn clients_that_cannot_be_told_apart_have_the_parts_of_all_of_them() {
        let deliveries = Deliveries::sure();
        let of = || deliveries.of(None, "/a");
        let ranges = |tag: &ETag| of().bare_ranges(Some(tag), BareRanges::Bounded, None);
        let complete = of();
        complete.begin(Some(&tag("a")), true);
        assert_eq!(ranges(&tag("a")), BareRanges::Bounded);
        complete.end();
        of().begin(Some(&tag("b")), true);
        of().look(Some(&tag("b")));
        assert_eq!(ranges(&tag("b")), BareRanges::None);
    }

    #[test]
    fn what_is_in_the_journal_is_known_after_a_restart() {
        let folder = new_folder();
        let client = OneClient(Deliveries::new());
        client.0.remember(&folder);
        client.begin(Some(&tag("a")));
        let looking = client
            .0
            .of(Some(ClientKey::of_address([192, 0, 2, 2].into())), "/b");
        looking.begin(Some(&tag("a")), false);
        looking.look(Some(&tag("b")));
        looking.recorded_blocking();
        client.delivery().begin(Some(&tag("a")), true);
        let last = client.delivery();
        last.begin(Some(&tag("a")), true);
        last.recorded_blocking();
        let again = OneClient(Deliveries::new());
        again.0.remember(&folder);
        assert_eq!(again.ranges(&tag("a")), BareRanges::All);
        assert_eq!(again.ranges(&tag("b")), BareRanges::None);
        let looking = again
            .0
            .of(Some(ClientKey::of_address([192, 0, 2, 2].into())), "/b");
        let ranges = looking.bare_ranges(Some(&tag("b")), BareRanges::Bounded, None);
        assert_eq!(ranges, BareRanges::Bounded);
        // Without the file, beside a production, nothing is known.
        std::fs::remove_file(folder.join("deliveries")).unwrap();
        std::fs::write(folder.join("00.json"), "").unwrap();
        let third = OneClient(Deliveries::new());
        third.0.remember(&folder);
        assert_eq!(third.ranges(&tag("a")), BareRanges::None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_journal_that_has_grown_is_written_anew_and_says_the_same() {
        let folder = new_folder();
        let client = OneClient(Deliveries::new());
        client.0.remember(&folder);
        let tags = [tag(&"a".repeat(200)), tag(&"b".repeat(200))];
        for round in 0..10_000 {
            let delivery = client.delivery();
            delivery.begin(Some(&tags[round % 2]), true);
            delivery.recorded_blocking();
        }
        let bytes = std::fs::metadata(folder.join("deliveries")).unwrap().len();
        assert!(bytes < 1_500_000, "{bytes}");
        client.begin(Some(&tags[0])).recorded_blocking();
        let again = OneClient(Deliveries::new());
        again.0.remember(&folder);
        assert_eq!(again.ranges(&tags[0]), BareRanges::None);
        assert_eq!(again.ranges(&tags[1]), BareRanges::None);
        std::fs::remove_dir_all(folder).unwrap();
    }

    fn new_folder() -> std::path::PathBuf {
        let number = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        let folder = std::env::temp_dir().join(format!("datastreamer-deliveries-{number:x}"));
        std::fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn a_file_that_is_older_than_what_is_remembered_has_no_other_version() {
        // It is in its first day, and remembers nothing of an earlier process.
        let deliveries = Deliveries::new();
        let client = Some(ClientKey::of_address([192, 0, 2, 1].into()));
        let a = tag("a");
        let ranges = |age: Duration| {
            let changed = Some(SystemTime::now() - age);
            let delivery = deliveries.of(client, "/a");
            delivery.bare_ranges(Some(&a), BareRanges::All, changed)
        };
        assert_eq!(ranges(KEPT + Duration::from_secs(60)), BareRanges::All);
        assert_eq!(ranges(KEPT - Duration::from_secs(60)), BareRanges::None);
    }
}
