//! Many requests at once over one HTTP/2 connection, by prior knowledge.

use std::net::Ipv4Addr;

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
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        let (requests, connection) = client::handshake(tcp.expect("the server accepts"))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
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
