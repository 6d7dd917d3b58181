//! A proxy on TCP that cuts what a client receives behind so many bytes, so that the client itself makes
//! the part that it later resumes. It knows nothing of HTTP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// What no connection of a test is silent for.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How a cut looks to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Fin,
    Reset,
}

/// The proxy of one client, which the server sees under an address of its own.
pub(crate) struct Cutting {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: AtomicU16,
    client: Ipv4Addr,
    /// What may still be forwarded.
    left: AtomicU64,
    cut: Cut,
    has_cut: AtomicBool,
    is_closed: AtomicBool,
}

impl Cutting {
    /// Forwards `bytes` of all responses together, and then nothing more until [`Self::heal`].
    pub(crate) fn start(client: Ipv4Addr, server: u16, bytes: u64, cut: Cut) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            server: AtomicU16::new(server),
            client,
            left: AtomicU64::new(bytes),
            cut,
            has_cut: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_closed.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.connect(client));
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn has_cut(&self) -> bool {
        self.shared.has_cut.load(Ordering::SeqCst)
    }

    /// Forwards everything from now on, to the server at this port.
    pub(crate) fn heal(&self, server: u16) {
        self.shared.server.store(server, Ordering::SeqCst);
        self.shared.left.store(u64::MAX / 2, Ordering::SeqCst);
    }
}

impl Drop for Cutting {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        // The listener's thread sees it with the next connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn connect(&self, mut client: TcpStream) {
        if self.left.load(Ordering::SeqCst) == 0 {
            return;
        }
        let Some(mut server) = self.server() else {
            return;
        };
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(SILENCE_MAX)).expect("a time");
        }
        let (Ok(mut from), Ok(mut to)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let requests = thread::spawn(move || {
            let _ended = std::io::copy(&mut from, &mut to);
            let _gone = to.shutdown(Shutdown::Both);
        });
        let was_cut = self.forward(&mut server, &mut client);
        if was_cut && self.cut == Cut::Reset {
            let socket = socket2::SockRef::from(&client);
            let _gone = socket.set_linger(Some(Duration::ZERO));
            let _gone = server.shutdown(Shutdown::Both);
            // Ends the other thread without a FIN; the reset goes out when the last handle is closed.
            let _gone = client.shutdown(Shutdown::Read);
            let _ended = requests.join();
            return;
        }
        let _gone = client.shutdown(Shutdown::Both);
        let _gone = server.shutdown(Shutdown::Both);
        drop(requests);
    }

    fn server(&self) -> Option<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let own = SocketAddr::from((self.client, 0));
        socket
            .bind(&own.into())
            .expect("an address of this machine");
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.server.load(Ordering::SeqCst)));
        socket.connect(&server.into()).ok()?;
        Some(socket.into())
    }

    /// Returns whether it was this that ended the connection.
    fn forward(&self, server: &mut TcpStream, client: &mut TcpStream) -> bool {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = match server.read(&mut buffer) {
                Ok(0) | Err(_) => return false,
                Ok(read) => read as u64,
            };
            let left = self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    Some(left.saturating_sub(read))
                });
            let allowed = read.min(left.unwrap_or_default());
            let piece = usize::try_from(allowed).expect("of a buffer");
            if client.write_all(&buffer[..piece]).is_err() {
                return false;
            }
            if allowed < read {
                self.has_cut.store(true, Ordering::SeqCst);
                return true;
            }
        }
    }
}
