//! Settings from the environment: `DATASTREAMER_SERVER__LISTEN` is `server.listen`.

use serde::Deserialize;
use toml::{Table, Value};

use super::{
    raw::Raw,
    reference::{ENV_PREFIX, sections},
};
use crate::error::Fatal;

/// Variables of others: the command line's (see `cli.rs`) and, behind them, the test suite's.
const NO_SETTINGS: [&str; 6] = [
    "DATASTREAMER_CONFIG",
    "DATASTREAMER_LOG_FORMAT",
    "DATASTREAMER_ABORT_REPORT",
    "DATASTREAMER_ABORT_ROUNDS",
    "DATASTREAMER_ABORT_SEED",
    "DATASTREAMER_TEST_BINARY",
];

/// A setting in the environment: `DATASTREAMER_LIMITS__MAX_ACTIVE=8`.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    value: Value,
}

impl Variable {
    pub(super) fn lay_over(&self, table: &mut Table) {
        let section = table
            .entry(self.section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.insert(self.key.into(), self.value.clone());
        }
    }
}

pub(super) fn read_environment() -> Result<Vec<Variable>, Fatal> {
    let settings = settings();
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with(ENV_PREFIX) || NO_SETTINGS.contains(&name.as_str()) {
            continue;
        }
        let wrong = |text: &str| Fatal::config(format!("{name}: {text}"));
        if name.starts_with(&format!("{ENV_PREFIX}ROUTES")) {
            return Err(wrong("routes are only read from a file"));
        }
        let found = settings.iter().find(|(_, _, variable)| *variable == name);
        let Some((section, key, _)) = found else {
            let nearest = nearest_variable(&name);
            return Err(wrong(&format!("no such setting; did you mean {nearest}?")));
        };
        let value = value
            .into_string()
            .map_err(|_| wrong("the value is no UTF-8"))?;
        let variable = Variable {
            section,
            key,
            value: environment_value(&value),
            name: name.clone(),
        };
        // Alone, for an error that is its own.
        let mut alone = Table::new();
        variable.lay_over(&mut alone);
        Raw::deserialize(alone).map_err(|error| wrong(error.message()))?;
        variables.push(variable);
    }
    Ok(variables)
}

/// The settings with a variable: section, key, and its name.
fn settings() -> Vec<(&'static str, &'static str, String)> {
    let mut settings = Vec::new();
    for section in sections() {
        for setting in &section.settings {
            if let Some(variable) = section.variable(setting.key) {
                settings.push((section.name, setting.key, variable));
            }
        }
    }
    settings
}

fn nearest_variable(name: &str) -> String {
    settings()
        .into_iter()
        .map(|(_, _, variable)| variable)
        .chain(NO_SETTINGS[..2].iter().map(ToString::to_string))
        .min_by_key(|known| strsim::osa_distance(known, name))
        .unwrap_or_default()
}

/// Numbers and booleans as such, all else as text.
fn environment_value(text: &str) -> Value {
    match (text.parse::<i64>(), text.parse::<bool>()) {
        (Ok(number), _) => Value::Integer(number),
        (_, Ok(truth)) => Value::Boolean(truth),
        _ => Value::String(text.to_owned()),
    }
}
