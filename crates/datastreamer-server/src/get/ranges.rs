//! Which bytes of a file are there: a sorted list of ranges that neither overlap nor touch. Pure.

use std::ops::Range;

/// A set of bytes. `0..5` and `5..9` become `0..9`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Takes ranges as a state file has them; `None` unless they are sorted, apart and not empty.
    pub(crate) fn from_pairs(pairs: &[(u64, u64)]) -> Option<Self> {
        let mut free_from = 0;
        let mut first = true;
        for (from, to) in pairs {
            if from >= to || (!first && *from <= free_from) {
                return None;
            }
            (first, free_from) = (false, *to);
        }
        Some(Self(pairs.iter().map(|(from, to)| *from..*to).collect()))
    }

    /// The ranges as `(first, behind the last)`.
    pub(crate) fn pairs(&self) -> Vec<(u64, u64)> {
        self.0.iter().map(|it| (it.start, it.end)).collect()
    }

    /// Adds a range; what is there already may be added again.
    pub(crate) fn insert(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        let begin = self.0.partition_point(|it| it.end < new.start);
        let end = self.0.partition_point(|it| it.start <= new.end);
        let mut merged = new;
        for it in &self.0[begin..end] {
            merged.start = merged.start.min(it.start);
            merged.end = merged.end.max(it.end);
        }
        self.0.splice(begin..end, [merged]);
    }

    /// Forgets all from this byte on.
    pub(crate) fn truncate(&mut self, length: u64) {
        self.0.retain(|it| it.start < length);
        if let Some(last) = self.0.last_mut() {
            last.end = last.end.min(length);
        }
    }

    /// How many bytes there are.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|it| it.end - it.start).sum()
    }

    /// The first byte behind all.
    pub(crate) fn end(&self) -> u64 {
        self.0.last().map_or(0, |it| it.end)
    }

    /// How many bytes there are from the first byte of the file on, without a gap.
    pub(crate) fn prefix(&self) -> u64 {
        self.0
            .first()
            .filter(|it| it.start == 0)
            .map_or(0, |it| it.end)
    }

    /// What is missing of a file of `total` bytes.
    pub(crate) fn gaps(&self, total: u64) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut from = 0;
        for it in &self.0 {
            if it.start > from {
                gaps.push(from..it.start.min(total));
            }
            from = from.max(it.end);
        }
        if from < total {
            gaps.push(from..total);
        }
        gaps.retain(|gap| !gap.is_empty());
        gaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_of_a_state_file_must_be_in_order_and_apart() {
        for wrong in [
            &[(1, 1)][..],
            &[(3, 2)],
            &[(0, 4), (4, 5)],
            &[(5, 6), (0, 1)],
        ] {
            assert_eq!(Ranges::from_pairs(wrong), None, "{wrong:?}");
        }
        let ranges = Ranges::from_pairs(&[(0, 4), (6, 9)]).unwrap();
        assert_eq!((ranges.bytes(), ranges.prefix(), ranges.end()), (7, 4, 9));
        assert_eq!(ranges.gaps(12), [4..6, 9..12]);
        assert!(ranges.gaps(5).into_iter().eq(std::iter::once(4..5)));
    }

    proptest! {
        #[test]
        fn ranges_hold_the_bytes_that_were_added(
            added in prop::collection::vec((0_u64..60, 0_u64..20), 0..12),
            length in 0_u64..80,
        ) {
            let mut ranges = Ranges::default();
            let mut model = [false; 80];
            for (from, count) in added {
                ranges.insert(from..from + count);
                model[from as usize..(from + count) as usize].fill(true);
            }
            let pairs = ranges.pairs();
            prop_assert_eq!(Ranges::from_pairs(&pairs), Some(ranges.clone()));
            prop_assert_eq!(ranges.bytes() as usize, model.iter().filter(|it| **it).count());
            let missing: Vec<u64> = ranges.gaps(80).into_iter().flatten().collect();
            let expected: Vec<u64> = (0..80).filter(|at| !model[*at as usize]).collect();
            prop_assert_eq!(missing, expected);
            ranges.truncate(length);
            model[length as usize..].fill(false);
            prop_assert_eq!(ranges.bytes() as usize, model.iter().filter(|it| **it).count());
            prop_assert!(ranges.end() <= length);
        }
    }
}
