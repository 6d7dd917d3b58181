//! What writes the files: each source in a room of its own.
//!
//! A source checks a request's parameters before anything runs and then gives the function that
//! writes. To add one: a file here, a variant of [`Source`], a kind in `config.rs`.

mod command;
mod directory;
mod noise;

use std::error::Error as StdError;

use datastreamer::StreamWriter;

pub(crate) use self::{command::Command, directory::Directory, noise::Noise};

/// What a source's function may fail with.
pub(crate) type SourceError = Box<dyn StdError + Send + Sync>;

/// The function that writes one file.
pub(crate) type WriteStream = Box<dyn FnOnce(&mut StreamWriter) -> Result<(), SourceError> + Send>;

/// One run of a source, checked and not yet started.
pub(crate) struct Prepared {
    /// Exact length in bytes, where the source knows it.
    pub(crate) length: Option<u64>,
    pub(crate) write: WriteStream,
}

/// Where a route's bytes come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Noise(Noise),
    Directory(Directory),
    Command(Command),
}

impl Source {
    /// Checks a request's parameters; the error is for the client, and names the parameter.
    pub(crate) fn prepare(&self, query: &Query) -> Result<Prepared, String> {
        match self {
            Self::Noise(noise) => noise.prepare(query),
            Self::Directory(directory) => {
                query.allow(&[])?;
                Ok(directory.prepare())
            }
            Self::Command(command) => {
                query.allow(&[])?;
                Ok(command.prepare())
            }
        }
    }

    /// The usual suffix and media type.
    pub(crate) fn usual_form(&self) -> (&'static str, &'static str) {
        match self {
            Self::Noise(_) | Self::Command(_) => ("bin", "application/octet-stream"),
            Self::Directory(_) => ("tar", "application/x-tar"),
        }
    }

    /// Says whether the client decides the size: what others got is no hint then.
    pub(crate) fn is_as_long_as_asked(&self) -> bool {
        matches!(self, Self::Noise(_))
    }

    /// What the index says of a size that nobody has seen yet.
    pub(crate) fn size_hint(&self) -> &'static str {
        match self {
            Self::Noise(_) => "as many bytes as n asks for",
            Self::Directory(_) => "the tree, as it is when you ask",
            Self::Command(_) => "whatever the program writes",
        }
    }

    /// A query that shows what the route can do.
    pub(crate) fn example_query(&self) -> &'static str {
        match self {
            Self::Noise(_) => "?n=1e6",
            Self::Directory(_) | Self::Command(_) => "",
        }
    }
}

/// A request's parameters, decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        Self(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// Refuses every parameter that is not in the list, and doubles.
    pub(crate) fn allow(&self, names: &[&str]) -> Result<(), String> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !names.contains(&name.as_str()) {
                return Err(match names {
                    [] => format!("unknown parameter `{name}`: there are none here"),
                    _ => format!("unknown parameter `{name}`: there are {}", names.join(", ")),
                });
            }
            if self.0[..at].iter().any(|(other, _)| other == name) {
                return Err(format!("parameter `{name}` is given twice"));
            }
        }
        Ok(())
    }

    /// Reads a parameter with a parser; the error names the parameter.
    pub(crate) fn get<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let value = self.0.iter().find(|(other, _)| other == name);
        value
            .map(|(_, value)| parse(value).map_err(|error| format!("parameter `{name}`: {error}")))
            .transpose()
    }
}
