//! Settings from the environment: `DATASTREAMER_SERVER__LISTEN` is `server.listen`.

use serde::Deserialize;
use toml::{Table, Value};

use super::raw::Raw;
use crate::error::Fatal;

/// Variables begin with this; `DATASTREAMER_SERVER__LISTEN` is `server.listen`.
const ENV_PREFIX: &str = "DATASTREAMER_";
/// What the environment may set: all but the routes.
const SETTINGS: [(&str, &[&str]); 5] = [
    ("server", &["listen", "drain"]),
    (
        "stream",
        &[
            "chunk_bytes",
            "buffer_bytes",
            "fast_buffer_bytes",
            "flush_after",
            "commit_after",
            "commit_bytes",
        ],
    ),
    (
        "limits",
        &[
            "max_active",
            "max_waiting",
            "reserve_bytes",
            "max_connections",
            "queue_timeout",
            "header_timeout",
            "idle_timeout",
            "client_stall",
            "client_min_rate",
            "source_stall",
        ],
    ),
    (
        "tables",
        &[
            "memory_bytes",
            "spill_bytes",
            "spill_folder",
            "time_limit",
            "threads",
            "length_wait",
            "spool_bytes",
            "parquet_compression",
            "votable_version",
            "html_rows",
        ],
    ),
    ("sql", &["enabled", "max_rows"]),
];
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
        let Some((section, key)) = settings().find(|(section, key)| variable(section, key) == name)
        else {
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

fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS
        .into_iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| (section, *key)))
}

fn variable(section: &str, key: &str) -> String {
    format!("{ENV_PREFIX}{section}__{key}").to_uppercase()
}

fn nearest_variable(name: &str) -> String {
    settings()
        .map(|(section, key)| variable(section, key))
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
