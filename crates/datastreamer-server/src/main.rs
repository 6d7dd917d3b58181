//! The program `datastreamer`.

use std::process::ExitCode;

/// Keeps the large buffers of a query for the next batch, and gives them back after a while.
#[cfg(all(unix, feature = "tables"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    datastreamer_server::run()
}
