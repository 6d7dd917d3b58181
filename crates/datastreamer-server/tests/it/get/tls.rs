//! `datastreamer get` over TLS: the ends of HTTP/2 streams, tunnels, and redirects that leave TLS.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use base64::{Engine, engine::general_purpose::STANDARD};
use h2::Reason;
use ring::digest::{SHA256, digest};

use crate::get::Folder;
use crate::support::h2_server::{self, H2End, headers};
use crate::support::program::{self, Said};
use crate::support::tls::{self, TlsServer};
use crate::support::{noise, tools};

/// Less than the first window of HTTP/2.
const LENGTH: usize = 60_000;

fn get(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let mut command = folder.command(arguments);
    command.env("SSL_CERT_FILE", tls::authority_file());
    command.envs(variables.iter().copied());
    program::finish(command)
}

#[test]
fn an_http_2_stream_is_complete_only_with_its_flag() {
    let bytes = noise::bytes(0, LENGTH);
    let known = headers(&[("content-length", "60000")]);
    let broken_off = "/f is not complete: the server broke the transfer off after ";
    let ended = "/f is not complete: the connection ended in the middle of the file after ";
    for head in [headers(&[]), known] {
        for (end, sent, code, words) in [
            (H2End::Stream, LENGTH, 0, ""),
            (H2End::Reset(Reason::NO_ERROR), LENGTH - 1, 7, broken_off),
            (H2End::Reset(Reason::CANCEL), LENGTH - 1, 7, broken_off),
            (
                H2End::Reset(Reason::INTERNAL_ERROR),
                LENGTH - 1,
                7,
                broken_off,
            ),
            (H2End::Closed, LENGTH - 1, 7, ended),
        ] {
            let url = h2_server::start(head.clone(), sent, end.clone());
            let folder = Folder::new();
            let said = get(&folder, &[&url, "--retries", "0"], &[]);
            assert_eq!(said.code, Some(code), "{end:?} {head:?}: {said:?}");
            assert!(said.stderr.contains(words), "{end:?} {head:?}: {said:?}");
            match code {
                0 => folder.assert_only("f", &bytes),
                _ => assert!(folder.names().is_empty(), "{end:?}"),
            }
        }
    }
}

#[test]
fn the_digest_in_trailers_of_http_2_decides() {
    let bytes = noise::bytes(0, LENGTH);
    for (of, code) in [(&*bytes, 0), (b"other", 8)] {
        let value = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, of)));
        let trailers = headers(&[("repr-digest", &value)]);
        let url = h2_server::start(headers(&[]), LENGTH, H2End::Trailers(trailers));
        let folder = Folder::new();
        let said = get(&folder, &[&url, "--json"], &[]);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert_eq!(said.text().contains("\"verified\":true"), code == 0);
    }
}

#[test]
fn a_redirect_never_leaves_tls() {
    let location = [("location", "http://127.0.0.1:9/f")];
    // The status of the server is 200, so it must be one of its own.
    let acceptor = tls::acceptor(&["http/1.1"]);
    let (sender, port) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port");
            sender
                .send(listener.local_addr().expect("an address").port())
                .expect("it waits");
            let (tcp, _) = listener.accept().await.expect("a client");
            let mut stream = acceptor.accept(tcp).await.expect("TLS");
            let [(name, value)] = location;
            let head =
                format!("HTTP/1.1 302 Found\r\n{name}: {value}\r\ncontent-length: 0\r\n\r\n");
            tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
                .await
                .expect("sent");
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        });
    });
    let url = format!("https://127.0.0.1:{}/f", port.recv().expect("a port"));
    let said = get(&Folder::new(), &[&url], &[]);
    said.assert_refused(5, &["a redirect to http://127.0.0.1:9/f is not followed"]);
}

/// A proxy for one connection; returns its port, and what it was asked.
fn tunnel(status: &'static str) -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("an address").port();
    let asked = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).expect("a head");
            head.extend(byte);
        }
        let head = String::from_utf8(head).expect("text");
        client
            .write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes())
            .expect("sent");
        let target = head.split(' ').nth(1).expect("a target").to_owned();
        if let Ok(mut server) = TcpStream::connect(target) {
            let (mut up, mut down) = (
                client.try_clone().expect("a copy"),
                server.try_clone().expect("a copy"),
            );
            thread::spawn(move || std::io::copy(&mut up, &mut down));
            let _ = std::io::copy(&mut server, &mut client);
        }
        head
    });
    (port, asked)
}

#[test]
fn a_tunnel_through_a_proxy_hides_the_request() {
    let server = TlsServer::start(&["h2", "http/1.1"]);
    let folder = Folder::new();
    let (port, asked) = tunnel("200 Connection established");
    let proxy = format!("http://me:pass@127.0.0.1:{port}");
    let url = server.url("/noise.bin?n=200000");
    get(&folder, &[&url], &[("https_proxy", &proxy)]).assert_good();
    folder.assert_only("noise.bin", &noise::bytes(0, 200_000));
    let asked = asked.join().expect("no panic");
    let target = url
        .strip_prefix("https://")
        .and_then(|it| it.split('/').next());
    assert!(
        asked.starts_with(&format!("CONNECT {} ", target.expect("a host"))),
        "{asked}"
    );
    assert!(
        asked.contains(&format!("Basic {}", STANDARD.encode("me:pass"))),
        "{asked}"
    );
    assert!(!asked.contains("noise.bin"), "{asked}");

    let (port, _) = tunnel("407 Proxy Authentication Required");
    let proxy = format!("http://127.0.0.1:{port}");
    let said = get(
        &folder,
        &[&url, "-o", "x", "--retries", "0"],
        &[("https_proxy", &proxy)],
    );
    said.assert_refused(4, &["proxy", "authorization"]);
    let said = get(
        &folder,
        &[&url, "-o", "x"],
        &[("https_proxy", "https://127.0.0.1:9")],
    );
    said.assert_refused(3, &["neither HTTP nor SOCKS 5"]);
    server.stop();
}

#[test]
fn socks_is_spoken_with_a_proxy_that_speaks_it() {
    // curl's test servers are not installed: a proxy of a dozen lines (RFC 1928).
    let program = "import socket,threading\n\
        s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True)\n\
        c,_=s.accept(); c.recv(2+1); c.sendall(b'\\x05\\x00'); h=c.recv(300)\n\
        a=socket.inet_ntoa(h[4:8]) if h[3]==1 else h[5:5+h[4]].decode()\n\
        u=socket.create_connection((a,int.from_bytes(h[-2:],'big')))\n\
        c.sendall(b'\\x05\\x00\\x00\\x01'+b'\\x00'*6)\n\
        def copy(x,y):\n\
        \x20while True:\n\
        \x20 d=x.recv(65536)\n\
        \x20 if not d: break\n\
        \x20 y.sendall(d)\n\
        threading.Thread(target=copy,args=(c,u),daemon=True).start(); copy(u,c)\n";
    let mut python = tools::program("python3");
    let mut python = python
        .args(["-c", program])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut port = String::new();
    let stdout = python.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut port).expect("a line");
    let server = TlsServer::start(&["http/1.1"]);
    let folder = Folder::new();
    let proxy = format!("socks5h://127.0.0.1:{}", port.trim());
    let said = get(
        &folder,
        &[&server.url("/noise.bin?n=200000")],
        &[("all_proxy", &proxy)],
    );
    let _ = python.kill();
    let _ = python.wait();
    said.assert_good();
    folder.assert_only("noise.bin", &noise::bytes(0, 200_000));
    server.stop();
}
