//! What vouches for a complete production: a small JSON file beside its data.
//!
//! `folder.rs` writes it after the data are on the storage, and believes no data without it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use datastreamer::ETag;
use serde::{Deserialize, Serialize};

use crate::{
    digests::{Digests, from_hex, to_hex},
    key::Key,
    names::ProductionId,
};

/// The version of the format; a manifest of another one is a leftover.
const VERSION: u32 = 1;

/// What is known of a complete production.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) id: ProductionId,
    pub(crate) key: Key,
    pub(crate) etag: ETag,
    pub(crate) media_type: String,
    pub(crate) file_name: Option<String>,
    pub(crate) client: String,
    pub(crate) created: SystemTime,
    pub(crate) keep: Duration,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    pub(crate) note: Option<String>,
    pub(crate) digests: Digests,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    id: String,
    key: Key,
    etag: String,
    media_type: String,
    file_name: Option<String>,
    client: String,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    created_ms: u64,
    keep_ms: u64,
    bytes: u64,
    rows: u64,
    /// Without one a manifest is as it was before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    sha256: String,
    blake3: String,
    /// BLAKE3 of all the fields before, as they are written.
    checksum: String,
}

impl Manifest {
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let created = self.created.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut written = Written {
            version: VERSION,
            id: self.id.to_string(),
            key: self.key.clone(),
            etag: self.etag.opaque().to_owned(),
            media_type: self.media_type.clone(),
            file_name: self.file_name.clone(),
            client: self.client.clone(),
            created_ms: millis(created),
            keep_ms: millis(self.keep),
            bytes: self.bytes,
            rows: self.rows,
            note: self.note.clone(),
            sha256: to_hex(&self.digests.sha256),
            blake3: to_hex(&self.digests.blake3),
            checksum: String::new(),
        };
        written.checksum = written.sum()?;
        serde_json::to_vec_pretty(&written)
    }

    /// Reads what `to_json` writes; `None` for anything else.
    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        let mut written: Written = serde_json::from_slice(json).ok()?;
        let checksum = std::mem::take(&mut written.checksum);
        if written.version != VERSION || written.sum().ok()? != checksum {
            return None;
        }
        Some(Self {
            id: written.id.parse().ok()?,
            key: written.key,
            etag: ETag::new(&written.etag)?,
            media_type: written.media_type,
            file_name: written.file_name,
            client: written.client,
            created: UNIX_EPOCH.checked_add(Duration::from_millis(written.created_ms))?,
            keep: Duration::from_millis(written.keep_ms),
            bytes: written.bytes,
            rows: written.rows,
            note: written.note,
            digests: Digests {
                sha256: from_hex(&written.sha256)?,
                blake3: from_hex(&written.blake3)?,
            },
        })
    }
}

impl Written {
    /// The checksum of the fields; the one of the checksum is empty.
    fn sum(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_vec(self)?;
        Ok(blake3::hash(&json).to_hex().to_string())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            id: ProductionId::of(7),
            key: Key::new("GET /stars?ra=\"1\""),
            etag: ProductionId::of(9).etag(),
            media_type: "text/csv".into(),
            file_name: Some("stérs.csv".into()),
            client: "192.0.2.1".into(),
            created: UNIX_EPOCH + Duration::from_millis(1_234_567),
            keep: Duration::from_secs(60),
            bytes: 12,
            rows: 3,
            note: Some("cut".into()),
            digests: Digests {
                sha256: [1; 32],
                blake3: [2; 32],
            },
        }
    }

    #[test]
    fn a_manifest_is_read_back() {
        let json = manifest().to_json().unwrap();
        assert_eq!(Manifest::from_json(&json), Some(manifest()));
        let without = Manifest {
            note: None,
            ..manifest()
        };
        let json = without.to_json().unwrap();
        assert!(!String::from_utf8_lossy(&json).contains("note"));
        assert_eq!(Manifest::from_json(&json), Some(without));
    }

    #[test]
    fn a_manifest_is_believed_only_as_it_was_written() {
        let json = manifest().to_json().unwrap();
        for end in 0..json.len() {
            assert_eq!(Manifest::from_json(&json[..end]), None, "cut at {end}");
        }
        for at in 0..json.len() {
            for bit in [1, 4, 0x20] {
                let mut damaged = json.clone();
                damaged[at] ^= bit;
                let read = Manifest::from_json(&damaged);
                assert!(read.is_none_or(|read| read == manifest()), "{at} {bit}");
            }
        }
    }
}
