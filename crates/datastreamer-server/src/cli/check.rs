//! `datastreamer check`: opens what a configuration names, reads the rows of its tables and, if that is
//! wanted, connects to its databases.

use std::io::{self, Write};

use super::{Check, waiting::waiting_line};
use crate::{
    config, config::Checked, config::Config, config::Place, error::ConfigError, error::Fatal,
    http::spool, print_with, site::Site, site::routes::Route,
};

/// Reports the errors of settings and those of routes together: of what is left without the settings
/// that have errors, the routes are checked too.
pub(crate) fn run(check: &Check) -> Result<(), Fatal> {
    let Checked { config, mut errors } = Config::check_all(&check.file)?;
    let Some(mut config) = config else {
        return Err(Fatal::Config(errors));
    };
    config.tables.lift_time_limit();
    let spool = spool::check(&config.spool);
    errors.extend(spool.err().map(|text| ConfigError::new(None, text)));
    let waiting = waiting_line("reading the columns of tables", false);
    let report = |text: &str| waiting.set_message(text.to_owned());
    let (site, more) = Site::build_all(&config, &report);
    waiting.finish_and_clear();
    errors.extend(more);
    let said = look(check, &site, &mut errors);
    if errors.is_empty() {
        return print_with(|out| say_good(out, check, &site, &said));
    }
    // Those of the environment have no line, and come first.
    errors.sort_by_key(ConfigError::line);
    Err(Fatal::Config(errors))
}

/// Reads the rows of tables, unless only their columns are to be read, and asks the databases, if they
/// are to be asked. Returns what there is to say of them, and notes their errors.
fn look(check: &Check, site: &Site, errors: &mut Vec<ConfigError>) -> Vec<String> {
    let mut said = Vec::new();
    #[cfg(feature = "tables")]
    {
        if !check.quick {
            errors.extend(rows::read(site));
        }
        if check.connect {
            databases::ask(site, &mut said, errors);
        }
    }
    #[cfg(not(feature = "tables"))]
    let _none_to_read = (check, site, errors, &mut said);
    said
}

/// Makes an error of a route.
fn error_of(site: &Site, route: &Route, text: &str) -> ConfigError {
    let mut routes = site.config.routes.iter();
    let config = routes.find(|config| config.name == route.name());
    let nowhere = Place::default();
    config.map_or(&nowhere, |config| &config.origin).error(text)
}

fn say_good(out: &mut Vec<u8>, check: &Check, site: &Site, said: &[String]) -> io::Result<()> {
    writeln!(out, "{} is good", check.file.display())?;
    writeln!(out, "listen {}", config::show(&site.config.listen))?;
    for line in said {
        writeln!(out, "{line}")?;
    }
    for (_, route) in site.routes.iter() {
        let forms = route.other_suffixes();
        writeln!(out, "/{}{forms} ({})", route.url_part(), route.media_type())?;
    }
    Ok(())
}

#[cfg(feature = "tables")]
mod rows {
    use datastreamer_engine::TableInfo;
    use indicatif::HumanCount;

    use super::error_of;
    use crate::{
        cli::waiting::waiting_line,
        error::ConfigError,
        site::Site,
        sources::{Source, rows::RowSource},
    };

    /// Reads all rows of the tables whose rows were not read for their columns. Returns the errors.
    pub(super) fn read(site: &Site) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for (_, route) in site.routes.iter() {
            let Source::Rows(rows) = &route.source else {
                continue;
            };
            let RowSource::Table(table) = &rows.source else {
                continue;
            };
            if table.info().is_some_and(TableInfo::is_checked) {
                continue;
            }
            let waiting = waiting_line(&format!("reading {}", route.name()), false);
            let mut count = 0;
            let mut report = |rows: usize| {
                count += rows as u64;
                waiting.set_message(format!(
                    "reading {}, {} rows",
                    route.name(),
                    HumanCount(count)
                ));
            };
            let done = table.read_all(&mut report).and_then(|()| {
                let mut others = table.hdus().others();
                others.try_for_each(|(hdu, table)| {
                    let read = table.read_all(&mut report);
                    read.map_err(|text| format!("HDU {hdu}: {text}"))
                })
            });
            waiting.finish_and_clear();
            if let Err(text) = done {
                errors.push(error_of(site, route, &text));
            }
        }
        errors
    }
}

#[cfg(feature = "tables")]
mod databases {
    use super::error_of;
    use crate::{
        cli::waiting::waiting_line,
        error::ConfigError,
        site::Site,
        sources::{Source, rows::RowSource},
    };

    /// Connects to each database, and lets it plan the queries of its routes. One that cannot be reached
    /// is not asked about them.
    pub(super) fn ask(site: &Site, said: &mut Vec<String>, errors: &mut Vec<ConfigError>) {
        let waiting = waiting_line("connecting to databases", false);
        for (name, connected) in site.connect() {
            if let Err(text) = connected {
                let config = site.config.tables.databases.get(name);
                errors.extend(config.map(|config| config.origin.error(text)));
                continue;
            }
            let mut good = 0;
            for (_, route) in site.routes.iter() {
                let Source::Rows(rows) = &route.source else {
                    continue;
                };
                let RowSource::Postgres(query) = &rows.source else {
                    continue;
                };
                if query.database() != name {
                    continue;
                }
                waiting.set_message(format!("preparing {}", route.name()));
                match query.check() {
                    Ok(()) => good += 1,
                    Err(text) => errors.push(error_of(site, route, &text)),
                }
            }
            let queries = match good {
                1 => "1 query".to_owned(),
                many => format!("{many} queries"),
            };
            said.push(format!("database {name}: connected, {queries} planned"));
        }
        waiting.finish_and_clear();
    }
}
