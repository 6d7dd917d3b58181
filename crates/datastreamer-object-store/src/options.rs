//! The settings of an upload: the caller's options, and the resolved settings that it runs with.
//!
//! The caller makes the options, `upload.rs` resolves them.

use object_store::Attributes;

/// How many parts an upload may have: the limit of S3 and of Google's and Cloudflare's stores. It
/// is applied to all stores, so that an upload that works with one works with all.
pub const PARTS_MAX: usize = 10_000;

/// The size of a part: 16 MiB, three times S3's minimum of 5 MiB. [`PARTS_MAX`] such parts make an
/// object of 156 GiB. Larger objects need larger parts: 5 TiB need 525 MiB a part.
pub const DEFAULT_PART_BYTES: usize = 16 * 1024 * 1024;

/// How many parts are in flight: four. At about 80 MB/s a connection to S3, this is as fast as a
/// source that compresses. With the part being filled, an upload takes 5 × 16 MiB = 80 MiB.
pub const DEFAULT_PARTS_IN_FLIGHT: usize = 4;

/// The options of an upload. See [`crate::upload`].
///
/// ```
/// use datastreamer_object_store::UploadOptions;
/// // Up to 640 GiB, in 3 × 64 MiB of memory.
/// let options = UploadOptions::new().part_bytes(64 << 20).parts_in_flight(2);
/// # drop(options);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options start nothing by themselves"]
pub struct UploadOptions {
    part_bytes: Option<usize>,
    parts_in_flight: Option<usize>,
    attributes: Attributes,
}

/// The settings with which an upload runs; made once by [`UploadOptions::resolve`].
#[derive(Debug)]
pub(crate) struct Settings {
    /// At least 1.
    pub(crate) part_bytes: usize,
    /// At least 1.
    pub(crate) parts_in_flight: usize,
    pub(crate) attributes: Attributes,
}

impl UploadOptions {
    /// Starts from the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the size of every part but the last, in bytes; 0 counts as 1. A smaller file is sent
    /// in a single request. S3 and others refuse parts below 5 MiB.
    pub fn part_bytes(mut self, bytes: usize) -> Self {
        self.part_bytes = Some(bytes);
        self
    }

    /// Sets how many parts may be in flight at the same time; 0 counts as 1. One more is being
    /// filled, so an upload holds at most `(parts + 1) × part_bytes` besides the stream's buffer.
    pub fn parts_in_flight(mut self, parts: usize) -> Self {
        self.parts_in_flight = Some(parts);
        self
    }

    /// Sets the object's attributes, for example its content type. Stores without attributes (a
    /// local directory) refuse the upload.
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    pub(crate) fn resolve(self) -> Settings {
        Settings {
            part_bytes: self.part_bytes.unwrap_or(DEFAULT_PART_BYTES).max(1),
            parts_in_flight: self
                .parts_in_flight
                .unwrap_or(DEFAULT_PARTS_IN_FLIGHT)
                .max(1),
            attributes: self.attributes,
        }
    }
}
