//! Debian's nginx in front of the program: one process, one port, two ways of speaking upstream. And
//! nginx alone, with files.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use super::scratch::Scratch;
use super::tools;

/// What nginx speaks with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// The default of nginx before 1.29.7.
    Http10,
    /// `proxy_http_version 1.1`.
    Http11,
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http10 => "HTTP/1.0 upstream",
            Self::Http11 => "HTTP/1.1 upstream",
        })
    }
}

/// A running nginx; dropping it kills it.
pub(crate) struct Nginx {
    child: Child,
    port: u16,
    _scratch: Scratch,
}

impl Nginx {
    /// Starts nginx as a proxy for the program at `upstream_port` and waits until it listens.
    ///
    /// # Panics
    /// When it does not start; with what it wrote to standard error.
    pub(crate) fn start(upstream_port: u16) -> Self {
        Self::start_with(|port| server(port, upstream_port))
    }

    /// Starts nginx with a `server` block for a port.
    fn start_with(server: impl Fn(u16) -> String) -> Self {
        const ATTEMPTS: u32 = 3;
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            // Another process may take the port before nginx does: hence the attempts.
            let port = free_port();
            match Self::try_start(port, &configuration(&server(port))) {
                Ok(nginx) => return nginx,
                Err(log) => said = log,
            }
        }
        panic!("nginx does not start: {said}");
    }

    /// Returns the URL of the program's `path`, which begins with a slash, behind nginx.
    pub(crate) fn url(&self, upstream: Upstream, path: &str) -> String {
        let location = match upstream {
            Upstream::Http10 => "/http10",
            Upstream::Http11 => "/http11",
        };
        format!("http://127.0.0.1:{}{location}{path}", self.port)
    }

    /// Returns the port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of the program's `path`, which begins with a slash, where nginx tells the
    /// program which client asks.
    pub(crate) fn forwarding(path: &str) -> String {
        format!("/forwarding{path}")
    }

    fn try_start(port: u16, configuration: &str) -> Result<Self, String> {
        let scratch = Scratch::new("nginx");
        let log_file = scratch.join("stderr");
        fs::write(scratch.join("nginx.conf"), configuration)
            .expect("the configuration can be written");
        let mut child = tools::program("nginx")
            .arg("-p")
            .arg(scratch.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stderr(File::create(&log_file).expect("the log can be made"))
            .spawn()
            .expect("nginx starts");

        const START_LIMIT: Duration = Duration::from_secs(10);
        let start = Instant::now();
        loop {
            let ended = child
                .try_wait()
                .expect("a child can be waited for")
                .is_some();
            if ended || start.elapsed() > START_LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                return Err(fs::read_to_string(&log_file).unwrap_or_default());
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Self {
                    child,
                    port,
                    _scratch: scratch,
                });
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

/// nginx with the files of a folder; dropping it kills it.
pub(crate) struct Static(Nginx);

impl Static {
    /// Serves the files, with some more directives.
    pub(crate) fn start(folder: &Path, directives: &str) -> Self {
        let root = folder.display();
        Self(Nginx::start_with(|port| {
            format!("server {{ listen 127.0.0.1:{port}; root {root}; {directives} }}")
        }))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.0.port)
    }
}

/// All defaults, but for what lets it run as anybody, in a directory of its own.
fn configuration(server: &str) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {server}
}}
"
    )
}

/// The three ways to the program, and the way to its receipts.
fn server(port: u16, upstream_port: u16) -> String {
    format!(
        "server {{
        listen 127.0.0.1:{port};
        location /http10/ {{
            proxy_pass http://127.0.0.1:{upstream_port}/;
        }}
        location /forwarding/ {{
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_pass http://127.0.0.1:{upstream_port}/;
        }}
        location /http11/ {{
            proxy_http_version 1.1;
            proxy_pass http://127.0.0.1:{upstream_port}/;
        }}
        location /transfers/ {{
            proxy_pass http://127.0.0.1:{upstream_port};
        }}
    }}"
    )
}
