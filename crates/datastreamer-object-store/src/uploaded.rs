//! The result of an upload. Made by `staging.rs`.

/// The object that an upload has made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uploaded {
    /// The object's size in bytes.
    pub bytes: u64,
    /// The number of its parts; 0 if it was sent in a single request.
    pub parts: usize,
    /// The object's entity tag, if the store has them.
    pub e_tag: Option<String>,
    /// The object's version, if the store keeps versions.
    pub version: Option<String>,
}
