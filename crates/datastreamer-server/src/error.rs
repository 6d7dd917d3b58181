//! What ends the program: lines for the person at the terminal, an exit code for the script.

use std::{
    error::Error,
    fmt::{self, Write},
    process::ExitCode,
};

/// An error that ends the program; the variants differ in whose task it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fatal {
    /// The configuration, a path, or the address to listen on is wrong: exit code 3. A line for
    /// each error.
    Config(Vec<ConfigError>),
    /// The stream failed, and the file is incomplete: exit code 7.
    Incomplete(String),
    /// The reader of our output has closed it: the exit code of a death by SIGPIPE, without a
    /// message.
    OutputClosed,
    /// A download has no file, or one that may be less than what was asked for: an exit code of its
    /// own (`datastreamer get --help`).
    Download {
        /// The exit code.
        code: u8,
        /// What happened.
        text: String,
    },
    /// Anything else: exit code 1.
    Other(String),
}

/// One error of a configuration, a path, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// That of the file, if the error is of one.
    line: Option<usize>,
    text: String,
}

impl ConfigError {
    pub(crate) fn new(line: Option<usize>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { line, text }
    }

    /// Returns the line of the configuration file that it is about; `None` for what was set elsewhere.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<ConfigError> for Fatal {
    fn from(error: ConfigError) -> Self {
        Self::Config(vec![error])
    }
}

impl Fatal {
    /// One error of what has no line.
    pub(crate) fn config(text: impl Into<String>) -> Self {
        ConfigError::new(None, text).into()
    }

    /// The messages, one line each, without control characters: names and sources may contain
    /// anything, and nothing may steer a terminal.
    pub fn lines(&self) -> Vec<String> {
        let one_line = |text: &String| {
            let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
            shown.collect()
        };
        match self {
            Self::Config(errors) => errors.iter().map(|error| one_line(&error.text)).collect(),
            Self::Incomplete(text) | Self::Download { text, .. } | Self::Other(text) => {
                vec![one_line(text)]
            }
            Self::OutputClosed => vec!["the output was closed".into()],
        }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Config(_) => 3,
            Self::Incomplete(_) => 7,
            Self::Download { code, .. } => *code,
            Self::OutputClosed => 141,
            Self::Other(_) => 1,
        })
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines().iter().enumerate() {
            if at > 0 {
                f.write_char('\n')?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}

impl Error for Fatal {}

/// Returns an error with its causes, each said once: libraries nest them, and repeat them.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            // Infallible: it is a String.
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}
