//! What is served: routes, their sources, the engine and the databases behind them.
//!
//! Built from a [`Config`], checked, and immutable from then on. The server holds the current one
//! behind one swap point; a request keeps its own until its stream has ended.

#[cfg(feature = "tables")]
mod databases;
pub(crate) mod routes;
#[cfg(feature = "tables")]
mod tables;

#[cfg(not(feature = "tables"))]
#[path = "site/no_tables.rs"]
mod tables;

use std::{
    collections::BTreeSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
};

use self::tables::{Kept, Tables};
use crate::{
    config::names,
    config::{Config, Keep, Place, Precedence, RouteConfig, SourceConfig},
    error::{ConfigError, Fatal},
    site::routes::{Route, RouteTable},
    sources::{Command, Directory, File, Noise, Source},
};

/// Takes a text for people on what a start waits for.
pub(crate) type Report<'a> = dyn Fn(&str) + 'a;

/// The complete set of what is served.
///
/// Dropping it ends the engine and the connections to databases, without waiting. So whoever runs
/// a stream of a site keeps the site until the stream has ended.
pub struct Site {
    pub(crate) config: Config,
    pub(crate) routes: RouteTable,
    /// What the sources need for as long as they run.
    kept: Kept,
}

impl Site {
    /// Opens everything that a configuration names: finds files and programs, reads the columns of
    /// tables, plans queries. Connects to no database. Blocks, for minutes if a table of text is
    /// large: column types are inferred from all rows.
    ///
    /// # Errors
    /// [`Fatal::Config`], with a line for each route that cannot be served. Paths of the command line of
    /// `serve` that cannot be served are left out, with a warning in the log, unless that is all of them.
    pub fn build(config: &Config) -> Result<Self, Fatal> {
        Self::build_with(config, &|_| {})
    }

    /// Does the same, and reports for people what it waits for.
    pub(crate) fn build_with(config: &Config, report: &Report<'_>) -> Result<Self, Fatal> {
        match Self::build_all(config, report) {
            (site, errors) if errors.is_empty() => Ok(site),
            (_, errors) => Err(Fatal::Config(errors)),
        }
    }

    /// Does the same for `check`: opens what can be opened, and returns the errors of all else.
    pub(crate) fn build_all(config: &Config, report: &Report<'_>) -> (Self, Vec<ConfigError>) {
        let mut builder = Builder::new(config, report);
        builder.add_routes();
        let mut errors = builder.errors;
        let optional = config.routes.iter();
        let optional = optional.filter(|route| route.optional.is_some()).count();
        if optional > 0 && builder.left_out.len() == optional {
            errors.extend(builder.left_out.into_iter().map(|(_, error)| error));
        } else {
            for (path, error) in &builder.left_out {
                names::warn_of(path, &error.to_string());
            }
        }
        let site = Self {
            config: config.clone(),
            routes: builder.routes,
            kept: builder.tables.keep(),
        };
        (site, errors)
    }
}

impl Site {
    /// Connects to all databases at the same time: the name of each, and why it cannot be reached.
    /// **Blocks** for at most the time limits of one.
    pub(crate) fn connect(&self) -> Vec<(&str, Result<(), String>)> {
        self.kept.connect()
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

struct Builder<'a> {
    config: &'a Config,
    routes: RouteTable,
    tables: Tables<'a>,
    errors: Vec<ConfigError>,
    /// The names of routes that have errors.
    broken: BTreeSet<String>,
    /// The paths of the command line that cannot be served.
    left_out: Vec<(PathBuf, ConfigError)>,
}

/// Why there is no route.
struct RouteError {
    text: String,
    /// The table that its query names, and that is not there.
    missing_table: Option<String>,
}

impl From<String> for RouteError {
    fn from(text: String) -> Self {
        Self {
            text,
            missing_table: None,
        }
    }
}

impl<'a> Builder<'a> {
    fn new(config: &'a Config, report: &'a Report<'a>) -> Self {
        let (tables, errors) = Tables::new(config, report);
        Self {
            config,
            routes: RouteTable::default(),
            tables,
            errors,
            broken: config.broken.routes.clone(),
            left_out: Vec::new(),
        }
    }

