//! The allocator, and how soon it gives memory back to the system.

use tikv_jemalloc_ctl::{Access, AsName};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// A second: memory that the next batch of rows needs is still there, and what a thousand streams
/// had is not kept for ten seconds, jemalloc's own choice, or for ever, as others do.
const GIVE_BACK_MS: isize = 1_000;

/// Sets how soon unused memory is given back. To be called before there are threads: the main
/// thread has the first arena, and those of others begin as is said here.
pub(crate) fn give_back_soon() {
    for name in ["arenas.dirty_decay_ms\0", "arena.0.dirty_decay_ms\0"] {
        // Where it cannot be set, memory is only given back later.
        let _ = name.name().write(GIVE_BACK_MS);
    }
}
