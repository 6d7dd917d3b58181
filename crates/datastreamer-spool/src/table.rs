//! Which productions there are, who uses them, and how much room they take: every decision, and no
//! file.
//!
//! `spool.rs` holds it behind one lock, so that a request either joins a production that goes on or
//! begins a new one. What is to be removed is returned; the caller removes the files while nothing is
//! locked, and only then reports the room as free ([`Table::removed`]).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, ErrorKind},
    key::Key,
    names::ProductionId,
};

/// `S` is what callers hold of a production.
pub(crate) struct Table<S> {
    entries: HashMap<ProductionId, Entry<S>>,
    /// The productions of a key that may be joined, the newest last.
    joinable: HashMap<Key, Vec<ProductionId>>,
    /// Keys whose production begins at this moment.
    beginning: HashSet<Key>,
    client_bytes: HashMap<Arc<str>, u64>,
    limits: Limits,
    /// All that is reserved.
    bytes: u64,
    /// Of these, what is reserved for temporary files of others.
    temporary_bytes: u64,
    uses: u64,
    evicted: u64,
    expired: u64,
    closed: bool,
}

/// The limits, resolved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) total_bytes: u64,
    pub(crate) production_bytes: u64,
    pub(crate) client_bytes: u64,
    pub(crate) productions: usize,
}

struct Entry<S> {
    shared: Arc<S>,
    key: Key,
    client: Arc<str>,
    /// `None`: for as long as it runs or is read.
    keep: Option<Duration>,
    stage: Stage,
    /// Handles, each of which is a reason to go on.
    users: usize,
    /// Bytes that are reserved: written, or promised.
    bytes: u64,
    /// The order of the last uses.
    last_use: u64,
    /// When the last user left.
    idle_since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Nobody wants it any more: its source is being stopped.
    Leaving,
    Complete,
    Failed,
    /// Its files are being removed.
    Removing,
}

/// What a new entry is made of.
pub(crate) struct NewEntry<S> {
    pub(crate) id: ProductionId,
    pub(crate) shared: Arc<S>,
    pub(crate) key: Key,
    pub(crate) client: Arc<str>,
    pub(crate) keep: Option<Duration>,
}

/// A production whose files are to be removed.
pub(crate) struct Victim<S> {
    pub(crate) id: ProductionId,
    /// Dropped together with the files, and outside of every lock.
    pub(crate) shared: Arc<S>,
}

/// The answer to a reservation.
pub(crate) enum Reserved<S> {
    Done,
    /// Ask again once these are removed.
    AfterRemoving(Vec<Victim<S>>),
    Refused(Error),
}

/// What follows when a user has left.
pub(crate) enum Left<S> {
    Nothing,
    /// The source is to be stopped.
    Stop(Arc<S>),
    /// Nobody reads it now: memory and files may be closed, and it becomes due.
    Idle(Arc<S>),
    Remove(Victim<S>),
}

/// Whether the key's production may begin.
pub(crate) enum Admission<S> {
    Join(Arc<S>),
    Begin,
    /// Another request begins it.
    Wait,
}

/// Figures for the operator.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) bytes: u64,
    pub(crate) temporary_bytes: u64,
    pub(crate) productions: usize,
    pub(crate) running: usize,
    pub(crate) users: usize,
    pub(crate) evicted: u64,
    pub(crate) expired: u64,
}

