//! What ends the program: one line for the person at the terminal, an exit code for the script.

use std::{
    fmt::{self, Write},
    process::ExitCode,
};

/// An error of the program, by who has to act.
#[derive(Debug)]
pub(crate) enum Fatal {
    /// The configuration, a path, or the address to listen on is no good: exit code 3.
    Config(String),
    /// The stream did not end well: exit code 7.
    Incomplete(String),
    /// Who read our output has left: the exit code of a death by SIGPIPE, and no word.
    OutputClosed,
    /// Anything else: exit code 1.
    Other(String),
}

impl Fatal {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) => 3,
            Self::Incomplete(_) => 7,
            Self::OutputClosed => 141,
            Self::Other(_) => 1,
        })
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Config(text) | Self::Incomplete(text) | Self::Other(text) => text,
            Self::OutputClosed => "the output was closed",
        };
        // One line, whatever names and sources put into it; and nothing that steers a terminal.
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .try_for_each(|c| f.write_char(c))
    }
}
