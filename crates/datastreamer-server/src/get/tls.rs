//! Whom a download trusts: the authorities of the system, or those of `SSL_CERT_FILE` and
//! `SSL_CERT_DIR` instead of them, and those of `--ca-file` besides.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::failure::{Exit, Failure};

/// Returns the configuration of TLS, with HTTP/2 and HTTP/1.1.
///
/// # Errors
/// A file of authorities that cannot be read, or that has none.
pub(crate) fn client_config(ca_files: &[PathBuf]) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    // Some that cannot be parsed are no reason not to use the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for file in ca_files {
        add(&mut roots, file)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::last(Exit::Other, format!("TLS: {error}")))?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn add(roots: &mut RootCertStore, file: &Path) -> Result<(), Failure> {
    let wrong = |why: String| Failure::last(Exit::Config, format!("{}: {why}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("no certificate is in the file".into()));
    }
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|error| wrong(format!("a certificate cannot be used: {error}")))?;
    }
    Ok(())
}
