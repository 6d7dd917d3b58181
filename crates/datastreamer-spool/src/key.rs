//! What names a resource with its parameters, so that equal requests find the same production.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The name of what a production holds: the resource and all parameters that its bytes depend on,
/// including the client's identity where it matters. Equal keys share productions.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(#[serde(with = "text")] Arc<str>);

impl Key {
    /// Makes a key of any text. It is stored with each production, so callers bound its length; one
    /// of 100 KiB and more fails the production when it is to be kept.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", &*self.0)
    }
}

/// serde reads and writes an `Arc<str>` only with a feature that would be on for the whole
/// workspace.
mod text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}
