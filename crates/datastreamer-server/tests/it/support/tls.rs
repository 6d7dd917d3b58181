//! The program's noise over TLS, in a service of the test's own, and the authority that clients are
//! told to trust.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use datastreamer::StreamPool;
use datastreamer_http::{ArmedListener, Serve};
use datastreamer_server::{Config, Server, Site};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_rustls::TlsAcceptor;

use super::{scratch, tools};

/// Java wants one.
const STORE_PASSWORD: &str = "of-the-tests";

/// Downloads that run when a server is told to stop may go on for so long.
const DRAIN: Duration = Duration::from_millis(800);

/// A server of TLS in this process.
pub(crate) struct TlsServer {
    port: u16,
    pool: StreamPool,
    /// Dropped: the server stops.
    stop: oneshot::Sender<()>,
    serving: thread::JoinHandle<()>,
}

/// Signs the servers' certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate: PEM, and PKCS #12.
    pem: PathBuf,
    store: PathBuf,
}

impl TlsServer {
    /// Serves the protocols that are named as in ALPN (RFC 7301): `h2`, `http/1.1`.
    pub(crate) fn start(protocols: &[&str]) -> Self {
        let acceptor = acceptor(protocols);
        let config = Config::parse("[routes.noise]\nkind = \"noise\"\n", Path::new(""));
        let site = Site::build(&config.expect("it is valid"));
        let server = Server::new(site.expect("there is nothing to open"));
        let pool = server.pool().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell_port, port) = std::sync::mpsc::channel();
        let serving = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = tcp.local_addr().expect("an address");
                tell_port.send(address.port()).expect("the test waits");
                Serve::on(ArmedListener::new(tcp).tls(acceptor), server.router())
                    .pool(server.pool())
                    .drain(DRAIN)
                    .until(async { drop(stopped.await) })
                    .await
                    .expect("it serves");
            });
        });
        Self {
            port: port.recv().expect("it serves"),
            pool,
            stop,
            serving,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// How many downloads run.
    pub(crate) fn streams(&self) -> usize {
        self.pool.active()
    }

    /// Tells the server to stop, and waits until it has.
    pub(crate) fn stop(self) {
        drop(self.stop);
        self.serving.join().expect("it ends without a panic");
    }
}

/// Returns what accepts TLS with a certificate of the authority.
pub(crate) fn acceptor(protocols: &[&str]) -> TlsAcceptor {
    let key = KeyPair::generate().expect("keys can be made");
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .and_then(|params| params.signed_by(&key, &authority().issuer))
        .expect("certificates can be signed");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .expect("the key is that of the certificate");
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Returns the file with the certificate of the authority.
pub(crate) fn authority_file() -> &'static Path {
    &authority().pem
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is wrong");
        let name = "the authority of the tests";
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.self_signed(&key).expect("it signs itself");
        let folder = scratch::root().join(format!("authority-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("folders can be made");
        let (pem, store) = (folder.join("authority.pem"), folder.join("authority.p12"));
        fs::write(&pem, certificate.pem()).expect("files can be written");
        let mut keytool = tools::program("keytool");
        keytool.args([
            "-importcert",
            "-noprompt",
            "-storetype",
            "PKCS12",
            "-alias",
            "tests",
        ]);
        keytool
            .args(["-storepass", STORE_PASSWORD, "-file"])
            .arg(&pem);
        keytool.arg("-keystore").arg(&store);
        assert!(keytool.status().expect("keytool runs").success());
        Authority {
            issuer: Issuer::new(params, key),
            pem,
            store,
        }
    })
}

/// Has a client trust the servers of this process, each in its own way. Chromium trusts everybody.
pub(crate) fn trust(client: &mut Command) {
    let authority = authority();
    for variable in [
        "CURL_CA_BUNDLE",
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "TEST_AUTHORITY",
    ] {
        client.env(variable, &authority.pem);
    }
    let option = |name: &str, value: &Path| format!("-Djavax.net.ssl.{name}={}", value.display());
    let java = [
        option("trustStore", &authority.store),
        option("trustStorePassword", Path::new(STORE_PASSWORD)),
    ];
    client.env("JDK_JAVA_OPTIONS", java.join(" "));
    // wget and aria2c know no variable.
    let program = client.get_program().to_string_lossy().into_owned();
    if program.ends_with("wget") || program.ends_with("aria2c") {
        client.arg(format!("--ca-certificate={}", authority.pem.display()));
    }
}
