//! One connection: how it is made, when it is fit for use again, how it is cut off.

use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, RecycleError, RecycleResult};
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{CancelToken, Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A connection that nothing else uses.
pub(super) type Connection = Object<Sessions>;

/// What the server runs for us, and the task that serves its socket.
pub(super) struct Session {
    pub(super) client: Client,
    tls: MakeRustlsConnect,
    socket: JoinHandle<()>,
    /// The server's version, as 15.
    major_version: u32,
    /// Whether no transaction is open.
    is_clean: bool,
}

/// How often a server looks whether its client is still there while it works: often enough that a
/// statement is gone within 250 ms of a hang-up even where the cancel request was lost.
const HANG_UP_CHECK: Duration = Duration::from_millis(100);
/// The first version that can look.
const HANG_UP_CHECK_VERSION: u32 = 14;

impl Session {
    /// Begins the snapshot in which a query runs. Its settings end with it.
    pub(super) async fn begin(
        &mut self,
        statement_timeout: Option<Duration>,
    ) -> Result<(), tokio_postgres::Error> {
        // Times are to be in UTC; strings as `named.rs` understands them; numbers in texts complete.
        let mut text = String::from(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             SET LOCAL TimeZone = 'UTC'; SET LOCAL standard_conforming_strings = on; \
             SET LOCAL extra_float_digits = 3; ",
        );
        if let Some(timeout) = statement_timeout {
            // Zero would be no limit at all.
            let milliseconds = timeout.as_millis().clamp(1, i32::MAX as u128);
            text.push_str(&format!("SET LOCAL statement_timeout = {milliseconds}; "));
        }
        if self.major_version >= HANG_UP_CHECK_VERSION {
            text.push_str(&format!(
                "SET LOCAL client_connection_check_interval = {}; ",
                HANG_UP_CHECK.as_millis()
            ));
        }
        self.is_clean = false;
        self.client.batch_execute(&text).await
    }

    /// Ends the snapshot: the connection may be used again.
    pub(super) async fn end(&mut self) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute("ROLLBACK").await?;
        self.is_clean = true;
        Ok(())
    }

    /// How the statement is cancelled, by a connection of its own.
    pub(super) fn cancel(&self) -> (CancelToken, MakeRustlsConnect) {
        (self.client.cancel_token(), self.tls.clone())
    }

    /// A handle by which the socket can be closed at any time.
    pub(super) fn socket(&self) -> tokio::task::AbortHandle {
        self.socket.abort_handle()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Within an open transaction the server may be in the middle of anything.
        if !self.is_clean {
            self.socket.abort();
        }
    }
}

/// Makes connections for the pool, and checks them before they are used again.
pub(super) struct Sessions {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
}

impl Manager for Sessions {
    type Type = Session;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Session, Self::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        let version = connection.parameter("server_version").unwrap_or_default();
        let major = version.split(|c: char| !c.is_ascii_digit()).next();
        let major_version = major.and_then(|major| major.parse().ok()).unwrap_or(0);
        let socket = tokio::spawn(async move {
            // Whoever uses the connection gets the error that broke it.
            let _ = connection.await;
        });
        Ok(Session {
            client,
            tls: self.tls.clone(),
            socket,
            major_version,
            is_clean: true,
        })
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<Self::Error> {
        if session.is_clean && !session.socket.is_finished() {
            Ok(())
        } else {
            Err(RecycleError::message("broken or in a transaction"))
        }
    }
}

/// So long a server may take to end a transaction that only reads.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Ends the snapshot, so that the connection is free; closes it if that does not work.
pub(super) async fn give_back(mut connection: Connection) {
    if !matches!(timeout(END_TIMEOUT, connection.end()).await, Ok(Ok(()))) {
        drop(Object::take(connection));
    }
}
