//! A server within this process, for measurements that need a clock common to
//! source and client. The same axum server as [`crate::peer`], on threads of its
//! own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Serves until dropped.
#[derive(Debug)]
pub(crate) struct InProcess {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

/// Serves `router` on a free port.
pub(crate) fn serve(router: Router) -> io::Result<InProcess> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_io()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("socket option: {error}");
        }
    });
    runtime.spawn(async move { axum::serve(listener, router).await });
    Ok(InProcess {
        address,
        runtime: Some(runtime),
    })
}

impl InProcess {
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
