//! A PostgreSQL server for one test: Debian's programs, a data directory that is deleted with the
//! server, a Unix socket and a TCP port.
//!
//! PostgreSQL refuses to run as root. In that case it runs as the user `postgres`, which the Debian
//! package creates. `scripts/install-test-tools` installs it.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::eventually;

/// Where Debian puts the programs, in a folder for each version.
const PROGRAMS: &str = "/usr/lib/postgresql";
/// The superuser, in the server and, where the tests run as root, in the system.
const USER: &str = "postgres";
/// The password of TCP connections; connections by the Unix socket need none.
const PASSWORD: &str = "hush/hush";
/// [`PASSWORD`] in a URL.
const PASSWORD_IN_URL: &str = "hush%2Fhush";
/// A query that collects its rows on disk fails before the disk is full: `FROM generate_series(...)`
/// does so, `SELECT generate_series(...)` does not.
const TEMPORARY_FILES: &str = "temp_file_limit=512MB";
/// Another process may take a port between its choice and its use.
const PORT_ATTEMPTS: usize = 5;

/// A running server, stopped when it is dropped.
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    server: Child,
}

impl Postgres {
    /// Creates an empty server and starts it.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Like [`start`](Self::start), with settings such as `max_connections=5`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), settings)
    }

    /// Like [`start`](Self::start), with TLS for 127.0.0.1 and a certificate authority of its own:
    /// [`ca_file`](Self::ca_file).
    ///
    /// # Panics
    /// As [`start`](Self::start), and if openssl is not installed.
    pub fn start_with_tls() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        make_certificates(folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let settings = [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("server.pem")),
            format!("ssl_key_file={}", file("server.key")),
        ];
        Self::start_in(folder, &settings.each_ref().map(String::as_str))
    }

    fn start_in(folder: TempDir, settings: &[&str]) -> Self {
        let (programs, path, is_root) = (programs(), folder.path(), is_root());
        fs::write(path.join("password"), PASSWORD).expect("a file");
        if is_root {
            done(
                Command::new("chown")
                    .args(["-R", "postgres:postgres"])
                    .arg(path),
            );
        }
        // The test's user needs to read the socket's folder, too.
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
        make_data(&programs, path);
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port();
            if let Some(server) = launch(&programs, path, port, settings) {
                return Self {
                    folder,
                    programs,
                    port,
                    server,
                };
            }
        }
        panic!("PostgreSQL does not start: {}", log(path));
    }

    /// Returns the URL of the TCP port, with the password.
    pub fn url(&self) -> String {
        let port = self.port;
        format!("postgresql://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{port}/postgres")
    }

    /// Returns the URL of the TCP port, without the password.
    pub fn url_without_password(&self) -> String {
        format!("postgresql://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns the connection string for the Unix socket, which needs no password.
    pub fn socket_url(&self) -> String {
        let folder = self.folder.path().display();
        format!(
            "host={folder} port={} user={USER} dbname=postgres",
            self.port
        )
    }

    /// Returns the file with the certificate of the authority, for a server with TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns the password that TCP connections need.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Runs SQL with `psql`; returns what it prints: a line per row, columns separated by `|`.
    ///
    /// # Panics
    /// If it fails.
    pub fn sql(&self, text: &str) -> String {
        let output = done(
            Command::new(self.programs.join("psql"))
                .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"])
                .arg(self.socket_url())
                .args(["-c", text]),
        );
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.trim_end().to_owned()
    }

    /// Returns how many statements of an application are running (`pg_stat_activity`).
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn active_statements(&self, application_name: &str) -> usize {
        let count = self.sql(&format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE state = 'active' AND application_name = '{application_name}'"
        ));
        count.parse().expect("a count")
    }

    /// Stops the server at once, like a crash: connections break.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(&mut self) {
        quit(&mut self.server);
        eventually("the server stops", || {
            matches!(self.server.try_wait(), Ok(Some(_)))
        });
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        quit(&mut self.server);
        // The server's folder is deleted next.
        let _ = self.server.wait();
    }
}

/// What `initdb` is called with; a server that is made with others has another template.
const SETTINGS: [&str; 12] = [
    "--no-sync",
    "--no-instructions",
    "--username",
    USER,
    "--encoding",
    "UTF8",
    "--locale",
    "C.UTF-8",
    "--auth-local",
    "trust",
    "--auth-host",
    "scram-sha-256",
];

