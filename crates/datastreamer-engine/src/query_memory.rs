//! The memory of queries: how many run at once that need some, and how much each may have. What is
//! beyond it spills, in DataFusion's operators.
//!
//! `engine.rs` calls it for each plan. Scans, filters and projections need none: they wait for
//! nobody.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use datafusion::{
    common::{DataFusionError, Result},
    execution::{
        memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
        runtime_env::RuntimeEnv,
    },
    physical_plan::ExecutionPlan,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    error::{EngineError, EngineErrorKind},
    expansion::with_unit,
    plan_files::{nodes, scanned_files},
    provider::BytesOfRow,
    scan::BATCH_ROWS,
};

/// Four queries at once: each has a fourth of the memory for itself, so that none fails for what
/// another one holds. More would spill runs that are too small to merge.
const QUERIES_MAX: usize = 4;
/// 64 MiB of memory for one query: two partitions of 32 MiB, with which joins can spill. With less
/// memory in all, fewer run at once.
const QUERY_BYTES_MIN: usize = 64 * 1024 * 1024;
/// 10 s of waiting for the end of another query: sorts of a million rows take a second or two.
pub(crate) const DEFAULT_MEMORY_TIMEOUT: Duration = Duration::from_secs(10);
/// 64 queries wait for memory: a place in the server's pool is held meanwhile.
const WAITING_MAX: usize = 64;

/// A sixteenth of a query's memory for a batch: a sort reserves twice a batch to sort it, and merges
/// several of them.
const BATCH_SHARE: usize = 16;

/// An eighth of a query's memory is for neither sorts nor the merges of what they have spilled: the
/// sorted partitions are merged there.
const LEFT_SHARE: usize = 8;
/// How DataFusion calls the memory of these merges, which take whatever there is, and do with less.
const SPILLED_MERGE: &str = "ExternalSorterMerge";
/// A fourth of a query's memory is for these merges, to equal parts: one that begins late finds its
/// part, whatever the sorts of other partitions have and however much their merges took.
const MERGES_SHARE: usize = 4;

/// Nodes of plans that hold some batches at most.
const STREAMING: [&str; 15] = [
    "CoalesceBatchesExec",
    "CoalescePartitionsExec",
    "CooperativeExec",
    "DataSourceExec",
    "EmptyExec",
    "FilterExec",
    "FitsScan",
    "GlobalLimitExec",
    "LazyMemoryExec",
    "LocalLimitExec",
    "PlaceholderRowExec",
    "ProjectionExec",
    "RepartitionExec",
    "UnionExec",
    "UnnestExec",
];

/// The memory of all queries.
pub(crate) struct QueryMemory {
    bytes_of_each: usize,
    timeout: Duration,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// The right to use the memory of one query. It is free once this is dropped.
pub(crate) struct QueryPlace {
    _permit: OwnedSemaphorePermit,
}

impl QueryMemory {
    /// Divides memory.
    pub(crate) fn new(bytes: usize, timeout: Duration) -> Self {
        let queries = (bytes / QUERY_BYTES_MIN).clamp(1, QUERIES_MAX);
        Self {
            bytes_of_each: bytes / queries,
            timeout,
            places: Arc::new(Semaphore::new(queries)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }
    }

    /// All memory for the one query that there is.
    pub(crate) fn of_one(bytes: usize) -> Self {
        Self {
            bytes_of_each: bytes,
            timeout: DEFAULT_MEMORY_TIMEOUT,
            places: Arc::new(Semaphore::new(1)),
            waiting: Arc::new(Semaphore::new(1)),
        }
    }

    /// Returns the memory of one query, in bytes.
    pub(crate) fn bytes_of_each(&self) -> usize {
        self.bytes_of_each
    }

    /// Returns how many rows the batches of a plan may have, if fewer than usual: it sorts, joins or
    /// groups wide rows.
    pub(crate) fn batch_rows(&self, plan: &dyn ExecutionPlan) -> Option<usize> {
        let files = nodes(plan).flat_map(scanned_files);
        let bytes = files.filter_map(|file| file.extension::<BytesOfRow>());
        // The rows of a join have the columns of all.
        let bytes = bytes.map(|of| of.0).fold(0, usize::saturating_add);
        let rows = (self.bytes_of_each / BATCH_SHARE)
            .checked_div(bytes)?
            .max(1);
        (rows < BATCH_ROWS && is_needed(plan)).then_some(rows)
    }

    /// Returns an environment with memory for one query; all else is that of all queries.
    pub(crate) fn environment(&self, shared: &RuntimeEnv) -> Arc<RuntimeEnv> {
        Arc::new(RuntimeEnv {
            memory_pool: Arc::new(QueryPool::new(self.bytes_of_each)),
            ..shared.clone()
        })
    }

    /// Waits for the memory of a query. It needs a runtime with timers.
    ///
    /// # Errors
    /// Other queries had it all the time, or too many wait for it ([`EngineErrorKind::Busy`]).
    pub(crate) async fn wait(self: Arc<Self>) -> std::result::Result<QueryPlace, EngineError> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(QueryPlace { _permit: permit });
        }
        let busy = |reason: String| {
            let text = format!("other queries need all memory: {reason}; come again later");
            EngineError::new(EngineErrorKind::Busy, text)
        };
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(busy("too many wait for it".into()));
        };
        let permit = timeout(self.timeout, Arc::clone(&self.places).acquire_owned()).await;
        match permit {
            Ok(Ok(permit)) => Ok(QueryPlace { _permit: permit }),
            _ => Err(busy(format!("none ended within {:?}", self.timeout))),
        }
    }
}

