//! The pages of a file that scans hold: each range of bytes is in memory once, however many scans read
//! it. A decoder holds the pages of a row group until its last row is taken, which with a slow client
//! may be long: without this many slow clients of one table would take that many times its row group.
//!
//! `scan.rs` reads through it.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use datafusion::parquet::errors::{ParquetError, Result};
use tokio::sync::Mutex;

/// What is held of one file in one state.
#[derive(Debug, Default)]
pub(super) struct SharedPages(Mutex<HashMap<Range<u64>, Weak<Bytes>>>);

/// Keeps the bytes alive that others may find.
struct Held(Arc<Bytes>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl SharedPages {
    /// Returns the bytes of ranges. Calls `read` for those that nobody holds. One read at a time: a scan
    /// that comes meanwhile finds what it has read.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) async fn read<F>(
        &self,
        ranges: &[Range<u64>],
        read: impl FnOnce(Vec<Range<u64>>) -> F,
    ) -> Result<Vec<Bytes>>
    where
        F: Future<Output = Result<Vec<Bytes>>>,
    {
        let mut known = self.0.lock().await;
        known.retain(|_, held| held.strong_count() > 0);
        let find = |range| known.get(range).and_then(Weak::upgrade);
        let found: Vec<_> = ranges.iter().map(find).collect();
        let missing = ranges
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none());
        let missing: Vec<_> = missing.map(|(range, _)| range.clone()).collect();
        let mut new = match missing.is_empty() {
            true => Vec::new(),
            false => read(missing).await?,
        }
        .into_iter();
        let mut all = Vec::with_capacity(ranges.len());
        for (range, found) in ranges.iter().zip(found) {
            let bytes = match found {
                Some(bytes) => bytes,
                None => {
                    let bytes = new.next();
                    let bytes =
                        bytes.ok_or_else(|| ParquetError::EOF("a range is missing".into()))?;
                    let bytes = Arc::new(bytes);
                    known.insert(range.clone(), Arc::downgrade(&bytes));
                    bytes
                }
            };
            all.push(Bytes::from_owner(Held(bytes)));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    async fn read(pages: &SharedPages, ranges: &[Range<u64>], log: &Mutex<Vec<u64>>) -> Vec<Bytes> {
        let read = |missing: Vec<Range<u64>>| {
            let starts = missing.iter().map(|range| range.start);
            log.lock().unwrap().extend(starts);
            let bytes =
                |range: Range<u64>| vec![range.start as u8; (range.end - range.start) as usize];
            let bytes = missing.into_iter().map(|range| Bytes::from(bytes(range)));
            std::future::ready(Ok(bytes.collect()))
        };
        pages.read(ranges, read).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_held_is_read_once_and_again_when_it_was_dropped() {
        let (pages, log) = (SharedPages::default(), Mutex::default());
        let first = read(&pages, &[0..3, 3..5], &log).await;
        assert_eq!(first, [&[0, 0, 0][..], &[3, 3]]);
        let second = read(&pages, &[3..5, 7..8, 0..3], &log).await;
        assert_eq!(second, [&[3, 3][..], &[7], &[0, 0, 0]]);
        assert_eq!(second[2].as_ptr(), first[0].as_ptr());
        // A part of what was read keeps it.
        let part = first[0].slice(1..2);
        drop((first, second));
        read(&pages, &[0..3, 3..5], &log).await;
        assert_eq!(*log.lock().unwrap(), [0, 3, 7, 3]);
        drop(part);
        read(&pages, std::slice::from_ref(&(0..3)), &log).await;
        assert_eq!(log.lock().unwrap().last(), Some(&0));
        assert_eq!(pages.0.lock().await.len(), 1);
    }
}
