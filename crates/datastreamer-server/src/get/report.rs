//! What the person at the terminal sees while a download runs: a progress line, and notes on standard
//! error. Standard output is never touched.

use std::{
    io::{self, IsTerminal, Write},
    sync::Mutex,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the line is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);

const KNOWN: &str = "{bar:30} {percent}%, {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
const UNKNOWN: &str = "{spinner} {bytes}, {bytes_per_sec}, {elapsed}";
const WAITING: &str = "{spinner} {msg}, {elapsed}";

/// How much is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// Failures, and what is wrong with a file that is kept.
    Quiet,
    /// Also the progress, breaks and fresh starts.
    Usual,
    /// Also why something is not done.
    Verbose,
}

/// The line and the notes of one download.
pub(crate) struct Report {
    detail: Detail,
    bar: ProgressBar,
    template: Mutex<&'static str>,
}

impl Report {
    /// Begins with a line that says what is waited for, if standard error is a terminal.
    pub(crate) fn start(detail: Detail) -> Self {
        let is_shown = detail > Detail::Quiet && io::stderr().is_terminal();
        let bar = match is_shown {
            true => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let report = Self {
            detail,
            bar,
            template: Mutex::new(""),
        };
        report.show(WAITING);
        report.bar.set_message("waiting for the server");
        if is_shown {
            report.bar.enable_steady_tick(REDRAW);
        }
        report
    }

    /// So many bytes are there, of so many.
    pub(crate) fn progress(&self, held: u64, total: Option<u64>) {
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(held);
        self.show(if total.is_some() { KNOWN } else { UNKNOWN });
    }

    /// Bytes of an earlier run do not count for the rate.
    pub(crate) fn begin(&self, held: u64, total: Option<u64>) {
        self.progress(held, total);
        self.bar.reset_eta();
    }

    /// The bytes are there, and something else is waited for.
    pub(crate) fn wait(&self, message: &'static str) {
        self.bar.set_message(message);
        self.show(WAITING);
    }

    /// Says something that the user did not ask for.
    pub(crate) fn note(&self, detail: Detail, text: &str) {
        if self.detail >= detail {
            self.bar.suspend(|| {
                // If standard error is closed, the exit code remains.
                let _ = writeln!(io::stderr(), "datastreamer: {text}");
            });
        }
    }

    /// Leaves the line of the progress as it is.
    pub(crate) fn end(&self) {
        let waits = self.template.lock().is_ok_and(|shown| *shown == WAITING);
        match waits {
            true => self.bar.finish_and_clear(),
            false => self.bar.abandon(),
        }
    }

    fn show(&self, template: &'static str) {
        let Ok(mut shown) = self.template.lock() else {
            return;
        };
        if *shown != template
            && let Ok(style) = ProgressStyle::with_template(template)
        {
            *shown = template;
            self.bar.set_style(style);
        }
    }
}
