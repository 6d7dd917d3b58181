//! nginx with its usual settings for static files, and a file that it serves.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::client;
use crate::process::{self, Server};

/// Not on everybody's path: Debian puts it among the programs of the administrator.
const NGINX: &str = "/usr/sbin/nginx";

/// A server of static files.
#[derive(Debug)]
pub(super) struct Nginx {
    pub(super) server: Server,
    folder: PathBuf,
}

impl Nginx {
    /// Why it cannot run on this machine, if it cannot.
    pub(super) fn obstacle() -> Option<String> {
        (!Path::new(NGINX).is_file()).then(|| format!("{NGINX} is not installed"))
    }

    /// Starts it with an empty folder.
    pub(super) fn start() -> io::Result<Self> {
        let folder =
            std::env::temp_dir().join(format!("datastreamer-bench-{}", std::process::id()));
        fs::create_dir(&folder)?;
        let server = Self::start_in(&folder);
        if server.is_err() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(Self {
            server: server?,
            folder,
        })
    }

    fn start_in(folder: &Path) -> io::Result<Server> {
        // Another process may take the port before nginx does; then nothing is measured.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let configuration = folder.join("nginx.conf");
        fs::write(&configuration, text(folder, port))?;
        // It prints no address, so the shell that becomes nginx does.
        let start = format!("echo http://127.0.0.1:{port}; exec \"$@\"");
        let command = ["sh", "-c", &start, "sh", NGINX, "-e", "stderr", "-c"];
        let mut command: Vec<OsString> = command.map(Into::into).into();
        command.push(configuration.into());
        let server = process::start(&command)?;
        process::wait_for_port(server.address())?;
        Ok(server)
    }

    /// Downloads what another server sends, as a file of this name.
    pub(super) fn copy(&self, from: SocketAddr, path: &str, name: &str) -> io::Result<u64> {
        let mut file = File::create(self.folder.join(name))?;
        let mut written = Ok(());
        let bytes = client::get(from, path)?.drain(|payload| {
            if written.is_ok() {
                written = file.write_all(payload);
            }
        })?;
        written.and(Ok(bytes))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // What is left running or in the folder for temporary files is a nuisance, and no failure.
        let _ = self.server.terminate();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// As Debian configures it, with as many workers as there are cores; without logs.
fn text(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
user root;
worker_processes auto;
pid {folder}/pid;
events {{ worker_connections 1024; }}
http {{
    sendfile on;
    tcp_nopush on;
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {folder};
    }}
}}
"
    )
}
