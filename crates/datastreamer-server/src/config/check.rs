//! Compares a configuration with the reference: unknown and missing keys, wrong types, values out
//! of range.
//!
//! It runs before serde reads the file, which stops at the first error and names Rust's types.

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue, ValueDeserializer},
};

use super::{
    cors::Cors,
    network::Network,
    origin::Origin,
    raw::{Kind, RawKeep, RawMetadata, RawTexts, RawValue},
    reference::{ROUTES, Section, Setting, ValueType, is_left_out, sections},
    tables::{TYPE, check_type},
};
use crate::{
    error::ConfigError,
    units::{ByteSize, Span},
};

/// Returns all errors, in the order of the file. Takes out of the document what has an
/// error (a section, a route, a database; of unknown keys only these), so that the rest can be checked
/// further.
pub(super) fn check(document: &mut DeTable<'_>, origin: &Origin<'_>) -> Vec<ConfigError> {
    let mut checker = Checker {
        sections: &sections(),
        origin,
        errors: Vec::new(),
        unknown_keys: 0,
    };
    retain(document, |key, value| checker.is_good_top(key, value));
    checker.errors.sort_by_key(ConfigError::line);
    checker.errors
}

struct Checker<'a> {
    sections: &'a [Section],
    origin: &'a Origin<'a>,
    /// Those of the environment have no lines, and come first.
    errors: Vec<ConfigError>,
    /// How many of them are those of keys that were taken out of their tables.
    unknown_keys: usize,
}

impl<'a> Checker<'a> {
    /// Checks a key of the document itself and all below it.
    fn is_good_top(
        &mut self,
        key: &Spanned<DeString<'_>>,
        value: &mut Spanned<DeValue<'_>>,
    ) -> bool {
        let before = self.errors_left();
        let (name, start) = (key.get_ref().as_ref(), key.span().start);
        if is_left_out(name) {
            return true;
        }
        if let Some(section) = self.find(name) {
            self.check_section(section, name, start, value);
            return self.errors_left() == before;
        }
        let Some(section) = self.find(&format!("{name}.NAME")) else {
            let text = format!("unknown key `{name}`; allowed are {}", self.top_keys());
            self.push(start, &text);
            return false;
        };
        let DeValue::Table(tables) = value.get_mut() else {
            self.push(
                start,
                &format!("{name} must be tables: write [{name}.NAME]"),
            );
            return false;
        };
        retain(tables, |key, value| {
            let before = self.errors_left();
            let path = format!("{name}.{}", key.get_ref());
            self.check_section(section, &path, value.span().start, value);
            self.errors_left() == before
        });
        true
    }

    /// Counts the errors of what is still in the document.
    fn errors_left(&self) -> usize {
        self.errors.len() - self.unknown_keys
    }

    /// Checks all keys of a table, and takes unknown ones out of it; `start` is where it is in the file.
    fn check_section(
        &mut self,
        section: &Section,
        path: &str,
        start: usize,
        value: &mut Spanned<DeValue<'_>>,
    ) {
        let DeValue::Table(table) = value.get_mut() else {
            let text = format!("{path} must be a table: write [{path}]");
            return self.push(start, &text);
        };
        let kind = table.get("kind").and_then(|kind| kind.get_ref().as_str());
        let kind = kind.and_then(Kind::from_name);
        retain(table, |key, value| {
            let (name, start) = (key.get_ref().as_ref(), key.span().start);
            let found = section.find(name);
            match found {
                None => {
                    let keys: Vec<_> = section.settings.iter().map(|it| it.key).collect();
                    let keys = keys.join(", ");
                    let text = format!("{path}: unknown key `{name}`; allowed are {keys}");
                    self.push(start, &text);
                    self.unknown_keys += 1;
                }
                Some(setting) => match kind.filter(|kind| is_of_another(setting, *kind)) {
                    Some(_) => {
                        let kinds = setting.kinds.iter();
                        let kinds: Vec<_> =
                            kinds.map(|kind| format!("\"{}\"", kind.name())).collect();
                        let text = format!("{path}: `{name}` belongs to kind {}", kinds.join(", "));
                        self.push(start, &text);
                    }
                    None => self.check_setting(section, setting, path, start, value),
                },
            }
            found.is_some()
        });
        for setting in &section.settings {
            let is_asked = match section.name {
                ROUTES => {
                    setting.key == "kind" || kind.is_some_and(|it| setting.kinds.contains(&it))
                }
                _ => true,
            };
            if setting.is_required() && is_asked && !table.contains_key(setting.key) {
                let text = format!(
                    "{path}: `{}` is missing; it must be {}",
                    setting.key,
                    setting.value.allowed()
                );
                self.push(start, &text);
            }
        }
    }

