//! Room for temporary files of tables, on the account of the server's spool.
//!
//! The configuration makes it, the server says where the room is, and the formats of
//! `datastreamer_table` take it.

use std::{io, sync::OnceLock};

use datastreamer_spool::Room;

/// Takes room for so many bytes; may block.
pub(crate) type TakeRoom = Box<dyn Fn(u64) -> io::Result<Room> + Send + Sync>;

/// The room of the spool, once there is a server. `cat` has none, and no limit but that of a file.
#[derive(Default)]
pub(crate) struct TemporaryFiles(OnceLock<TakeRoom>);

impl TemporaryFiles {
    /// Sets where the room is.
    pub(crate) fn count_in(&self, take: TakeRoom) {
        let _once = self.0.set(take);
    }
}

#[cfg(feature = "tables")]
impl datastreamer_table::TemporaryRoom for TemporaryFiles {
    fn take(&self, bytes: u64) -> io::Result<Box<dyn std::any::Any + Send>> {
        match self.0.get() {
            Some(take) => Ok(Box::new(take(bytes)?)),
            None => Ok(Box::new(())),
        }
    }
}

impl std::fmt::Debug for TemporaryFiles {
    /// The same for all: a route is told from another by its settings.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TemporaryFiles")
    }
}