impl<S> Table<S> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            entries: HashMap::new(),
            joinable: HashMap::new(),
            beginning: HashSet::new(),
            client_bytes: HashMap::new(),
            limits,
            bytes: 0,
            temporary_bytes: 0,
            uses: 0,
            evicted: 0,
            expired: 0,
            closed: false,
        }
    }

    // ---- joining and beginning ----

    /// Joins the newest production of a key, as a user.
    pub(crate) fn join(&mut self, key: &Key) -> Option<Arc<S>> {
        let id = self.joinable.get(key)?.last()?;
        let entry = self.entries.get_mut(id)?;
        if matches!(entry.stage, Stage::Leaving | Stage::Removing) {
            return None;
        }
        entry.users += 1;
        self.uses += 1;
        entry.last_use = self.uses;
        Some(Arc::clone(&entry.shared))
    }

    /// Joins, or claims the key; the claim ends with [`Table::unclaim`] or [`Table::begin`].
    pub(crate) fn join_or_claim(&mut self, key: &Key) -> Result<Admission<S>, Error> {
        if self.closed {
            return Err(Error::new(ErrorKind::Closed, "no production begins"));
        }
        if let Some(shared) = self.join(key) {
            return Ok(Admission::Join(shared));
        }
        if !self.beginning.insert(key.clone()) {
            return Ok(Admission::Wait);
        }
        Ok(Admission::Begin)
    }

    pub(crate) fn unclaim(&mut self, key: &Key) {
        self.beginning.remove(key);
    }

    /// Adds a production that begins, with one user.
    pub(crate) fn begin(&mut self, new: NewEntry<S>, now: Instant) {
        self.insert(new, Stage::Running, 1, 0, now);
    }

    /// Adds a complete production that was found at the start.
    pub(crate) fn add_found(&mut self, new: NewEntry<S>, bytes: u64, now: Instant) {
        self.insert(new, Stage::Complete, 0, bytes, now);
    }

    fn insert(&mut self, new: NewEntry<S>, stage: Stage, users: usize, bytes: u64, now: Instant) {
        self.uses += 1;
        let ids = self.joinable.entry(new.key.clone()).or_default();
        ids.push(new.id);
        let entry = Entry {
            shared: new.shared,
            key: new.key,
            client: new.client,
            keep: new.keep,
            stage,
            users,
            bytes: 0,
            last_use: self.uses,
            idle_since: now,
        };
        self.entries.insert(new.id, entry);
        self.add_bytes(&new.id, bytes);
    }

    /// Makes room for one more production.
    pub(crate) fn reserve_entry(&mut self) -> Reserved<S> {
        if self.entries.len() < self.limits.productions {
            return Reserved::Done;
        }
        match self.least_recently_used(|_| true) {
            Some(id) => Reserved::AfterRemoving(self.evict(id)),
            None => Reserved::Refused(Error::new(
                ErrorKind::TooMany,
                format!("{} productions", self.entries.len()),
            )),
        }
    }

    // ---- users ----

    /// Adds a user beside one that is there.
    pub(crate) fn add_user(&mut self, id: &ProductionId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.users += 1;
        }
    }

    /// Removes a user.
    pub(crate) fn leave(&mut self, id: &ProductionId, now: Instant) -> Left<S> {
        let Some(entry) = self.entries.get_mut(id) else {
            return Left::Nothing;
        };
        entry.users -= 1;
        if entry.users > 0 {
            return Left::Nothing;
        }
        self.uses += 1;
        entry.last_use = self.uses;
        entry.idle_since = now;
        let shared = Arc::clone(&entry.shared);
        match (entry.stage, entry.keep) {
            (Stage::Running, None) => {
                entry.stage = Stage::Leaving;
                self.no_longer_joinable(id);
                Left::Stop(shared)
            }
            (Stage::Complete, Some(_)) => Left::Idle(shared),
            (Stage::Complete, None) | (Stage::Failed, _) => {
                self.begin_removing(id).map_or(Left::Nothing, Left::Remove)
            }
            (Stage::Running | Stage::Leaving | Stage::Removing, _) => Left::Nothing,
        }
    }

    // ---- the pump ----

    /// Reserves room, so that the production has `bytes` in all.
    pub(crate) fn reserve(&mut self, id: &ProductionId, bytes: u64) -> Reserved<S> {
        let Some(entry) = self.entries.get(id) else {
            return Reserved::Refused(Error::new(ErrorKind::Closed, "the production is gone"));
        };
        let more = bytes.saturating_sub(entry.bytes);
        if more == 0 {
            return Reserved::Done;
        }
        let client = Arc::clone(&entry.client);
        let limits = self.limits;
        if bytes > limits.production_bytes {
            let text = format!("more than {} bytes", limits.production_bytes);
            return Reserved::Refused(Error::new(ErrorKind::TooLarge, text));
        }
        let of_client = self.client_bytes.get(&client).copied().unwrap_or(0);
        let too_many_of_client = (of_client + more).saturating_sub(limits.client_bytes);
        let too_many = (self.bytes + more).saturating_sub(limits.total_bytes);
        if too_many_of_client > 0 {
            let text = format!("more than {} bytes of one client", limits.client_bytes);
            let is_theirs = |entry: &Entry<S>| entry.client == client;
            return self.evict_bytes(too_many_of_client, is_theirs, ErrorKind::ClientFull, text);
        }
        if too_many > 0 {
            let text = format!("more than {} bytes", limits.total_bytes);
            return self.evict_bytes(too_many, |_| true, ErrorKind::Full, text);
        }
        self.add_bytes(id, more);
        Reserved::Done
    }

    /// Reserves room for temporary files of others.
    pub(crate) fn reserve_temporary(&mut self, bytes: u64) -> Reserved<S> {
        let too_many = self.bytes.saturating_add(bytes);
        let too_many = too_many.saturating_sub(self.limits.total_bytes);
        if too_many > 0 {
            let text = format!("more than {} bytes", self.limits.total_bytes);
            return self.evict_bytes(too_many, |_| true, ErrorKind::Full, text);
        }
        self.bytes += bytes;
        self.temporary_bytes += bytes;
        Reserved::Done
    }

    pub(crate) fn free_temporary(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.temporary_bytes -= bytes;
    }

    /// Evicts the least recently used, because the disk is full although the spool is not.
    pub(crate) fn evict_one(&mut self) -> Reserved<S> {
        let text = "the disk is full".to_owned();
        self.evict_bytes(1, |_| true, ErrorKind::Full, text)
    }

    /// Records that a production is complete; `None`: it was given up and removed meanwhile, so its
    /// files must go as well.
    pub(crate) fn complete(
        &mut self,
        id: &ProductionId,
        bytes: u64,
        now: Instant,
    ) -> Option<Left<S>> {
        let entry = self.entries.get_mut(id);
        let entry = entry.filter(|entry| entry.stage != Stage::Removing)?;
        let promised = entry.bytes.saturating_sub(bytes);
        entry.bytes -= promised;
        entry.idle_since = now;
        let client = Arc::clone(&entry.client);
        if entry.stage == Stage::Running {
            entry.stage = Stage::Complete;
        }
        let (stage, users) = (entry.stage, entry.users);
        let shared = Arc::clone(&entry.shared);
        self.subtract(&client, promised);
        Some(match (stage, users) {
            (Stage::Complete, 0) => Left::Idle(shared),
            (Stage::Leaving, _) => self.begin_removing(id).map_or(Left::Nothing, Left::Remove),
            _ => Left::Nothing,
        })
    }

    /// Records that a production has failed; returns it if nobody holds it.
    pub(crate) fn fail(&mut self, id: &ProductionId) -> Option<Victim<S>> {
        self.no_longer_joinable(id);
        let entry = self.entries.get_mut(id)?;
        if entry.stage == Stage::Removing {
            return None;
        }
        entry.stage = Stage::Failed;
        match entry.users {
            0 => self.begin_removing(id),
            _ => None,
        }
    }

    // ---- removing ----

    /// Records that the files of a victim are gone, and its room is free.
    pub(crate) fn removed(&mut self, id: &ProductionId) {
        let Some(entry) = self.entries.remove(id) else {
            return;
        };
        self.subtract(&entry.client, entry.bytes);
    }

    /// Takes the complete productions whose time is over.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<Victim<S>> {
        let is_over = |entry: &Entry<S>| entry.due().is_some_and(|due| due <= now);
        let over = self.entries.iter().filter(|(_, entry)| is_over(entry));
        let ids: Vec<_> = over.map(|(id, _)| *id).collect();
        self.expired += ids.len() as u64;
        ids.iter()
            .filter_map(|id| self.begin_removing(id))
            .collect()
    }

    /// When the next production expires.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.entries.values().filter_map(Entry::due).min()
    }

    /// Has no request join a production any more whose source is being stopped; one that is complete
    /// stays.
    pub(crate) fn retire(&mut self, id: &ProductionId) {
        if self.entries.get(id).is_some_and(Entry::is_running) {
            self.no_longer_joinable(id);
        }
    }

    /// Evicts what is beyond limits that are lower than they were before a restart.
    pub(crate) fn trim(&mut self) -> Vec<Victim<S>> {
        let mut victims = Vec::new();
        let mut productions = self.entries.len();
        let mut bytes = self.bytes;
        while productions > self.limits.productions || bytes > self.limits.total_bytes {
            let Some(id) = self.least_recently_used(|_| true) else {
                break;
            };
            productions -= 1;
            bytes -= self.entries.get(&id).map_or(0, |entry| entry.bytes);
            victims.extend(self.evict(id));
        }
        victims
    }

    /// Begins no more productions; returns those that run.
    pub(crate) fn close(&mut self) -> Vec<Arc<S>> {
        self.closed = true;
        let running = self.entries.values();
        let running = running.filter(|entry| entry.is_running());
        running.map(|entry| Arc::clone(&entry.shared)).collect()
    }

    pub(crate) fn figures(&self) -> Figures {
        let entries = self.entries.values();
        Figures {
            bytes: self.bytes,
            temporary_bytes: self.temporary_bytes,
            productions: self.entries.len(),
            running: entries.clone().filter(|entry| entry.is_running()).count(),
            users: entries.map(|entry| entry.users).sum(),
            evicted: self.evicted,
            expired: self.expired,
        }
    }

    fn begin_removing(&mut self, id: &ProductionId) -> Option<Victim<S>> {
        self.no_longer_joinable(id);
        let entry = self.entries.get_mut(id)?;
        entry.stage = Stage::Removing;
        let shared = Arc::clone(&entry.shared);
        Some(Victim { id: *id, shared })
    }

    fn no_longer_joinable(&mut self, id: &ProductionId) {
        let Some(key) = self.entries.get(id).map(|entry| entry.key.clone()) else {
            return;
        };
        if let Some(ids) = self.joinable.get_mut(&key) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.joinable.remove(&key);
            }
        }
    }

    /// Evicts the least recently used, as many as it takes; none if all together do not suffice.
    fn evict_bytes(
        &mut self,
        bytes: u64,
        of: impl Fn(&Entry<S>) -> bool,
        kind: ErrorKind,
        text: String,
    ) -> Reserved<S> {
        let unused = |entry: &Entry<S>| entry.is_evictable() && of(entry);
        let mut unused: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| unused(entry))
            .map(|(id, entry)| (entry.last_use, entry.bytes, *id))
            .collect();
        // What is being removed is as good as free.
        let leaving = self.entries.values();
        let leaving = leaving.filter(|entry| entry.stage == Stage::Removing && of(entry));
        let mut freed: u64 = leaving.map(|entry| entry.bytes).sum();
        let all: u64 = unused.iter().map(|(_, bytes, _)| bytes).sum();
        if freed + all < bytes {
            return Reserved::Refused(Error::new(kind, text));
        }
        unused.sort_unstable();
        let mut victims = Vec::new();
        for (_, size, id) in unused {
            if freed >= bytes {
                break;
            }
            freed += size;
            victims.extend(self.evict(id));
        }
        Reserved::AfterRemoving(victims)
    }

    fn evict(&mut self, id: ProductionId) -> Vec<Victim<S>> {
        self.evicted += 1;
        self.begin_removing(&id).into_iter().collect()
    }

    fn least_recently_used(&self, of: impl Fn(&Entry<S>) -> bool) -> Option<ProductionId> {
        let unused = self.entries.iter();
        let unused = unused.filter(|(_, entry)| entry.is_evictable() && of(entry));
        let oldest = unused.min_by_key(|(_, entry)| entry.last_use);
        oldest.map(|(id, _)| *id)
    }

    fn add_bytes(&mut self, id: &ProductionId, bytes: u64) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.bytes += bytes;
            self.bytes += bytes;
            *self
                .client_bytes
                .entry(Arc::clone(&entry.client))
                .or_default() += bytes;
        }
    }

    fn subtract(&mut self, client: &Arc<str>, bytes: u64) {
        self.bytes -= bytes;
        if let Some(of_client) = self.client_bytes.get_mut(client) {
            *of_client -= bytes;
            if *of_client == 0 {
                self.client_bytes.remove(client);
            }
        }
    }
}

impl<S> Entry<S> {
    fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Leaving)
    }

    fn is_evictable(&self) -> bool {
        self.stage == Stage::Complete && self.users == 0
    }

    /// When it expires, if nobody uses it until then.
    fn due(&self) -> Option<Instant> {
        let keep = self.keep.filter(|_| self.is_evictable())?;
        self.idle_since.checked_add(keep)
    }
}
