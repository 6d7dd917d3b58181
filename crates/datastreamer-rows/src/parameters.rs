//! The parameters of a query: declared with a type and a range, given as text, bound as values.
//!
//! A [`Parameter`] is what somebody declared; [`Parameters`] are declarations that were checked
//! once; [`Bound`] is one value for each, from what a client gave. Values never become part of a
//! query's text: see [`check_names`] and [`PositionalQuery`] for how a text names them.
//!
//! This module does not own where declarations and values come from, nor what runs the query.

mod error;
mod named;
mod value;

use std::collections::HashSet;

pub use error::{ParameterError, TextPosition};
pub use named::{PositionalQuery, check_names, placeholders};
pub use value::{ParameterKind, Value};

/// A parameter as it is declared. [`Parameters::new`] checks whether it makes sense.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// A letter or `_`, then letters, digits and `_`, all ASCII.
    pub name: String,
    /// What its values are.
    pub kind: ParameterKind,
    /// The value where none is given; without one it must be given.
    pub default: Option<Value>,
    /// The least value. Not for booleans and text.
    pub minimum: Option<Value>,
    /// The greatest value. Not for booleans and text.
    pub maximum: Option<Value>,
    /// The longest text, in characters. Only for text; [`DEFAULT_MAX_CHARACTERS`] if absent.
    pub max_characters: Option<usize>,
    /// What it is, for people.
    pub description: String,
}

/// The longest text of a parameter that says nothing about it: longer than any name or label, and
/// short enough to be repeated in an error.
pub const DEFAULT_MAX_CHARACTERS: usize = 1000;

impl Parameter {
    /// Returns a parameter that has neither default nor range.
    pub fn new(name: impl Into<String>, kind: ParameterKind) -> Self {
        Self {
            name: name.into(),
            kind,
            default: None,
            minimum: None,
            maximum: None,
            max_characters: None,
            description: String::new(),
        }
    }

    /// Checks that the declaration is consistent.
    fn check(&self) -> Result<(), ParameterError> {
        if !is_name(&self.name) {
            return Err(self.declared(
                "a name is a letter or _, then letters, digits and _, all ASCII".to_owned(),
            ));
        }
        let is_ordered = !matches!(self.kind, ParameterKind::Bool | ParameterKind::Text);
        if !is_ordered && (self.minimum.is_some() || self.maximum.is_some()) {
            return Err(self.declared(format!("the kind {} has no range", self.kind.name())));
        }
        if self.kind != ParameterKind::Text && self.max_characters.is_some() {
            return Err(self.declared(format!("the kind {} has no length", self.kind.name())));
        }
        let values = [
            ("minimum", &self.minimum),
            ("maximum", &self.maximum),
            ("default", &self.default),
        ];
        for (what, value) in values {
            let Some(value) = value else { continue };
            if value.kind() != self.kind {
                let (is, wanted) = (value.kind().name(), self.kind.name());
                return Err(self.declared(format!("its {what} is of kind {is}, not {wanted}")));
            }
            if matches!(value, Value::Float(number) if !number.is_finite()) {
                return Err(self.declared(format!("its {what} is not a finite number")));
            }
        }
        if let (Some(minimum), Some(maximum)) = (&self.minimum, &self.maximum)
            && minimum > maximum
        {
            return Err(self.declared(format!("its range is empty: {minimum} to {maximum}")));
        }
        if let Some(default) = &self.default {
            self.check_range(default)
                .map_err(|problem| self.declared(format!("its default: {problem}")))?;
        }
        Ok(())
    }

    /// Reads what was given.
    fn read(&self, given: &str) -> Result<Value, ParameterError> {
        self.kind
            .parse(given)
            .and_then(|value| self.check_range(&value).map(|()| value))
            .map_err(|problem| ParameterError::Value {
                name: self.name.clone(),
                problem,
            })
    }

    /// Says what is wrong with a value of the right kind.
    fn check_range(&self, value: &Value) -> Result<(), String> {
        if let Value::Text(text) = value {
            let longest = self.max_characters.unwrap_or(DEFAULT_MAX_CHARACTERS);
            let characters = text.chars().count();
            return if characters > longest {
                Err(format!(
                    "at most {longest} characters are allowed, and {characters} were given"
                ))
            } else {
                Ok(())
            };
        }
        let below = self.minimum.as_ref().is_some_and(|least| value < least);
        let above = self.maximum.as_ref().is_some_and(|most| value > most);
        if !below && !above {
            return Ok(());
        }
        let range = match (&self.minimum, &self.maximum) {
            (Some(minimum), Some(maximum)) => format!("{minimum} to {maximum}"),
            (Some(minimum), None) => format!("at least {minimum}"),
            (None, Some(maximum)) => format!("at most {maximum}"),
            (None, None) => return Ok(()),
        };
        Err(format!("{value} is out of range: {range}"))
    }

