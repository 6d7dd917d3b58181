//! Versions of files that are made anew for each request: what their bytes depend on, the strong entity
//! tag that follows from it, and the lengths of those that were sent before.
//!
//! `sending.rs` asks here before it runs a source, and `transfers.rs` notes how a run has ended. A version
//! has a tag only if two runs write the same bytes, whenever they run; so whoever has the beginning of one
//! run can have the rest of another.

use std::{
    fs,
    num::NonZeroUsize,
    os::unix::fs::MetadataExt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use datastreamer_http::{ETag, SETTLED_AFTER};
use datastreamer_spool::Key;
use http::StatusCode;
use lru::LruCache;
use ring::digest::{Context, SHA256};

use crate::{
    export::Export,
    refusal::Refusal,
    sources::{DataState, FILE_NAME_PARAMETER, Feed, Fingerprint, RowFacts},
};

/// Versions whose length is known: those of some hours of a busy server, in at most 2 MB.
const LENGTHS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// 128 bits of a tag: no two versions have the same one by accident.
const TAG_BYTES: usize = 16;

/// What a file's bytes depend on.
#[derive(Clone)]
pub(crate) struct Version {
    /// The route with its settings, the format and the parameters, in a form that equal requests share.
    name: Arc<str>,
    /// Looks at the data; `None`: its state cannot be found out.
    look: Option<Fingerprint>,
    /// Whether two runs over the same data write the same bytes.
    is_repeatable: bool,
}

impl Version {
    /// Names the version that a request is for.
    pub(crate) fn of(export: &Export<'_>, query: &str) -> Self {
        let name = format!("{FILE_NAME_PARAMETER}=");
        // What the file is called is in no byte of it.
        let is_of_bytes = |it: &&str| {
            !it.is_empty() && (!export.has_wanted_name() || !it.starts_with(name.as_str()))
        };
        let mut parameters: Vec<_> = query.split('&').filter(is_of_bytes).collect();
        parameters.sort_unstable();
        let name = format!(
            "{} {}?{}#{:016x}",
            export.route.file_name(),
            // The suffix does not tell the formats of rows apart: VOTable has three.
            export.media_type(),
            parameters.join("&"),
            export.route.settings,
        );
        Self {
            name: name.into(),
            look: export.job.fingerprint.clone(),
            is_repeatable: export.job.is_repeatable,
        }
    }

    /// Returns the name, without the state of the data.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns whether its tag is that of the state of its data.
    pub(crate) fn is_of_data(&self) -> bool {
        self.is_repeatable && self.look.is_some()
    }

    /// Looks at the data. **Blocks**. `None`: its state cannot be found out.
    ///
    /// # Errors
    /// There is no data at the moment; for the client.
    pub(crate) fn look(&self) -> Result<Option<DataState>, Refusal> {
        self.look.as_ref().map(|look| look()).transpose()
    }

    /// Names the production of this version; with `reader` it is for that client alone.
    pub(crate) fn key(&self, state: Option<DataState>, reader: &str) -> Key {
        let state = state.map(|state| format!("{:016x}", state.fingerprint));
        let state = state.unwrap_or_default();
        Key::new(format!("{}#{state}#{reader}", self.name))
    }

    /// Returns the strong tag of what a run over this data writes, if that is the same each time. `None`
    /// also if the data was changed a moment ago: it may change once more without a trace.
    pub(crate) fn tag(&self, state: Option<DataState>) -> Option<ETag> {
        let state = state.filter(|_| self.is_repeatable)?;
        if SystemTime::now() <= state.changed + SETTLED_AFTER {
            return None;
        }
        let mut digest = Context::new(&SHA256);
        digest.update(&PROGRAM);
        digest.update(self.key(Some(state), "").as_str().as_bytes());
        let digest = digest.finish();
        Some(ETag::hex(&digest.as_ref()[..TAG_BYTES]))
    }

    /// Gives a planned file the tag that was made of `before`, and the length that another run of this
    /// version had, whose rows `facts` learn of. **Blocks** to look at the data once more: what was planned
    /// is that of `before` only if nothing has changed since.
    ///
    /// # Errors
    /// It has changed, and the response has been named already, as the production has; for the client.
    pub(crate) fn identify(
        &self,
        mut feed: Feed,
        before: Option<DataState>,
        tag: Option<ETag>,
        lengths: &Lengths,
        facts: Option<&RowFacts>,
        named: Named,
    ) -> Result<Feed, Refusal> {
        // A file on disk has its own.
        let Some(tag) = tag.filter(|_| feed.planned.known_etag().is_none()) else {
            return Ok(feed);
        };
        if self.look()? != before {
            return match named {
                Named::Already => Err(changed()),
                Named::NotYet => Ok(feed),
            };
        }
        if feed.planned.known_length().is_none() {
            feed.planned = feed.planned.length(lengths.get(&tag, facts));
        }
        feed.planned = feed.planned.etag(tag);
        Ok(feed)
    }
}

/// Whether somebody knows the tag of a run before its file is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    NotYet,
    Already,
}

