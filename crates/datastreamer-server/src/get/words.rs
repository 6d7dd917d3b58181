//! What went wrong with a URL or a connection, in words for the person at the terminal. Pure: from the
//! errors of the system and of libraries, whose own texts are shown only where nothing better is known.

use std::{
    error::Error,
    io::{self, ErrorKind},
};

use datastreamer::find_cause;
use rustls::CertificateError;

use crate::error::with_causes;

/// The connection is gone, and the file has not ended.
pub(crate) const ENDED: &str = "the connection ended in the middle of the file";

/// The server has said that there is no more, although the file has not ended.
pub(crate) const BROKEN_OFF: &str = "the server broke the transfer off";

/// Says what is wrong with a URL.
pub(crate) fn of_url(error: url::ParseError) -> String {
    match error {
        url::ParseError::EmptyHost => "it has no host".into(),
        url::ParseError::IdnaError | url::ParseError::InvalidDomainCharacter => {
            "its host is no valid name".into()
        }
        url::ParseError::InvalidPort => "its port is no number up to 65535".into(),
        url::ParseError::InvalidIpv4Address => "its host is no valid IPv4 address".into(),
        url::ParseError::InvalidIpv6Address => "its host is no valid IPv6 address".into(),
        other => other.to_string(),
    }
}

/// Says why there is no connection. `peer` is a host and its port, or a proxy; `name` is what is looked
/// up of it.
pub(crate) fn of_connect(peer: &str, name: &str, error: &(dyn Error + 'static)) -> String {
    let Some(cause) = find_cause::<io::Error>(error) else {
        return format!("no connection to {peer}: {}", with_causes(error));
    };
    // Of names there is no kind, and no number of the system: glibc's words are what people search for.
    let looked_up = cause.to_string();
    let looked_up = looked_up.strip_prefix("failed to lookup address information: ");
    if let Some(why) = looked_up {
        return format!("{name} cannot be found: {why}");
    }
    match cause.kind() {
        ErrorKind::ConnectionRefused => format!("{peer} refuses connections"),
        ErrorKind::TimedOut => format!("{peer} does not answer: no connection came about in time"),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            format!("{peer} reset the connection")
        }
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
            format!("{peer} closed the connection")
        }
        ErrorKind::HostUnreachable => {
            format!("{peer} cannot be reached: there is no route to the host")
        }
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            format!("{peer} cannot be reached: the network is unreachable")
        }
        ErrorKind::PermissionDenied => {
            format!("{peer} cannot be reached: this system forbids connections to it")
        }
        _ => format!("no connection to {peer}: {cause}"),
    }
}

/// Says why a proxy has made no connection to a host and port.
pub(crate) fn of_proxy(proxy: &str, target: &str, error: &(dyn Error + 'static)) -> String {
    if find_cause::<io::Error>(error).is_some() {
        return of_connect(proxy, proxy, error);
    }
    // These errors have no kinds that can be asked for.
    let text = with_causes(error);
    if text.contains("underlying connection") {
        format!("{proxy} cannot be reached")
    } else if text.contains("io error") {
        format!("{proxy} broke the connection off")
    } else if text.contains("unsuccessful") {
        format!("{proxy} makes no connection to {target}")
    } else if text.contains("unexpected end of file") {
        format!("{proxy} closed the connection")
    } else {
        let why = text.rsplit("error: ").next().unwrap_or_default();
        format!("{proxy} makes no connection to {target}: {why}")
    }
}

/// Says why there is no TLS on a connection.
pub(crate) fn of_tls(error: &io::Error) -> String {
    match find_cause::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(wrong)) => of_certificate(wrong),
        Some(rustls::Error::InvalidMessage(_)) => "what answers does not speak TLS".into(),
        Some(rustls::Error::PeerIncompatible(_)) => {
            "the server has no version and cipher in common with this program".into()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("the server refuses ({alert:?})"),
        Some(other) => other.to_string(),
        None => match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
                "the connection was reset".into()
            }
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => "the connection was closed".into(),
            _ => error.to_string(),
        },
    }
}

