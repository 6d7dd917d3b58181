//! nginx with its usual settings for static files.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::path::Path;

use crate::process::{self, Server};
use crate::scratch::Scratch;

/// Not on everybody's path: Debian puts it among the programs of the administrator.
const NGINX: &str = "/usr/sbin/nginx";

/// A server of the files of a folder.
#[derive(Debug)]
pub(super) struct Nginx {
    pub(super) server: Server,
}

impl Nginx {
    /// Why it cannot run on this machine, if it cannot.
    pub(super) fn obstacle() -> Option<String> {
        (!Path::new(NGINX).is_file()).then(|| format!("{NGINX} is not installed"))
    }

    pub(super) fn start(files: &Scratch) -> io::Result<Self> {
        // Another process may take the port before nginx does; then nothing is measured.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let configuration = files.write("nginx.conf", &text(files.path(), port))?;
        // It prints no address, so the shell that becomes nginx does.
        let start = format!("echo http://127.0.0.1:{port}; exec \"$@\"");
        let command = ["sh", "-c", &start, "sh", NGINX, "-e", "stderr", "-c"];
        let mut command: Vec<OsString> = command.map(Into::into).into();
        command.push(configuration.into());
        let server = process::start(&command)?;
        process::wait_for_port(server.address())?;
        Ok(Self { server })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it, unless it is killed.
        let _ = self.server.terminate();
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