    fn declared(&self, problem: String) -> ParameterError {
        ParameterError::Declared {
            name: self.name.clone(),
            problem,
        }
    }
}

fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The parameters of one query, checked.
///
/// ```
/// use datastreamer_rows::parameters::{Parameter, ParameterKind, Parameters, Value};
///
/// let mut brightest = Parameter::new("brightest", ParameterKind::Float);
/// brightest.minimum = Some(Value::Float(-2.0));
/// brightest.default = Some(Value::Float(10.0));
/// let parameters = Parameters::new(vec![brightest])?;
///
/// let bound = parameters.bind([("brightest", "12.5")])?;
/// assert_eq!(bound.get("brightest"), Some(&Value::Float(12.5)));
/// let error = parameters.bind([("brightest", "-3")]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "parameter brightest: -3 is out of range: at least -2"
/// );
/// # Ok::<(), datastreamer_rows::parameters::ParameterError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters {
    declared: Vec<Parameter>,
}

impl Parameters {
    /// Checks declarations.
    ///
    /// # Errors
    /// [`ParameterError::Declared`] for a name that is none or is there twice, for values of
    /// another kind than the parameter's, an empty range, a default outside it.
    pub fn new(declared: Vec<Parameter>) -> Result<Self, ParameterError> {
        let mut names = HashSet::new();
        for parameter in &declared {
            parameter.check()?;
            if !names.insert(parameter.name.as_str()) {
                return Err(parameter.declared("it is declared twice".to_owned()));
            }
        }
        Ok(Self { declared })
    }

    /// Returns the declarations, in their order.
    pub fn declared(&self) -> &[Parameter] {
        &self.declared
    }

    /// Returns the place of a parameter in the order of declaration.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.declared
            .iter()
            .position(|parameter| parameter.name == name)
    }

    /// Reads what was given, as pairs of name and text, and fills up with defaults.
    ///
    /// Texts are read strictly: `true`, `false`, `1`, `0`; whole numbers of 64 bits; finite
    /// numbers; `2026-11-25`; `2026-11-25T13:14:15.123456` with an optional fraction and an
    /// optional `Z` or offset from UTC (`+01:00`, `+0100`, `+01`), or a date for its midnight (DALI
    /// 1.1, 3.1.2), of the years 1 to 9999. A time with an offset becomes that in UTC.
    ///
    /// # Errors
    /// For a name that is not declared or was given twice, a parameter that was not given and has
    /// no default, a text that is no value, a value out of range. All are the giver's fault.
    pub fn bind<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Bound, ParameterError> {
        let mut values: Vec<Option<Value>> = vec![None; self.declared.len()];
        for (name, text) in given {
            let found = self.declared.iter().zip(&mut values);
            let Some((parameter, value)) = found.into_iter().find(|(p, _)| p.name == name) else {
                return Err(self.unknown(name));
            };
            if value.is_some() {
                return Err(ParameterError::Doubled {
                    name: parameter.name.clone(),
                });
            }
            *value = Some(parameter.read(text)?);
        }
        let values = self.declared.iter().zip(values);
        let values = values.map(|(parameter, value)| {
            let value = value.or_else(|| parameter.default.clone());
            let value = value.ok_or_else(|| ParameterError::Missing {
                name: parameter.name.clone(),
                expected: parameter.kind.expected(),
            })?;
            Ok((parameter.name.clone(), value))
        });
        Ok(Bound {
            values: values.collect::<Result<_, _>>()?,
        })
    }

    /// Gives some value of its kind to each: for a plan that is made to see whether one can be.
    pub fn probe(&self) -> Bound {
        let value = |parameter: &Parameter| {
            let known = [&parameter.default, &parameter.minimum, &parameter.maximum];
            let known = known.into_iter().flatten().next().cloned();
            known.unwrap_or_else(|| parameter.kind.some_value())
        };
        let values = self.declared.iter();
        Bound {
            values: values
                .map(|parameter| (parameter.name.clone(), value(parameter)))
                .collect(),
        }
    }

    fn unknown(&self, name: &str) -> ParameterError {
        let names = self.declared.iter().map(|parameter| parameter.name.clone());
        ParameterError::Unknown {
            name: value::quoted(name),
            declared: names.collect(),
        }
    }
}

/// One value for each declared parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bound {
    values: Vec<(String, Value)>,
}

impl Bound {
    /// Returns the value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Iterates over names and values in the order of declaration.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }
}
