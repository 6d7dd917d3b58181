//! Who fetches which bytes of a file: one open-ended part, or several of a known length, of which
//! the largest is split whenever a connection has nothing left to do. Pure, behind one lock.

use std::{
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::ranges::Ranges;

/// A part that is split has at least two of these: less is fetched sooner than asked for.
const PART_BYTES_MIN: u64 = 1 << 20;

/// The number of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartId(usize);

/// The parts of one version of a file.
#[derive(Debug)]
pub(crate) struct Parts(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    held: Ranges,
    /// The length of the file, once it is known.
    total: Option<u64>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    next: u64,
    end: u64,
    is_taken: bool,
}

impl Parts {
    /// What is missing of a file of which `held` is there; a part for each gap. Without a length there
    /// is one, behind the last byte.
    pub(crate) fn new(held: Ranges, total: Option<u64>) -> Self {
        let gaps = match total {
            Some(total) => held.gaps(total),
            None => held.gaps(u64::MAX),
        };
        let part = |gap: Range<u64>| Part {
            next: gap.start,
            end: gap.end,
            is_taken: false,
        };
        Self(Mutex::new(Inner {
            held,
            total,
            parts: gaps.into_iter().map(part).collect(),
        }))
    }

    /// Takes a part that nobody fetches: a gap, else half of the largest part if `may_split`.
    pub(crate) fn take(&self, may_split: bool) -> Option<PartId> {
        let mut inner = self.lock();
        let untaken = inner
            .parts
            .iter()
            .position(|part| !part.is_taken && part.next < part.end);
        if let Some(at) = untaken {
            inner.parts[at].is_taken = true;
            return Some(PartId(at));
        }
        inner.total.filter(|_| may_split)?;
        let largest = inner.parts.iter_mut().max_by_key(|it| it.end - it.next)?;
        let left = largest.end - largest.next;
        if left < 2 * PART_BYTES_MIN {
            return None;
        }
        let end = largest.end;
        largest.end = largest.next + left / 2;
        let part = Part {
            next: largest.end,
            end,
            is_taken: true,
        };
        inner.parts.push(part);
        Some(PartId(inner.parts.len() - 1))
    }

    /// Leaves what is left of a part to others.
    pub(crate) fn give_back(&self, part: PartId) {
        self.lock().parts[part.0].is_taken = false;
    }

    /// What is left of a part; `None` as its end if that is unknown.
    pub(crate) fn left(&self, part: PartId) -> (u64, Option<u64>) {
        let inner = self.lock();
        let part = &inner.parts[part.0];
        (part.next, inner.total.map(|_| part.end))
    }

    /// Takes the next bytes of a part: returns where they belong, and how many of them. The others
    /// belong to another part, or to none.
    pub(crate) fn claim(&self, part: PartId, count: usize) -> (u64, usize) {
        let mut inner = self.lock();
        let part = &mut inner.parts[part.0];
        let at = part.next;
        let count = usize::try_from(part.end - at).map_or(count, |left| left.min(count));
        part.next += count as u64;
        inner.held.insert(at..at + count as u64);
        (at, count)
    }

    /// The body of an open-ended part has ended: the length is known.
    pub(crate) fn end_here(&self, part: PartId) {
        let mut inner = self.lock();
        let part = &mut inner.parts[part.0];
        part.end = part.next;
        inner.total = Some(
            inner
                .parts
                .iter()
                .map(|it| it.end)
                .max()
                .unwrap_or_default(),
        );
    }

    /// The length is told by a later response than the first.
    pub(crate) fn set_total(&self, total: u64) {
        let mut inner = self.lock();
        if inner.total.is_none() {
            inner.total = Some(total);
            inner.parts.iter_mut().for_each(|part| part.end = total);
        }
    }

    /// What is there.
    pub(crate) fn held(&self) -> Ranges {
        self.lock().held.clone()
    }

    /// How much is there.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.lock().held.bytes()
    }

    /// The length of the file, once it is known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics with the lock held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_of_unknown_length_is_never_split() {
        let parts = Parts::new(Ranges::default(), None);
        let only = parts.take(true).unwrap();
        assert_eq!(parts.take(true), None);
        assert_eq!(parts.left(only), (0, None));
        assert_eq!(parts.claim(only, 10), (0, 10));
        parts.end_here(only);
        assert_eq!((parts.total(), parts.held_bytes()), (Some(10), 10));
    }

    proptest! {
        /// Each step is one worker that gets some bytes, more than are left at times.
        #[test]
        fn every_byte_is_fetched_once_whoever_fetches_it(
            held in prop::collection::vec((0_u64..40, 1_u64..9), 0..4),
            steps in prop::collection::vec((0_usize..6, 1_usize..3_000_000), 1..400),
        ) {
            const MIB: u64 = 1 << 20;
            let total = 40 * MIB;
            let mut there = Ranges::default();
            for (from, count) in held {
                there.insert(from * MIB..(from + count).min(40) * MIB);
            }
            let parts = Parts::new(there.clone(), Some(total));
            let mut workers: [Option<PartId>; 6] = [None; 6];
            for (worker, count) in steps {
                let Some(part) = workers[worker].or_else(|| parts.take(true)) else { continue };
                let before = there.bytes();
                let (at, taken) = parts.claim(part, count);
                there.insert(at..at + taken as u64);
                prop_assert_eq!(there.bytes(), before + taken as u64);
                let (next, end) = parts.left(part);
                workers[worker] = (Some(next) != end).then_some(part);
            }
            for part in workers.into_iter().flatten().chain(std::iter::from_fn(|| parts.take(true))) {
                let (at, taken) = parts.claim(part, usize::MAX);
                there.insert(at..at + taken as u64);
            }
            prop_assert_eq!(there.pairs(), [(0, total)]);
            prop_assert_eq!(parts.held(), there);
        }
    }
}