    /// Tables first: queries are checked against them. What gives way, or takes the place of
    /// others, comes last.
    fn add_routes(&mut self) {
        let mut routes: Vec<_> = self.config.routes.iter().collect();
        routes.sort_by_key(|route| (route.precedence, route.is_query()));
        let is_own = |route: &&RouteConfig| route.precedence == Precedence::Only;
        let (own, others): (Vec<_>, Vec<_>) = routes.into_iter().partition(is_own);
        own.into_iter().for_each(|route| self.add(route));
        if let Some((origin, route)) = self.tables.sql() {
            let added = route.and_then(|mut route| {
                route.limits = self.config.sql_limits;
                self.routes.add(route)
            });
            self.note(origin, added.map_err(RouteError::from));
        }
        others.into_iter().for_each(|route| self.add(route));
    }

    fn add(&mut self, config: &RouteConfig) {
        let added = match (self.route(config), &config.optional) {
            (Err(error), Some(path)) => {
                let error = config.origin.error(error.text);
                return self.left_out.push((path.clone(), error));
            }
            (route, _) => route.and_then(|route| {
                let Some(route) = route else {
                    return Ok(());
                };
                match config.precedence {
                    Precedence::Only => self.routes.add(route)?,
                    Precedence::IfMissing => self.routes.add_missing(route),
                    Precedence::Replaces => self.routes.put(route),
                }
                Ok(())
            }),
        };
        match added {
            Err(error) if config.is_query() && self.follows(&error) => {}
            added => {
                if added.is_err() {
                    self.broken.insert(config.name.clone());
                }
                self.note(&config.origin, added);
            }
        }
    }

    /// Returns whether an error of a query follows from that of a table.
    fn follows(&self, error: &RouteError) -> bool {
        let missing = error.missing_table.as_ref();
        missing.is_some_and(|table| self.broken.contains(table))
    }

    /// Notes an error, and where it comes from.
    fn note(&mut self, origin: &Place, added: Result<(), RouteError>) {
        if let Err(error) = added {
            self.errors.push(origin.error(error.text));
        }
    }

    /// Makes a route; `None`: it is of something that has errors.
    fn route(&mut self, config: &RouteConfig) -> Result<Option<Route>, RouteError> {
        let Some(source) = self.source(config)? else {
            return Ok(None);
        };
        let mut route = Route::new(&config.name, source)?;
        if let Some(suffix) = &config.suffix {
            route.set_suffix(suffix)?;
        }
        if let Some(media_type) = &config.media_type {
            route.set_media_type(media_type)?;
        }
        route.description.clone_from(&config.description);
        route.compress = config.compress;
        route.limits = config.limits;
        let usual = match route.gives_rows() {
            true => Keep::Auto,
            false => Keep::Nothing,
        };
        route.keep = config.keep.unwrap_or(usual);
        let mut settings = DefaultHasher::new();
        format!("{:?} {:?}", config.source, self.config.tables).hash(&mut settings);
        route.settings = settings.finish();
        Ok(Some(route))
    }

    fn source(&mut self, config: &RouteConfig) -> Result<Option<Source>, RouteError> {
        let source = match &config.source {
            SourceConfig::Noise => Ok(Source::Noise(Noise)),
            SourceConfig::Directory(directory) => {
                Directory::open(directory.clone(), &config.name).map(Source::Directory)
            }
            SourceConfig::File(path) => File::open(path).map(Source::File),
            SourceConfig::Command { argv, folder } => {
                Command::new(argv.clone(), folder).map(Source::Command)
            }
            SourceConfig::Rows(rows) => {
                let rows = self.tables.open(&config.name, rows)?;
                return Ok(rows.map(|rows| Source::Rows(Box::new(rows))));
            }
        };
        Ok(Some(source?))
    }
}