fn changed() -> Refusal {
    let text = "the data has changed at this moment: ask again";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// What the same request may become different bytes with: the program. Its version does not tell two
/// builds apart.
static PROGRAM: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut program = env!("CARGO_PKG_VERSION").as_bytes().to_vec();
    let file = std::env::current_exe().and_then(fs::metadata);
    if let Ok(file) = file {
        program.extend(file.len().to_le_bytes());
        program.extend(file.mtime().to_le_bytes());
        program.extend(file.mtime_nsec().to_le_bytes());
    }
    program
});

/// The lengths of versions that were sent before. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Lengths(Arc<Mutex<LruCache<ETag, Length>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(Sent),
    /// Two runs had different ones, or one failed: its tag vouches for nothing.
    Unsure,
}

/// What an earlier run of a version was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    bytes: u64,
    /// Whether a limit has cut its rows, if it has one and that is known.
    is_cut: Option<bool>,
}

impl Lengths {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(LENGTHS_MAX))))
    }

    /// Notes the length of a complete file, and whether a limit has cut its rows.
    pub(crate) fn note(&self, tag: &ETag, bytes: u64, is_cut: Option<bool>) {
        let mut lengths = self.lock();
        let length = match lengths.get(tag) {
            None => Length::Known(Sent { bytes, is_cut }),
            Some(Length::Known(before)) if before.bytes == bytes => Length::Known(Sent {
                bytes,
                is_cut: is_cut.or(before.is_cut),
            }),
            Some(_) => Length::Unsure,
        };
        lengths.put(tag.clone(), length);
    }

    /// Notes that a run has failed.
    pub(crate) fn note_failure(&self, tag: &ETag) {
        self.lock().put(tag.clone(), Length::Unsure);
    }

    /// Returns the length of a version. `facts` are those of a run of it, which learn what is known of its
    /// rows: no trailer follows a body whose length is announced.
    pub(crate) fn get(&self, tag: &ETag, facts: Option<&RowFacts>) -> Option<u64> {
        let sent = match self.lock().get(tag)? {
            Length::Known(sent) => *sent,
            Length::Unsure => return None,
        };
        if let Some((facts, is_cut)) = facts.zip(sent.is_cut) {
            facts.note_cut(is_cut);
        }
        Some(sent.bytes)
    }

    /// Returns the tag, unless runs that had it were not alike.
    pub(crate) fn trusted(&self, tag: Option<ETag>) -> Option<ETag> {
        tag.filter(|tag| self.lock().get(tag) != Some(&Length::Unsure))
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<ETag, Length>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn version(name: &str) -> Version {
        Version {
            name: name.into(),
            look: None,
            is_repeatable: true,
        }
    }

    fn state(fingerprint: u64, age: Duration) -> Option<DataState> {
        Some(DataState {
            fingerprint,
            changed: SystemTime::now() - age,
        })
    }

    #[test]
    fn a_tag_is_that_of_one_request_over_one_state_of_settled_data() {
        let old = Duration::from_secs(60);
        let tag = version("a").tag(state(1, old));
        assert!(tag.is_some());
        assert_eq!(version("a").tag(state(1, old)), tag);
        assert_ne!(version("b").tag(state(1, old)), tag);
        assert_ne!(version("a").tag(state(2, old)), tag);
        assert_eq!(version("a").tag(state(1, Duration::ZERO)), None);
        assert_eq!(version("a").tag(None), None);
        let once = Version {
            is_repeatable: false,
            ..version("a")
        };
        assert_eq!(once.tag(state(1, old)), None);
    }

    #[test]
    fn two_lengths_of_one_tag_are_none_and_the_tag_is_no_longer_given() {
        let lengths = Lengths::new();
        let tag = ETag::new("a").unwrap();
        assert_eq!(lengths.get(&tag, None), None);
        lengths.note(&tag, 5, None);
        lengths.note(&tag, 5, None);
        assert_eq!(lengths.get(&tag, None), Some(5));
        assert_eq!(lengths.trusted(Some(tag.clone())), Some(tag.clone()));
        lengths.note(&tag, 6, None);
        assert_eq!(lengths.get(&tag, None), None);
        lengths.note(&tag, 6, None);
        assert_eq!(lengths.trusted(Some(tag)), None);
    }
}
