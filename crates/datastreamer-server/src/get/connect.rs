//! A connection to the host of a URL, or to its proxy, and the protocol spoken on it. Each request
//! has a connection of its own: downloads are long, and parts of one file must not share a window.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, proxy::SocksV5, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::{TokioExecutor, TokioIo},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower::ServiceExt;
use url::Url;

use super::{
    failure::{Exit, Failure},
    options::Options,
    tls, words,
};
use crate::error::with_causes;

/// For names, TCP, the proxy and TLS together: several times what the slowest takes.
const CONNECT: Duration = Duration::from_secs(30);

/// For one address of several.
const CONNECT_ADDRESS: Duration = Duration::from_secs(10);

/// Over HTTP/2, what the server may send ahead of what was taken, on all connections together. A round
/// trip of 100 ms at 1 Gbit/s has 12 MB in flight.
const HTTP2_WINDOWS: usize = 16 << 20;

/// Makes connections.
pub(crate) struct Connector {
    tls: Arc<ClientConfig>,
    proxies: Matcher,
    tcp: HttpConnector,
    /// Of each connection of HTTP/2, in bytes.
    window: u32,
}

/// A connection that has taken no request yet.
pub(crate) struct Connection {
    sender: Sender,
    driver: Driver,
    /// The request goes to a proxy that forwards it: its target is the URL, and this is its
    /// `Proxy-Authorization`.
    pub(crate) forwarding: Option<Option<HeaderValue>>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// The task that drives a connection; dropping it closes the connection.
pub(crate) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// Sends the only request, to `url`, which is named without credentials; returns the head of its
    /// response, and what keeps its body coming.
    pub(crate) async fn send(
        self,
        request: Request<Empty<Bytes>>,
        url: &Url,
    ) -> Result<(Response<Incoming>, Driver), Failure> {
        let sent = match self.sender {
            Sender::Http1(mut sender) => sender.send_request(request).await,
            Sender::Http2(mut sender) => sender.send_request(request).await,
        };
        match sent {
            Ok(response) => Ok((response, self.driver)),
            Err(error) if error.is_parse() => Err(Failure::unreachable(format!(
                "{url}: what answers is no HTTP server, or its response is malformed"
            ))),
            Err(error) => Err(Failure::broken(words::of_head(&error))),
        }
    }
}

