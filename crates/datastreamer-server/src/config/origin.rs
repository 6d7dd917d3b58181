//! Where a configuration comes from: its lines in messages, the folder of its relative paths; and where each
//! of its parts does.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use toml::de::DeTable;

use crate::error::{ConfigError, Fatal};

/// Where a part of a configuration comes from, for its errors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// That of the file, if it is from one.
    line: Option<usize>,
    /// What its errors begin with, for example `datastreamer.toml:7: routes.stars: `.
    begin: String,
}

impl Place {
    /// What is from no file.
    pub(super) fn named(name: impl fmt::Display) -> Self {
        Self {
            line: None,
            begin: format!("{name}: "),
        }
    }

    /// Makes an error of this part.
    pub(crate) fn error(&self, text: impl fmt::Display) -> ConfigError {
        ConfigError::new(self.line, format!("{}{text}", self.begin))
    }
}

/// Where a configuration comes from, for messages and relative paths.
#[derive(Default)]
pub(super) struct Origin<'a> {
    pub(super) file: String,
    pub(super) folder: PathBuf,
    pub(super) text: &'a str,
    /// What the environment has set, by section and key.
    pub(super) variables: BTreeMap<(&'static str, &'static str), String>,
}

impl Origin<'_> {
    fn line_of(&self, offset: usize) -> usize {
        self.text
            .get(..offset)
            .map_or(1, |before| before.matches('\n').count() + 1)
    }

    pub(super) fn error(&self, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(0, |span| span.start);
        self.error_at(offset, &error.message().replace('\n', " "))
    }

    /// An error of what stands at an offset.
    pub(super) fn error_at(&self, offset: usize, text: &str) -> ConfigError {
        let line = self.line_of(offset);
        ConfigError::new(Some(line), format!("{}:{line}: {text}", self.file))
    }

    /// The part of this name, which begins at an offset.
    pub(super) fn part(&self, offset: usize, name: &str) -> Place {
        let line = self.line_of(offset);
        Place {
            line: Some(line),
            begin: format!("{}:{line}: {name}: ", self.file),
        }
    }

    /// Refuses a setting, and says where it was made.
    pub(super) fn refuse(&self, section: &'static str, key: &'static str, text: &str) -> Fatal {
        let (line, setting) = self.of_setting(section, key);
        ConfigError::new(line, format!("{setting} {text}")).into()
    }

    /// The setting as a part.
    pub(super) fn setting(&self, section: &'static str, key: &'static str) -> Place {
        let (line, setting) = self.of_setting(section, key);
        Place {
            line,
            begin: format!("{setting}: "),
        }
    }

    /// Names the variable that has set something.
    pub(super) fn variable(&self, section: &'static str, key: &'static str) -> Option<&str> {
        self.variables.get(&(section, key)).map(String::as_str)
    }

    /// Names a setting and where it was made, with its line if that is the file.
    fn of_setting(&self, section: &'static str, key: &'static str) -> (Option<usize>, String) {
        let name = format!("{section}.{key}");
        if let Some(variable) = self.variable(section, key) {
            return (None, format!("{variable}: {name}"));
        }
        let line = self.line_of_setting(section, key);
        let shown = line.map(|line| format!("{}:{line}: {name}", self.file));
        (line, shown.unwrap_or(name))
    }

    fn line_of_setting(&self, section: &str, key: &str) -> Option<usize> {
        let table = DeTable::parse(self.text).ok()?;
        let section = table.get_ref().get(section)?.get_ref().as_table()?;
        let (key, _) = section.get_key_value(key)?;
        Some(self.line_of(key.span().start))
    }
}