/// Returns whether a plan holds more than some batches: rows that are sorted, joined or grouped.
pub(crate) fn is_needed(plan: &dyn ExecutionPlan) -> bool {
    nodes(plan).any(|node| !STREAMING.contains(&node.name()))
}

/// Returns whether a plan has joins, which spill with several partitions only. Sorts of wide rows in
/// several partitions take the memory from one another where they merge what they have spilled.
pub(crate) fn has_joins(plan: &dyn ExecutionPlan) -> bool {
    nodes(plan).any(|node| node.name().contains("Join"))
}

/// The memory of one query. It is fair to what spills, as DataFusion's `FairSpillPool` is, of which
/// the sorts of several partitions take all, so that nothing is left to merge them.
#[derive(Debug)]
struct QueryPool {
    bytes: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    /// How many can spill.
    spilling: usize,
    spillable: usize,
    /// Without the merges.
    unspillable: usize,
    /// Of each merge of what was spilled.
    merges: HashMap<usize, usize>,
}

impl QueryPool {
    fn new(bytes: usize) -> Self {
        Self {
            bytes,
            used: Mutex::default(),
        }
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn of(&mut self, reservation: &MemoryReservation) -> &mut usize {
        let consumer = reservation.consumer();
        match (consumer.can_spill(), is_merge(consumer)) {
            (true, _) => &mut self.spillable,
            (false, true) => self.merges.entry(consumer.id()).or_default(),
            (false, false) => &mut self.unspillable,
        }
    }

    /// Returns what merges have, and what is kept for them beside that, without the one of this
    /// number.
    fn of_merges(&self, bytes: usize, without: Option<usize>) -> usize {
        let part = bytes / MERGES_SHARE / self.merges.len().max(1);
        let merges = self.merges.iter().filter(|(id, _)| Some(**id) != without);
        merges.map(|(_, held)| part.max(*held)).sum()
    }
}

fn is_merge(consumer: &MemoryConsumer) -> bool {
    consumer.name().starts_with(SPILLED_MERGE)
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        let mut used = self.used();
        used.spilling += usize::from(consumer.can_spill());
        if is_merge(consumer) {
            used.merges.insert(consumer.id(), 0);
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut used = self.used();
        used.spilling = used.spilling.saturating_sub(consumer.can_spill().into());
        used.merges.remove(&consumer.id());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.used().of(reservation) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut used = self.used();
        let of = used.of(reservation);
        *of = of.saturating_sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let left = self.bytes / LEFT_SHARE;
        let mut used = self.used();
        let consumer = reservation.consumer();
        let (wanted, most) = match (consumer.can_spill(), is_merge(consumer)) {
            (true, _) => {
                let kept = used.unspillable.max(left) + used.of_merges(self.bytes, None);
                let all = self.bytes.saturating_sub(kept);
                let wanted = reservation.size().saturating_add(additional);
                (wanted, all / used.spilling.max(1))
            }
            (false, true) => {
                let others = used.of_merges(self.bytes, Some(consumer.id()));
                let kept = used.spillable + used.unspillable.max(left) + others;
                let held = used.merges.get(&consumer.id()).copied();
                let wanted = held.unwrap_or_default().saturating_add(additional);
                (wanted, self.bytes.saturating_sub(kept))
            }
            (false, false) => {
                let others = used.unspillable + used.spillable + used.of_merges(0, None);
                (additional, self.bytes.saturating_sub(others))
            }
        };
        if wanted > most {
            let name = reservation.consumer().name();
            let (bytes, all) = (additional, self.bytes);
            tracing::debug!(name, bytes, all, "the memory of a query is used up");
            let all = with_unit(all as u64);
            let text = format!("the query needs more than the {all} that there are for it");
            return Err(DataFusionError::ResourcesExhausted(text));
        }
        *used.of(reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let used = self.used();
        used.spillable + used.unspillable + used.of_merges(0, None)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.name(), self.bytes)
    }
}
