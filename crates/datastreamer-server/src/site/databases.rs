//! The databases of a site: a pool of connections for each, and the threads that drive them.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use datastreamer_rows::postgres::PostgresPool;
use tokio::runtime::{Handle, Runtime};

use crate::{config::DatabaseConfig, error::ConfigError, sources::rows::for_operator};

/// Threads that read from databases: decoding some million rows a second needs one, and a second
/// one goes on when that is busy.
const DATABASE_THREADS: usize = 2;

/// The pools, by the names of their databases.
pub(super) struct Databases {
    pools: BTreeMap<String, PostgresPool>,
    /// None without databases.
    threads: Option<DatabaseThreads>,
    /// The names of those that have errors.
    broken: BTreeSet<String>,
}

impl Databases {
    /// Makes the pools; connects to nothing yet. Also returns the errors of those that cannot be.
    pub(super) fn open(
        configured: &BTreeMap<String, DatabaseConfig>,
        broken: &BTreeSet<String>,
    ) -> (Self, Vec<ConfigError>) {
        let mut databases = Self {
            pools: BTreeMap::new(),
            threads: None,
            broken: broken.clone(),
        };
        let mut errors = Vec::new();
        for (name, config) in configured {
            let pool = databases.connect_later(config);
            match pool {
                Ok(pool) => drop(databases.pools.insert(name.clone(), pool)),
                Err(text) => {
                    databases.broken.insert(name.clone());
                    errors.push(config.origin.error(text));
                }
            }
        }
        (databases, errors)
    }

    fn connect_later(&mut self, config: &DatabaseConfig) -> Result<PostgresPool, String> {
        let threads = match &mut self.threads {
            Some(threads) => threads,
            threads @ None => threads.insert(DatabaseThreads::start()?),
        };
        let pool = PostgresPool::new(config.options.clone(), threads.handle.clone());
        pool.map_err(|error| error.to_string())
    }

    /// Connects to all databases at the same time. **Blocks** for at most the time limits of one.
    pub(super) fn connect(&self) -> Vec<(&str, Result<(), String>)> {
        let connect = |pool: &PostgresPool| pool.connect().map_err(|error| for_operator(&error));
        thread::scope(|scope| {
            let pools = self.pools.iter();
            let connecting = pools.map(|(name, pool)| (name, scope.spawn(move || connect(pool))));
            let connecting: Vec<_> = connecting.collect();
            let connected = connecting.into_iter().map(|(name, connecting)| {
                let internal = |_| Err("internal error (panic) while connecting".to_owned());
                (name.as_str(), connecting.join().unwrap_or_else(internal))
            });
            connected.collect()
        })
    }

    /// Finds a database by its name; the only one need not be named. `None`: it has errors.
    pub(super) fn find(&self, name: Option<&str>) -> Result<Option<(&str, &PostgresPool)>, String> {
        let is_broken = match name {
            Some(name) => self.broken.contains(name),
            None => self.pools.len() + self.broken.len() == 1 && self.pools.is_empty(),
        };
        if is_broken {
            return Ok(None);
        }
        let found = match (name, self.pools.first_key_value()) {
            (Some(name), _) => self.pools.get_key_value(name),
            (None, Some(only)) if self.pools.len() == 1 => Some(only),
            (None, _) => None,
        };
        let found = found.map(|(name, pool)| Some((name.as_str(), pool)));
        found.ok_or_else(|| {
            let names: BTreeSet<_> = self.pools.keys().chain(&self.broken).collect();
            match names.is_empty() {
                true => "there are no [databases]".into(),
                false => {
                    let names: Vec<_> = names.into_iter().map(String::as_str).collect();
                    let names = names.join(", ");
                    format!("`database` must be one of [databases]; there are: {names}")
                }
            }
        })
    }
}

/// Drive the connections: not on the event loop of the server, which starts later, and which
/// decoding would block.
pub(super) struct DatabaseThreads {
    handle: Handle,
    /// Always there, until the drop takes it.
    runtime: Option<Runtime>,
}

impl DatabaseThreads {
    fn start() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(DATABASE_THREADS)
            .thread_name("database")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| format!("no threads: {error}"))?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Drop for DatabaseThreads {
    fn drop(&mut self) {
        // A runtime that is merely dropped waits, which panics on an event loop.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
