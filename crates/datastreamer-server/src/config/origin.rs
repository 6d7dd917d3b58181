//! Where a configuration comes from: its lines in messages, the folder of its relative paths.

use std::{collections::BTreeMap, path::PathBuf};

use toml::de::DeTable;

use crate::error::Fatal;

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
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.text
            .get(..offset)
            .map_or(1, |before| before.matches('\n').count() + 1)
    }

    pub(super) fn error(&self, error: &toml::de::Error) -> Fatal {
        let line = error.span().map_or(1, |span| self.line_of(span.start));
        let text = error.message().replace('\n', " ");
        Fatal::config(format!("{}:{line}: {text}", self.file))
    }

    /// Refuses a setting, and says where it was made.
    pub(super) fn refuse(&self, section: &'static str, key: &'static str, text: &str) -> Fatal {
        Fatal::config(format!("{} {text}", self.of_setting(section, key)))
    }

    /// Names the variable that has set something.
    pub(super) fn variable(&self, section: &'static str, key: &'static str) -> Option<&str> {
        self.variables.get(&(section, key)).map(String::as_str)
    }

    /// Names a setting and where it was made.
    pub(super) fn of_setting(&self, section: &'static str, key: &'static str) -> String {
        match self.variable(section, key) {
            Some(variable) => format!("{variable}: {section}.{key}"),
            None => match self.line_of_setting(section, key) {
                Some(line) => format!("{}:{line}: {section}.{key}", self.file),
                None => format!("{section}.{key}"),
            },
        }
    }

    fn line_of_setting(&self, section: &str, key: &str) -> Option<usize> {
        let table = DeTable::parse(self.text).ok()?;
        let section = table.get_ref().get(section)?.get_ref().as_table()?;
        let (key, _) = section.get_key_value(key)?;
        Some(self.line_of(key.span().start))
    }
}
