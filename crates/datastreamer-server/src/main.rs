//! The program `datastreamer`.

#[cfg(all(unix, feature = "tables"))]
mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(all(unix, feature = "tables"))]
    allocator::give_back_soon();
    datastreamer_server::run()
}
