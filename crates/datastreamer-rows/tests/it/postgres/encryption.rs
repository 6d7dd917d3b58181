//! Connections with TLS.

use datastreamer_rows::postgres::{PostgresErrorKind, PostgresOptions, PostgresPool};
use datastreamer_testkit::Postgres;

use super::{Fixture, encrypted_url, refused, runtime};

#[test]
fn a_connection_that_must_be_encrypted_is() {
    let fixture = Fixture::encrypted();
    let batches =
        fixture.batches("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    let shown = format!("{:?}", batches[0]);
    assert!(
        shown.contains("true") && shown.contains("TLSv1.3"),
        "{shown}"
    );
}

#[test]
fn a_certificate_that_nobody_trusts_is_no_connection() {
    let fixture = Fixture::of(Postgres::start_with_tls(), |server, options| {
        // Of the system's authorities none has signed it.
        options.url = encrypted_url(server);
    });
    let text = refused(fixture.query("SELECT 1"), PostgresErrorKind::Unavailable);
    assert!(text.contains("no encrypted connection"), "{text}");
}

#[test]
fn a_server_without_encryption_is_no_connection_where_it_must_be() {
    let trusted = Postgres::start_with_tls();
    let fixture = Fixture::of(Postgres::start(), |server, options| {
        options.url = encrypted_url(server);
        options.tls_ca_file = Some(trusted.ca_file());
    });
    let text = refused(fixture.query("SELECT 1"), PostgresErrorKind::Unavailable);
    assert!(text.contains("no encrypted connection"), "{text}");
}

#[test]
fn authorities_that_are_of_no_use_are_refused() {
    let refusal = |change: &dyn Fn(&mut PostgresOptions)| {
        let mut options = PostgresOptions::new("postgresql://db.example/x?sslmode=require");
        change(&mut options);
        let runtime = runtime();
        let error = PostgresPool::new(options, runtime.handle().clone());
        let error = error.map(drop).unwrap_err();
        assert_eq!(error.kind(), PostgresErrorKind::BadOptions);
        error.to_string()
    };
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let text = refusal(&|options| options.tls_ca_file = Some(empty.clone()));
    assert!(
        text.contains("empty.pem: there is no certificate"),
        "{text}"
    );
    let text = refusal(&|options| options.tls_ca_file = Some("missing.pem".into()));
    assert!(text.contains("missing.pem"), "{text}");
    let text = refusal(&|options| {
        options.url = "postgresql://db.example/x".to_owned();
        options.tls_ca_file = Some(empty.clone());
    });
    assert!(text.contains("sslmode=require"), "{text}");
}

#[test]
fn a_mode_that_does_not_say_whether_there_is_encryption_is_refused() {
    let runtime = runtime();
    let open = |url: &str| {
        let options = PostgresOptions::new(url);
        let opened = PostgresPool::new(options, runtime.handle().clone());
        opened.map(drop).map_err(|error| error.to_string())
    };
    for url in [
        "postgresql://db.example/x?sslmode=prefer",
        "postgresql://db.example/x?connect_timeout=1&sslmode=prefer",
        "host=db.example dbname=x sslmode = 'prefer'",
    ] {
        let text = open(url).unwrap_err();
        assert!(
            text.contains("sslmode=prefer") && text.contains("sslmode=require"),
            "{text}"
        );
    }
    for url in [
        "postgresql://db.example/x",
        "postgresql://db.example/x?sslmode=disable",
    ] {
        assert_eq!(open(url), Ok(()), "{url}");
    }
}
