//! Why a download has ended without its file, as the person at the terminal reads it and as a
//! script sees it (the exit code), and whether it is worth another try. Owns no decision.

use std::time::Duration;

use url::Url;

/// The exit codes of `get` that are no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything else.
    Other = 1,
    /// The command line does not fit.
    Usage = 2,
    /// Nothing was written: a file is in the way, or a setting of the environment is wrong.
    Config = 3,
    /// 401, 403 or 407.
    Auth = 4,
    /// Any other refusal by the server.
    Refused = 5,
    /// 429 or 503, also at the last try.
    Busy = 6,
    /// The file is not complete.
    Incomplete = 7,
    /// The digest of the server is another one.
    Digest = 8,
    /// The file changed on the server, again and again.
    Changed = 9,
    /// The reader of standard output has closed it.
    OutputClosed = 141,
}

/// Whether another try may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Never,
    /// After a while.
    Later,
    /// Not before this time has passed (`Retry-After`).
    After(Duration),
}

/// One failure: an exit code, a sentence, and what to do about it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: String,
    pub(crate) again: Again,
    /// No HTTP server was reached.
    pub(crate) is_unreachable: bool,
    /// A body has ended before its file: how far the file came belongs behind the text.
    pub(crate) is_cut_off: bool,
    /// Where the server may say why it has broken a body off.
    pub(crate) receipt: Option<Box<Url>>,
}

impl Failure {
    /// A failure that every other try would meet as well.
    pub(crate) fn last(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            text: text.into(),
            again: Again::Never,
            is_unreachable: false,
            is_cut_off: false,
            receipt: None,
        }
    }

    /// A break: the file is not complete, and the next try may get further.
    pub(crate) fn broken(text: impl Into<String>) -> Self {
        Self {
            again: Again::Later,
            ..Self::last(Exit::Incomplete, text)
        }
    }

    /// A break before there was an HTTP server: what was asked for is most likely misspelled.
    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Self {
            is_unreachable: true,
            ..Self::broken(text)
        }
    }

    /// A break within a body.
    pub(crate) fn cut_off(text: impl Into<String>) -> Self {
        Self {
            is_cut_off: true,
            ..Self::broken(text)
        }
    }
}

/// Returns a text of a server as one line that cannot steer a terminal: control characters, and
/// those that change the direction of writing, are escaped.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(harmless("a\u{1b}[2Jb\r\nc"), "a\\u{1b}[2Jb\\r\\nc");
        assert_eq!(harmless("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(harmless("B\u{f6}se \"x\""), "B\u{f6}se \"x\"");
    }
}
