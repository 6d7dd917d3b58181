//! What an operator may set, and what it becomes for the driver.

use std::{fmt, fs, path::PathBuf, time::Duration};

use tokio_postgres::{Config, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{PostgresError, tls};

/// Eight queries at once: a small part of the 100 connections that PostgreSQL allows by default.
const MAX_CONNECTIONS: usize = 8;
/// A server in reach answers within milliseconds; three lost packets take 7 s of retransmission.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a client waits for a connection before it gets "busy, try again".
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// To prepare is to look names up; what takes longer waits for somebody's lock.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that nobody needs for so long does not come back soon.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Rows of a batch: enough that what is done once per batch does not show.
const BATCH_ROWS: usize = 8192;
/// Bytes of a batch: 8192 rows of 128 bytes.
const BATCH_BYTES: usize = 1 << 20;
/// Beyond this a batch's texts could leave the 32-bit offsets of Arrow: half of 2^31, of which the
/// other half is for the one row that may exceed the limit (PostgreSQL's rows have at most 1 GiB).
const MAX_BATCH_BYTES: usize = 1 << 29;
/// A network that has swallowed everything for so long is gone.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(30);

/// How to reach a server, and how much of it to use.
///
/// Its `Debug` text does not show [`url`](Self::url), which may hold a password.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgresql://user@host:port/database`, or `host=... user=... dbname=...`; a `host` that
    /// is a path is the directory of a Unix socket.
    ///
    /// With `sslmode=require` the connection is encrypted, and the server's certificate must be of
    /// a trusted authority and of this host, as for `verify-full` of libpq. Without `sslmode`, and
    /// with `sslmode=disable`, nothing is encrypted. `sslmode=prefer` is refused: it would be
    /// encrypted or not, and nobody would know.
    pub url: String,
    /// The authorities (PEM) to trust instead of the system's; needs `sslmode=require`.
    pub tls_ca_file: Option<PathBuf>,
    /// A file whose first line is the password; then the URL must have none.
    pub password_file: Option<PathBuf>,
    /// Connections open at once, and so queries at once.
    pub max_connections: usize,
    /// How long one connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a query waits for a free connection.
    pub acquire_timeout: Duration,
    /// How long a query may take to be prepared.
    pub prepare_timeout: Duration,
    /// How long a query may run, **including the time that a slow client takes** for its rows;
    /// without one, the server's default for the role counts.
    pub statement_timeout: Option<Duration>,
    /// After how long an unused connection is closed; looked at when a query begins.
    pub idle_timeout: Duration,
    /// What the server calls the connections, in `pg_stat_activity`.
    pub application_name: String,
    /// Rows of a batch, at most.
    pub batch_rows: usize,
    /// Bytes of a batch, after which no further row is added to it.
    pub batch_bytes: usize,
}

impl PostgresOptions {
    /// Returns the defaults for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls_ca_file: None,
            password_file: None,
            max_connections: MAX_CONNECTIONS,
            connect_timeout: CONNECT_TIMEOUT,
            acquire_timeout: ACQUIRE_TIMEOUT,
            prepare_timeout: PREPARE_TIMEOUT,
            statement_timeout: None,
            idle_timeout: IDLE_TIMEOUT,
            application_name: "datastreamer".to_owned(),
            batch_rows: BATCH_ROWS,
            batch_bytes: BATCH_BYTES,
        }
    }

    /// Makes what the driver needs.
    pub(super) fn resolve(&self) -> Result<(Config, MakeRustlsConnect), PostgresError> {
        if self.max_connections == 0 || self.batch_rows == 0 || self.batch_bytes == 0 {
            return Err(PostgresError::bad_options(
                "max_connections, batch_rows and batch_bytes are at least 1",
            ));
        }
        if self.batch_bytes > MAX_BATCH_BYTES {
            return Err(PostgresError::bad_options(&format!(
                "batch_bytes is at most {MAX_BATCH_BYTES}"
            )));
        }
        // What the driver says of a text that it does not understand may be a part of a password.
        let mut config: Config = self.url.parse().map_err(|_| {
            PostgresError::bad_options(
                "the URL is not understood (it is not shown, as it may hold a password; sslmode is \
                 disable or require, which verifies the certificate)",
            )
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(PostgresError::bad_options("the URL names no host"));
        }
        // The driver's default is `prefer` too: only the text tells what was asked for.
        if config.get_ssl_mode() == SslMode::Prefer && self.url.contains("sslmode") {
            return Err(PostgresError::bad_options(
                "sslmode=prefer does not say whether the connection is encrypted: write \
                 sslmode=require (encrypted, and the certificate verified) or sslmode=disable",
            ));
        }
        let ca_file = self.tls_ca_file.as_deref();
        let tls = match (config.get_ssl_mode(), ca_file) {
            (SslMode::Require, ca_file) => tls::connector(ca_file)?,
            (_, Some(_)) => {
                return Err(PostgresError::bad_options(
                    "tls_ca_file needs sslmode=require in the URL",
                ));
            }
            (_, None) => {
                config.ssl_mode(SslMode::Disable);
                tls::unused()?
            }
        };
        if let Some(password) = self.password()? {
            if config.get_password().is_some() {
                return Err(PostgresError::bad_options(
                    "both the URL and password_file give a password",
                ));
            }
            config.password(password);
        }
        config
            .application_name(self.application_name.as_str())
            .connect_timeout(self.connect_timeout)
            .keepalives_idle(NETWORK_TIMEOUT)
            .tcp_user_timeout(NETWORK_TIMEOUT);
        Ok((config, tls))
    }

    fn password(&self) -> Result<Option<String>, PostgresError> {
        let Some(path) = &self.password_file else {
            return Ok(None);
        };
        let text = fs::read_to_string(path).map_err(|error| {
            PostgresError::bad_options(&format!("password_file {}: {error}", path.display()))
        })?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(PostgresError::bad_options(&format!(
                "password_file {}: its first line is empty",
                path.display()
            )));
        }
        Ok(Some(line.to_owned()))
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("tls_ca_file", &self.tls_ca_file)
            .field("password_file", &self.password_file)
            .field("max_connections", &self.max_connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("prepare_timeout", &self.prepare_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("application_name", &self.application_name)
            .field("batch_rows", &self.batch_rows)
            .field("batch_bytes", &self.batch_bytes)
            .finish_non_exhaustive()
    }
}
