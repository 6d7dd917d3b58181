//! `datastreamer check`: opens what a configuration names, and reads the rows of its tables.

use std::io::{self, Write};

use super::{Check, waiting::waiting_line};
use crate::{
    config, config::Checked, config::Config, error::Fatal, http::spool, print_with, site::Site,
};

/// Reports the errors of settings and those of routes together: of what is left without the settings
/// that have errors, the routes are checked too.
pub(crate) fn run(check: &Check) -> Result<(), Fatal> {
    let Checked { config, mut errors } = Config::check_all(&check.file)?;
    let Some(mut config) = config else {
        return Err(Fatal::Config(errors));
    };
    config.tables.lift_time_limit();
    errors.extend(spool::check(&config.spool).err());
    let waiting = waiting_line("reading the columns of tables", false);
    let report = |text: &str| waiting.set_message(text.to_owned());
    let site = Site::build_with(&config, &report);
    waiting.finish_and_clear();
    match site.and_then(|site| read(check, &site).map(|()| site)) {
        Ok(site) if errors.is_empty() => print_with(|out| say_good(out, check, &site)),
        Ok(_) => Err(Fatal::Config(errors)),
        Err(Fatal::Config(more)) => {
            errors.extend(more);
            Err(Fatal::Config(errors))
        }
        Err(other) if errors.is_empty() => Err(other),
        Err(_) => Err(Fatal::Config(errors)),
    }
}

/// Reads the rows of tables, unless only their columns are to be read.
fn read(check: &Check, site: &Site) -> Result<(), Fatal> {
    #[cfg(feature = "tables")]
    if !check.quick {
        rows::read(site)?;
    }
    Ok(())
}

fn say_good(out: &mut Vec<u8>, check: &Check, site: &Site) -> io::Result<()> {
    writeln!(out, "{} is good", check.file.display())?;
    writeln!(out, "listen {}", config::show(&site.config.listen))?;
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

    use crate::{
        cli::waiting::waiting_line,
        error::Fatal,
        site::Site,
        sources::{Source, rows::RowSource},
    };

    /// Reads all rows of the tables whose rows were not read for their columns.
    pub(super) fn read(site: &Site) -> Result<(), Fatal> {
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
                let mut routes = site.config.routes.iter();
                let config = routes.find(|config| config.name == route.name());
                let origin = config.map_or("", |config| &config.origin);
                errors.push(format!("{origin}{text}"));
            }
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(Fatal::Config(errors)),
        }
    }
}