    fn check_setting(
        &mut self,
        section: &Section,
        setting: &Setting,
        path: &str,
        start: usize,
        value: &mut Spanned<DeValue<'_>>,
    ) {
        let name = format!("{path}.{}", setting.key);
        if let (ValueType::Tables(section), DeValue::Array(tables)) =
            (&setting.value, value.get_mut())
        {
            let Some(section) = self.find(section) else {
                return;
            };
            for table in tables.iter_mut() {
                self.check_section(section, &name, table.span().start, table);
            }
            return;
        }
        if is_allowed(&setting.value, value) {
            if setting.value == ValueType::Metadata {
                self.check_types(&name, value);
            }
            return;
        }
        let text = format!(
            "{name} must be {}; it is {}",
            setting.value.allowed(),
            show_wrong(&setting.value, value.get_ref())
        );
        match self.origin.variable(section.name, setting.key) {
            Some(variable) => {
                let error = ConfigError::new(None, format!("{variable}: {text}"));
                self.errors.push(error);
            }
            None => self.push(start, &text),
        }
    }

    /// Checks the types of columns.
    fn check_types(&mut self, name: &str, columns: &Spanned<DeValue<'_>>) {
        for (column, metadata) in columns.get_ref().as_table().into_iter().flatten() {
            let table = metadata.get_ref().as_table();
            let Some((key, value)) = table.and_then(|table| table.get_key_value(TYPE)) else {
                continue;
            };
            let checked = value.get_ref().as_str().map_or(Ok(()), check_type);
            if let Err(text) = checked {
                let text = format!("{name}.{}: {text}", column.get_ref());
                self.push(key.span().start, &text);
            }
        }
    }

    fn find(&self, name: &str) -> Option<&'a Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    fn top_keys(&self) -> String {
        let names = self.sections.iter().map(|section| section.name);
        let mut names: Vec<_> = names.flat_map(|name| name.split('.').next()).collect();
        names.dedup();
        names.join(", ")
    }

    fn push(&mut self, start: usize, text: &str) {
        self.errors.push(self.origin.error_at(start, text));
    }
}

fn is_of_another(setting: &Setting, kind: Kind) -> bool {
    !setting.kinds.is_empty() && !setting.kinds.contains(&kind)
}

/// Removes the entries that are not good.
fn retain<'de>(
    table: &mut DeTable<'de>,
    mut is_good: impl FnMut(&Spanned<DeString<'de>>, &mut Spanned<DeValue<'de>>) -> bool,
) {
    let mut bad = Vec::new();
    for (key, value) in table.iter_mut() {
        if !is_good(key, value) {
            bad.push(key.get_ref().to_string());
        }
    }
    for key in bad {
        table.remove(key.as_str());
    }
}

/// Says whether serde can read a value, and whether it is in range.
fn is_allowed(wanted: &ValueType, value: &Spanned<DeValue<'_>>) -> bool {
    match wanted {
        ValueType::Address => matches!(value.get_ref(), DeValue::String(_) | DeValue::Integer(_)),
        ValueType::Size(range) => {
            read::<ByteSize>(value).is_some_and(|size| range.contains(&size.0))
        }
        ValueType::Rate => read::<ByteSize>(value).is_some(),
        ValueType::Duration | ValueType::DurationOrNever => read::<Span>(value).is_some(),
        ValueType::Keep => read::<RawKeep>(value).is_some(),
        ValueType::PositiveDuration => read::<Span>(value).is_some_and(|span| !span.0.is_zero()),
        ValueType::Integer(range) => {
            read::<u64>(value).is_some_and(|number| range.contains(&number))
        }
        ValueType::Flag => read::<bool>(value).is_some(),
        ValueType::Text | ValueType::Path => read::<String>(value).is_some(),
        ValueType::OneOf(choices) => {
            read::<String>(value).is_some_and(|text| choices.contains(&text.as_str()))
        }
        ValueType::Texts => read::<Vec<String>>(value).is_some(),
        ValueType::Networks => read::<RawTexts>(value)
            .is_some_and(|texts| texts.iter().all(|text| Network::parse(text).is_ok())),
        ValueType::Origins => {
            read::<RawTexts>(value).is_some_and(|texts| texts.iter().all(Cors::is_origin))
        }
        ValueType::Scalar => read::<RawValue>(value).is_some(),
        ValueType::Hdu => matches!(
            read(value),
            Some(RawValue::Integer(0..) | RawValue::Text(_))
        ),
        // A list is checked table by table.
        ValueType::Tables(_) => false,
        ValueType::Metadata => read::<RawMetadata>(value).is_some(),
    }
}

fn read<'de, T: Deserialize<'de>>(value: &Spanned<DeValue<'de>>) -> Option<T> {
    T::deserialize(ValueDeserializer::from(value.clone())).ok()
}

/// Shows a value that is not allowed in an error; of a list the first element that is none.
fn show_wrong(wanted: &ValueType, value: &DeValue<'_>) -> String {
    let DeValue::Array(elements) = value else {
        return show(value);
    };
    let is_wrong = |element: &DeValue<'_>| match (wanted, element) {
        (ValueType::Networks, DeValue::String(text)) => Network::parse(text).is_err(),
        (ValueType::Origins, DeValue::String(text)) => !Cors::is_origin(text),
        (ValueType::Texts, DeValue::String(_)) => false,
        (wanted, _) => matches!(
            wanted,
            ValueType::Networks | ValueType::Origins | ValueType::Texts
        ),
    };
    let mut elements = elements.iter().map(|element| element.get_ref());
    match elements.find(|element| is_wrong(element)) {
        Some(element) => format!("a list with {}", show(element)),
        None => show(value),
    }
}

/// Shows a value in an error.
fn show(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}
