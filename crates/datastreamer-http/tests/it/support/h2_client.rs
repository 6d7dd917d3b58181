//! An HTTP/2 client (by prior knowledge) that controls its windows and sees each reset.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use datastreamer_testkit::DEADLINE;
use h2::{Reason, RecvStream, client};
use http::{Request, response::Parts};
use tokio::{
    net::TcpStream,
    runtime::{Handle, Runtime},
    time::{sleep, timeout},
};

/// How a response ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By END_STREAM.
    Whole,
    /// By RST_STREAM.
    Reset(Reason),
    /// With the connection.
    Lost(String),
}

/// A connection with its own event loop; dropping it closes the connection.
pub(crate) struct Client {
    requests: client::SendRequest<Bytes>,
    runtime: Runtime,
}

/// A response that is being received.
pub(crate) struct Response {
    pub(crate) head: Parts,
    body: RecvStream,
    event_loop: Handle,
}

impl Client {
    /// Connects with windows that never close.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_with_window(address, 1 << 24)
    }

    /// Connects; each stream may send `stream_window_bytes` that are not yet read.
    pub(crate) fn connect_with_window(address: SocketAddr, stream_window_bytes: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let requests = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let (requests, connection) = client::Builder::new()
                .initial_window_size(stream_window_bytes)
                .initial_connection_window_size(1 << 30)
                .handshake(tcp)
                .await
                .unwrap();
            tokio::spawn(connection);
            requests
        });
        Self { requests, runtime }
    }

    /// Requests a path and waits for the head.
    pub(crate) fn ask(&self, path: &str) -> Response {
        self.ask_if_alive(path).expect("a connection")
    }

    /// Requests a path; `None`: the connection is lost.
    pub(crate) fn ask_if_alive(&self, path: &str) -> Option<Response> {
        let request = Request::get(format!("http://localhost{path}"));
        let request = request.body(()).unwrap();
        let event_loop = self.runtime.handle().clone();
        let answered = wait(&event_loop, async {
            let mut requests = self.requests.clone().ready().await?;
            requests.send_request(request, true)?.0.await
        });
        let (head, body) = answered.ok()?.into_parts();
        Some(Response {
            head,
            body,
            event_loop,
        })
    }
}

fn wait<T>(event_loop: &Handle, what: impl Future<Output = T>) -> T {
    event_loop.block_on(async { timeout(DEADLINE, what).await.expect("the server's word") })
}

impl Response {
    /// Reads everything, without a limit of the rate.
    pub(crate) fn read(self) -> (Vec<u8>, End) {
        self.read_paced(None)
    }

    /// Reads everything, at most at this rate in bytes per second.
    pub(crate) fn read_paced(mut self, bytes_per_second: Option<u64>) -> (Vec<u8>, End) {
        let mut body = Vec::new();
        let event_loop = self.event_loop.clone();
        let end = wait(&event_loop, async {
            loop {
                match self.body.data().await {
                    None => return End::Whole,
                    Some(Err(error)) => return end_of(&error),
                    Some(Ok(data)) => {
                        body.extend_from_slice(&data);
                        if let Some(rate) = bytes_per_second {
                            sleep(Duration::from_secs_f64(data.len() as f64 / rate as f64)).await;
                        }
                        // Fails after the end of the stream, when no window is needed.
                        let _ = self.body.flow_control().release_capacity(data.len());
                    }
                }
            }
        });
        (body, end)
    }

    /// Waits for the first bytes and takes no more: the window does not open any further.
    pub(crate) fn peek(&mut self) -> Bytes {
        let event_loop = self.event_loop.clone();
        wait(&event_loop, async {
            self.body.data().await.unwrap().unwrap()
        })
    }
}

fn end_of(error: &h2::Error) -> End {
    match error.reason().filter(|_| error.is_reset()) {
        Some(reason) => End::Reset(reason),
        None => End::Lost(error.to_string()),
    }
}
