//! What an upload has made, for `upload.rs` and `staging.rs`.

/// What an upload has made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// The object's size in bytes.
    pub bytes: u64,
    /// In how many parts it went; 0 for a single request.
    pub parts: usize,
    /// The object's entity tag, where the store has such.
    pub e_tag: Option<String>,
    /// The object's version, where the store keeps versions.
    pub version: Option<String>,
}
