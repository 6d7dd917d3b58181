//! The tables of one FITS file, among which a request chooses with `hdu`.

use datastreamer_engine::TableInfo;
use datastreamer_table::fits::{FitsHdu, TableChoice};

use super::table::Table;
use crate::{
    refusal::Refusal,
    sources::{Query, ShownTable},
};

/// The parameter that chooses: a number or an EXTNAME.
pub(crate) const HDU: &str = "hdu";

/// Which of the tables of its files a route has.
#[derive(Clone, Debug)]
pub(crate) enum Hdus {
    /// The files are not FITS: `hdu` may be a column.
    None,
    /// One of each file, which the configuration has chosen.
    Configured(String),
    /// The first of each of several files.
    First,
    /// The first of a file that cannot be read to its end, for this reason.
    Unread(String),
    /// Those of the file. The route's own table is the first one.
    All {
        hdus: Vec<FitsHdu>,
        /// Each that can be read, or why it cannot.
        tables: Vec<(usize, Result<Table, String>)>,
    },
}

/// A table that a request has chosen.
pub(crate) struct Chosen {
    /// `None`: the route's own.
    pub(crate) table: Option<Table>,
    /// What is added to the name of the file.
    pub(crate) label: Option<String>,
}

impl Hdus {
    /// Returns whether `hdu` is a parameter.
    pub(crate) fn is_chosen_from(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Takes the parameter from a query; `None` if it is not there.
    pub(crate) fn take(&self, query: &mut Query) -> Result<Option<Chosen>, Refusal> {
        if !self.is_chosen_from() {
            return Ok(None);
        }
        let asked = query.take(&[HDU]).map_err(Refusal::bad_parameter)?;
        let refuse = |text: &str| Err(Refusal::bad_parameter(format!("parameter `{HDU}`: {text}")));
        let Some(asked) = asked else {
            return Ok(None);
        };
        match self {
            Self::None => Ok(None),
            Self::Configured(hdu) if *hdu == asked => Ok(Some(Chosen {
                table: None,
                label: None,
            })),
            Self::Configured(hdu) => refuse(&format!("here is only the HDU {hdu:?}")),
            Self::First => refuse(
                "this table has several files: the setting `hdu` of its route chooses a table of each",
            ),
            Self::Unread(text) => refuse(text),
            Self::All { hdus, tables } => {
                let hdu = match FitsHdu::choose(hdus, TableChoice::parse(&asked)) {
                    Ok(hdu) => hdu,
                    Err(error) => return refuse(&error.to_string()),
                };
                let table = tables.iter().find(|(number, _)| *number == hdu.number);
                match table {
                    Some((_, Ok(table))) => Ok(Some(Chosen {
                        table: Some(table.clone()),
                        label: Some(label(hdu, hdus)),
                    })),
                    Some((_, Err(text))) => refuse(&format!("HDU {}: {text}", hdu.number)),
                    None => refuse(&format!(
                        "HDU {} is not among the first {TABLES_MAX} tables of the file: a route of \
                         its own with `hdu = {}` serves it",
                        hdu.number, hdu.number
                    )),
                }
            }
        }
    }

    /// Describes the tables for people, if there are several.
    pub(crate) fn shown(&self) -> Vec<ShownTable> {
        let Self::All { hdus, tables } = self else {
            return Vec::new();
        };
        let shown = tables.iter().filter_map(|(number, table)| {
            let hdu = hdus.iter().find(|hdu| hdu.number == *number)?;
            Some(ShownTable {
                hdu: *number,
                name: hdu.name.clone().unwrap_or_default(),
                size: match table {
                    Ok(table) => match table.info().and_then(TableInfo::rows) {
                        Some(rows) => format!("{rows} rows"),
                        None => String::new(),
                    },
                    Err(text) => text.clone(),
                },
                is_served: table.is_ok(),
            })
        });
        shown.collect()
    }

    /// Returns the tables beside the route's own.
    pub(crate) fn others(&self) -> impl Iterator<Item = (usize, &Table)> {
        let tables = match self {
            Self::All { tables, .. } => tables.as_slice(),
            Self::None | Self::Configured(_) | Self::First | Self::Unread(_) => &[],
        };
        let served = tables.iter();
        let served = served.filter_map(|(number, table)| Some((*number, table.as_ref().ok()?)));
        served.skip(1)
    }
}

/// 256 tables of a file: each is opened at the start, and a file with more is a list of tables.
pub(crate) const TABLES_MAX: usize = 256;

/// What distinguishes the file of a table from those of others: its name if it is one of a file, and
/// no other table's.
fn label(hdu: &FitsHdu, hdus: &[FitsHdu]) -> String {
    let is_plain = |name: &&String| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        name.chars().all(good) && !name.starts_with('.')
    };
    let is_sole = |name: &&String| {
        let same = |other: &&FitsHdu| {
            let own = other.name.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        hdus.iter().filter(same).count() == 1
    };
    let name = hdu.name.as_ref().filter(is_plain).filter(is_sole);
    match name {
        // Digits alone would be the number of another one.
        Some(name) if name.bytes().any(|byte| !byte.is_ascii_digit()) => name.clone(),
        _ => format!("hdu{}", hdu.number),
    }
}
