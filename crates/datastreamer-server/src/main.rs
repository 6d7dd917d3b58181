//! The program `datastreamer`.

#[cfg(all(unix, feature = "tables"))]
mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    datastreamer_server::run_if_child();
    #[cfg(all(unix, feature = "tables"))]
    allocator::give_back_soon();
    datastreamer_server::run()
}