fn of_certificate(wrong: &CertificateError) -> String {
    let what = match wrong {
        CertificateError::UnknownIssuer => {
            "is of an authority that is not trusted here (--ca-file names others)"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::Revoked => "is revoked",
        other => return format!("the certificate of the server is not valid: {other}"),
    };
    format!("the certificate of the server {what}")
}

/// Says why a request has no response. The answer is HTTP as far as it came.
pub(crate) fn of_head(error: &hyper::Error) -> String {
    let closed = || String::from("the connection was closed before the server answered");
    match find_cause::<io::Error>(error).map(io::Error::kind) {
        Some(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {
            "the connection was reset before the server answered".into()
        }
        Some(ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe) => closed(),
        _ if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => closed(),
        _ => match error.source() {
            Some(cause) => format!("the connection broke before the server answered: {cause}"),
            None => "the connection broke before the server answered".into(),
        },
    }
}

/// Says why a body has ended before its file.
pub(crate) fn of_body(error: &hyper::Error, is_http2: bool) -> String {
    let Some(cause) = find_cause::<io::Error>(error) else {
        // RST_STREAM and GOAWAY are the server's word; what else ends a stream of HTTP/2 has ended
        // its connection. That error has no kind without another dependency.
        let cause = error.source().map(|cause| cause.to_string());
        let is_told =
            |it: &String| it.starts_with("stream error") || it.starts_with("connection error");
        return match is_http2 && cause.as_ref().is_some_and(is_told) {
            true => BROKEN_OFF.into(),
            false => ENDED.into(),
        };
    };
    if find_cause::<rustls::Error>(cause).is_some() {
        return format!("TLS failed: {}", of_tls(cause));
    }
    match cause.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => ENDED.into(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            "the connection was reset".into()
        }
        // A chunk that cannot be one: HTTP/1.1 has no other way to say that a body has failed.
        ErrorKind::InvalidData | ErrorKind::InvalidInput => BROKEN_OFF.into(),
        ErrorKind::TimedOut => "the server does not answer any more".into(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            "the server cannot be reached any more".into()
        }
        _ => format!("the connection broke: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_connection_is_said_without_words_of_the_system() {
        let said = |kind: ErrorKind| of_connect("host:80", "the host host", &io::Error::from(kind));
        for (kind, words) in [
            (ErrorKind::ConnectionRefused, "host:80 refuses connections"),
            (ErrorKind::TimedOut, "host:80 does not answer: "),
            (ErrorKind::ConnectionReset, "host:80 reset the connection"),
            (ErrorKind::HostUnreachable, "host:80 cannot be reached: "),
            (ErrorKind::NetworkUnreachable, "host:80 cannot be reached: "),
        ] {
            let said = said(kind);
            assert!(said.starts_with(words), "{said}");
        }
        let unknown = "failed to lookup address information: Name or service not known";
        let unknown = of_connect("host:80", "the host host", &io::Error::other(unknown));
        assert_eq!(
            unknown,
            "the host host cannot be found: Name or service not known"
        );
    }

    #[test]
    fn a_certificate_that_is_not_accepted_is_described() {
        for (wrong, words) in [
            (CertificateError::UnknownIssuer, "not trusted here"),
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidYet, "is not valid yet"),
            (CertificateError::NotValidForName, "is for another name"),
            (CertificateError::BadEncoding, "the server is not valid: "),
        ] {
            let error = io::Error::other(rustls::Error::InvalidCertificate(wrong));
            let said = of_tls(&error);
            assert!(
                said.starts_with("the certificate of the server ") && said.contains(words),
                "{said}"
            );
        }
        let plain = rustls::InvalidMessage::InvalidContentType;
        let error = io::Error::other(rustls::Error::InvalidMessage(plain));
        assert_eq!(of_tls(&error), "what answers does not speak TLS");
    }
}
