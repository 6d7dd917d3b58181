//! Many requests at once over one HTTP/2 connection, by prior knowledge.

use std::net::Ipv4Addr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use ::h2::{Reason, client};
use axum::http::Request;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What came of one request: its body, and the reason of the reset that cut it off.
pub(crate) type Got = (Vec<u8>, Option<Reason>);

/// Asks for all paths at once over one connection; what each got, in their order.
pub(crate) fn get_all(port: u16, paths: &[String]) -> Vec<Got> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (requests, _driven) = connect(port).await;
        let mut streams = JoinSet::new();
        for (index, path) in paths.iter().enumerate() {
            let url = format!("http://localhost{path}");
            let requests = requests.clone();
            streams.spawn(async move { (index, get(requests, &url).await) });
        }
        let mut all = streams.join_all().await;
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, got)| got).collect()
    })
}

/// A connection whose driver runs on a thread of its own and acknowledges what comes.
pub(crate) struct Staying(JoinHandle<Result<(), ::h2::Error>>);

impl Staying {
    /// Waits for the end of the connection, and says whether the server has closed it in order.
    pub(crate) fn has_ended_well(self) -> bool {
        self.0.join().expect("no panic").is_ok()
    }
}

/// Asks once over HTTP/2, and holds the connection.
pub(crate) fn ask_and_stay(port: u16, path: &str) -> Staying {
    let url = format!("http://localhost{path}");
    let (sender, answered) = mpsc::channel();
    let driver = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (requests, driven) = connect(port).await;
            // Whoever has a handle may ask again: the client does not go by itself.
            let held = requests.clone();
            get(requests, &url).await;
            sender.send(()).expect("somebody waits");
            let ended = driven.await.expect("no panic");
            drop(held);
            ended
        })
    });
    answered.recv().expect("an answer");
    Staying(driver)
}

/// Connects, with a task that keeps the connection going.
async fn connect(port: u16) -> (client::SendRequest<Bytes>, Driven) {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    let (requests, connection) = client::handshake(tcp.expect("the server accepts"))
        .await
        .expect("HTTP/2");
    (requests, tokio::spawn(connection))
}

type Driven = tokio::task::JoinHandle<Result<(), ::h2::Error>>;

async fn get(requests: client::SendRequest<Bytes>, url: &str) -> Got {
    let request = Request::get(url).body(()).expect("a request");
    let mut requests = requests.ready().await.expect("a connection");
    let (response, _) = requests.send_request(request, true).expect("a stream");
    let response = response.await.expect("a head");
    assert_eq!(response.status(), 200);
    let mut incoming = response.into_body();
    let mut body = Vec::new();
    while let Some(data) = incoming.data().await {
        let data = match data {
            Ok(data) => data,
            Err(error) => return (body, Some(error.reason().expect("a reset"))),
        };
        body.extend_from_slice(&data);
        // Fails after the end of the stream, when nothing is left to let in.
        let _ = incoming.flow_control().release_capacity(data.len());
    }
    (body, None)
}
