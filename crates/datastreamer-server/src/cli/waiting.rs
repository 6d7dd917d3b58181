//! A line on a terminal that says what a command waits for.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is drawn anew.
pub(super) const REDRAW: Duration = Duration::from_millis(100);

/// Shows a message and the time; clear it when the wait is over. Column types of a text file are
/// inferred from all rows, and a database may compute for long before its first row.
pub(super) fn waiting_line(message: &str, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let progress = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
        progress.set_style(style);
    }
    progress.set_message(message.to_owned());
    progress.enable_steady_tick(REDRAW);
    progress
}