impl Connector {
    /// Takes proxies from the environment.
    pub(crate) fn new(options: &Options) -> Result<Self, Failure> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_ADDRESS));
        Ok(Self {
            tls: Arc::new(tls::client_config(&options.ca_files)?),
            proxies: Matcher::from_env(),
            tcp,
            window: (HTTP2_WINDOWS / options.connections) as u32,
        })
    }

    /// Connects to the host of a URL.
    pub(crate) async fn connect(&self, url: &Url, uri: &Uri) -> Result<Connection, Failure> {
        match timeout(CONNECT, self.connect_in_time(url, uri)).await {
            Ok(done) => done,
            Err(_) => Err(Failure::unreachable(format!(
                "no connection to {} came about in {} s",
                host_and_port(url),
                CONNECT.as_secs()
            ))),
        }
    }

    async fn connect_in_time(&self, url: &Url, uri: &Uri) -> Result<Connection, Failure> {
        let proxy = self.proxies.intercept(uri);
        let is_tls = url.scheme() == "https";
        let is_socks =
            |proxy: &Intercept| is_scheme(proxy, "socks5") || is_scheme(proxy, "socks5h");
        let mut forwarding = None;
        let tcp = match &proxy {
            None => self
                .tcp
                .clone()
                .oneshot(uri.clone())
                .await
                .map_err(|error| not_connected(url, &error))?,
            Some(proxy) if is_socks(proxy) => self.through_socks(proxy, url, uri).await?,
            Some(proxy) if !is_scheme(proxy, "http") => {
                let text = format!("the proxy {} is neither HTTP nor SOCKS 5", proxy.uri());
                return Err(Failure::last(Exit::Config, text));
            }
            Some(proxy) if is_tls => self.through_tunnel(proxy, url, uri).await?,
            Some(proxy) => {
                forwarding = Some(proxy.basic_auth().cloned());
                let connected = self.tcp.clone().oneshot(proxy.uri().clone()).await;
                connected.map_err(|error| proxy_failed(proxy, url, &error))?
            }
        };
        let tcp = tcp.into_inner();
        let (sender, driver) = match is_tls {
            true => self.speak_tls(tcp, url).await?,
            false => speak(tcp, None).await?,
        };
        Ok(Connection {
            sender,
            driver,
            forwarding,
        })
    }

    async fn through_tunnel(
        &self,
        proxy: &Intercept,
        url: &Url,
        uri: &Uri,
    ) -> Result<TokioIo<TcpStream>, Failure> {
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        tunnel.oneshot(uri.clone()).await.map_err(|error| {
            match with_causes(&error).contains("authorization required") {
                true => {
                    let text = format!("the proxy {} wants authorization (407)", proxy.uri());
                    Failure::last(Exit::Auth, text)
                }
                false => proxy_failed(proxy, url, &error),
            }
        })
    }

    async fn through_socks(
        &self,
        proxy: &Intercept,
        url: &Url,
        uri: &Uri,
    ) -> Result<TokioIo<TcpStream>, Failure> {
        let socks = SocksV5::new(proxy.uri().clone(), self.tcp.clone());
        let mut socks = socks.local_dns(is_scheme(proxy, "socks5"));
        if let Some((user, password)) = proxy.raw_auth() {
            socks = socks.with_auth(user.into(), password.into());
        }
        let connected = socks.oneshot(with_port(url, uri)).await;
        connected.map_err(|error| proxy_failed(proxy, url, &error))
    }

    async fn speak_tls(&self, tcp: TcpStream, url: &Url) -> Result<(Sender, Driver), Failure> {
        let host = url.host_str().unwrap_or_default();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(name.to_owned()).map_err(|error| {
            Failure::last(Exit::Other, format!("{host} is no name for TLS: {error}"))
        })?;
        let stream = TlsConnector::from(self.tls.clone())
            .connect(name, tcp)
            .await;
        let stream = stream.map_err(|error| {
            let text = format!(
                "no TLS with {}: {}",
                host_and_port(url),
                words::of_tls(&error)
            );
            let is_final = error
                .get_ref()
                .is_some_and(|cause| cause.is::<rustls::Error>());
            match is_final {
                true => Failure::last(Exit::Other, text),
                false => Failure::broken(text),
            }
        })?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        speak(stream, is_http2.then_some(self.window)).await
    }
}

/// Begins HTTP/2 on a connection, with windows of this size, or else HTTP/1.1.
async fn speak<S>(stream: S, window: Option<u32>) -> Result<(Sender, Driver), Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| Failure::broken(words::of_head(&error));
    let io = TokioIo::new(stream);
    // What a driver ends with is also the error of the response that it drives.
    if let Some(window) = window {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        builder.initial_connection_window_size(window);
        let (sender, driver) = builder.handshake(io).await.map_err(failed)?;
        let driver = tokio::spawn(async { drop(driver.await) });
        Ok((Sender::Http2(sender), Driver(driver)))
    } else {
        let (sender, driver) = http1::handshake(io).await.map_err(failed)?;
        let driver = tokio::spawn(async { drop(driver.await) });
        Ok((Sender::Http1(sender), Driver(driver)))
    }
}

fn is_scheme(proxy: &Intercept, scheme: &str) -> bool {
    proxy.uri().scheme_str() == Some(scheme)
}

/// The connector of SOCKS knows no default ports.
fn with_port(url: &Url, uri: &Uri) -> Uri {
    let port = url.port_or_known_default().unwrap_or(80);
    let host = url.host_str().unwrap_or_default();
    let with_port = format!("{}://{host}:{port}/", url.scheme()).parse();
    with_port.unwrap_or_else(|_| uri.clone())
}

fn host_and_port(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

fn not_connected(url: &Url, error: &(dyn std::error::Error + 'static)) -> Failure {
    let name = format!("the host {}", url.host_str().unwrap_or_default());
    Failure::unreachable(words::of_connect(&host_and_port(url), &name, error))
}

fn proxy_failed(
    proxy: &Intercept,
    url: &Url,
    error: &(dyn std::error::Error + 'static),
) -> Failure {
    let proxy = format!("the proxy {}", proxy.uri());
    Failure::unreachable(words::of_proxy(&proxy, &host_and_port(url), error))
}
