//! The program `datastreamer`.

#[cfg(unix)]
mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    datastreamer_server::run_if_child();
    #[cfg(unix)]
    allocator::give_back_soon();
    datastreamer_server::run()
}