/// Makes the data of an empty server. `initdb` takes a second of a processor, so that it runs once for
/// each build: what it has made is kept beside the test program, and copied.
fn make_data(programs: &Path, folder: &Path) {
    let data = folder.join("data");
    let mut identity = DefaultHasher::new();
    (programs, SETTINGS, PASSWORD).hash(&mut identity);
    let program = std::env::current_exe().expect("a path");
    let template = program.with_file_name(format!("postgres-{:016x}", identity.finish()));
    if template.exists() {
        copy(&template, &data);
        return;
    }
    done(
        as_server(&programs.join("initdb"))
            .args(SETTINGS)
            .arg("--pwfile")
            .arg(folder.join("password"))
            .arg("--pgdata")
            .arg(&data),
    );
    let started = TempDir::new_in(program.with_file_name(".")).expect("a folder");
    let complete = started.path().join("data");
    copy(&data, &complete);
    // Another test may have been faster: its template is as good.
    let _ = fs::rename(complete, template);
}

/// Copies a folder with its owner and its permissions.
fn copy(from: &Path, to: &Path) {
    done(
        Command::new("cp")
            .args(["--archive", "--no-target-directory"])
            .args([from, to]),
    );
}

/// Extensions of the authority's certificate and of the server's.
const CERTIFICATES: &str = "\
    [req]\ndistinguished_name = name\n[name]\n\
    [ca]\nbasicConstraints = critical, CA:TRUE\nsubjectKeyIdentifier = hash\n\
    [server]\nbasicConstraints = CA:FALSE\nsubjectAltName = IP:127.0.0.1\n";

/// Creates an authority and a certificate for the server.
fn make_certificates(folder: &Path) {
    fs::write(folder.join("certificates.cnf"), CERTIFICATES).expect("a file");
    let make = |name: &str, authority: &[&str]| {
        done(
            Command::new("openssl")
                .current_dir(folder)
                .args(["req", "-x509", "-config", "certificates.cnf", "-days", "2"])
                .args([
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                ])
                .args(["-extensions", name, "-subj", &format!("/CN={name}")])
                .args(["-keyout", &format!("{name}.key")])
                .args(["-out", &format!("{name}.pem")])
                .args(authority),
        );
    };
    make("ca", &[]);
    make("server", &["-CA", "ca.pem", "-CAkey", "ca.key"]);
}

/// Returns the folder of the newest version.
fn programs() -> PathBuf {
    let versions = fs::read_dir(PROGRAMS).into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    folders
        .filter(|folder| folder.join("postgres").exists())
        .max()
        .unwrap_or_else(|| panic!("PostgreSQL is not in {PROGRAMS}: scripts/install-test-tools"))
}

/// Starts the server and waits until it answers; `None` if it ends instead.
fn launch(programs: &Path, folder: &Path, port: u16, settings: &[&str]) -> Option<Child> {
    let log = fs::File::create(folder.join("log")).expect("a file");
    let mut command = as_server(&programs.join("postgres"));
    command
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-c"])
        .arg(format!("unix_socket_directories={}", folder.display()))
        .args(["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1"])
        .args(["-c", TEMPORARY_FILES])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .stdout(Stdio::null())
        .stderr(log);
    let mut server = command.spawn().expect("PostgreSQL is started");
    let mut has_ended = false;
    eventually("PostgreSQL answers", || {
        has_ended = matches!(server.try_wait(), Ok(Some(_)));
        has_ended || is_ready(programs, folder, port)
    });
    (!has_ended).then_some(server)
}

fn is_ready(programs: &Path, folder: &Path, port: u16) -> bool {
    let mut command = Command::new(programs.join("pg_isready"));
    command.arg("-q").args(["-p", &port.to_string(), "-h"]);
    let status = command.arg(folder).status();
    status.is_ok_and(|status| status.success())
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// A command for a program of the server, run as a user that it accepts; it ends with the test's
/// thread.
fn as_server(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    // Signal 3 (SIGQUIT) is PostgreSQL's immediate shutdown, which leaves nothing behind.
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}

/// Sends SIGQUIT: unlike SIGKILL, it also ends the children and frees shared memory.
fn quit(server: &mut Child) {
    if matches!(server.try_wait(), Ok(None)) {
        let id = server.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &id]).status();
    }
}

fn is_root() -> bool {
    let output = done(Command::new("id").arg("-u"));
    output.stdout == b"0\n"
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("a program is started");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}
