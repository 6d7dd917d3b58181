//! Settings from the environment: `DATASTREAMER_SERVER__LISTEN` is `server.listen`.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::reference::{ENV_PREFIX, ValueType, sections};
use crate::error::ConfigError;

/// Names the configuration file; also the flag `--config`.
pub(crate) const CONFIG_VARIABLE: &str = "DATASTREAMER_CONFIG";
/// How log lines look; also the flag `--log-format`.
pub(crate) const LOG_FORMAT_VARIABLE: &str = "DATASTREAMER_LOG_FORMAT";
/// The variables of flags, which are no settings.
const OF_FLAGS: [&str; 2] = [CONFIG_VARIABLE, LOG_FORMAT_VARIABLE];
/// Between section and key.
const SEPARATOR: &str = "__";
/// Names that differ from a known one by at most this many letters are taken for a mistake.
const MISTAKES_MAX: usize = 3;

/// What the environment says.
#[derive(Default)]
pub(super) struct Environment {
    pub(super) variables: Vec<Variable>,
    pub(super) errors: Vec<ConfigError>,
    /// Variables that are no settings, but may be meant for others.
    foreign: Vec<String>,
}

/// A setting in the environment: `DATASTREAMER_LIMITS__MAX_ACTIVE=8`.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    value: ValueType,
    text: String,
}

impl Environment {
    pub(super) fn read() -> Self {
        let known = settings();
        let mut environment = Self::default();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with(ENV_PREFIX) || OF_FLAGS.contains(&name.as_str()) {
                continue;
            }
            let found = known.iter().find(|(_, _, _, variable)| *variable == name);
            match (found, value.into_string()) {
                (Some((section, key, value, _)), Ok(text)) => {
                    environment.variables.push(Variable {
                        name,
                        section,
                        key,
                        value: value.clone(),
                        text,
                    });
                }
                (Some(_), Err(_)) => {
                    let text = format!("{name}: the value is not UTF-8");
                    environment.errors.push(ConfigError::new(None, text));
                }
                (None, _) if name.contains(SEPARATOR) => {
                    let error = ConfigError::new(None, no_such_setting(&name));
                    environment.errors.push(error);
                }
                // Kubernetes, for one, sets DATASTREAMER_PORT beside a service of this name.
                (None, _) => environment.foreign.push(match nearest(&name) {
                    Some(nearest) => format!("{name} (did you mean {nearest}?)"),
                    None => name,
                }),
            }
        }
        environment
    }

    /// Logs which variables are ignored.
    pub(super) fn warn(&self) {
        if !self.foreign.is_empty() {
            let variables = self.foreign.join(", ");
            tracing::warn!("environment variables that are no settings are ignored: {variables}");
        }
    }
}

impl Variable {
    /// Sets it in a document.
    pub(super) fn lay_over<'a>(&'a self, document: &mut DeTable<'a>) {
        let in_environment = 0..0;
        if !document.contains_key(self.section) {
            let table = Spanned::new(in_environment.clone(), DeValue::Table(DeTable::new()));
            document.insert(
                Spanned::new(in_environment.clone(), self.section.into()),
                table,
            );
        }
        let section = document.get_mut(self.section).map(Spanned::get_mut);
        if let Some(DeValue::Table(section)) = section {
            let key = Spanned::new(in_environment.clone(), self.key.into());
            section.insert(key, Spanned::new(in_environment, self.to_value()));
        }
    }

    /// Numbers, booleans and lists as such where they are wanted, all else as text.
    fn to_value(&self) -> DeValue<'_> {
        let is_bare = matches!(
            self.value,
            ValueType::Integer(_) | ValueType::Flag | ValueType::Networks | ValueType::Origins
        );
        let bare = is_bare.then(|| DeValue::parse(&self.text).ok()).flatten();
        bare.map_or_else(
            || DeValue::String(self.text.as_str().into()),
            Spanned::into_inner,
        )
    }
}

/// The settings with a variable: section, key, type and the variable's name.
fn settings() -> Vec<(&'static str, &'static str, ValueType, String)> {
    let mut settings = Vec::new();
    for section in sections() {
        for setting in &section.settings {
            if let Some(variable) = section.variable(setting.key) {
                settings.push((section.name, setting.key, setting.value.clone(), variable));
            }
        }
    }
    settings
}

fn no_such_setting(name: &str) -> String {
    for table in ["ROUTES", "DATABASES"] {
        if name.starts_with(&format!("{ENV_PREFIX}{table}{SEPARATOR}")) {
            return format!("{name}: {} are only read from a file", table.to_lowercase());
        }
    }
    let known = settings().into_iter().map(|(_, _, _, variable)| variable);
    let nearest = known.min_by_key(|known| strsim::osa_distance(known, name));
    let nearest = nearest.unwrap_or_default();
    format!("{name}: no such setting; did you mean {nearest}?")
}

/// Finds the variable that a name without a section may be meant for.
fn nearest(name: &str) -> Option<String> {
    let settings = settings().into_iter().map(|(_, _, _, variable)| variable);
    let mut known = settings.chain(OF_FLAGS.map(ToOwned::to_owned));
    known.find(|known| {
        strsim::osa_distance(known, name) <= MISTAKES_MAX || name.starts_with(known.as_str())
    })
}
