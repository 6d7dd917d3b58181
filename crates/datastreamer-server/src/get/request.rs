//! One request of a download, with its redirects, and the body of its response, whose end is checked:
//! a body that has ended without an error is complete, or says that it cannot know
//! ([`Body::is_proved`]).

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version,
    header::{
        ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONNECTION,
        CONTENT_ENCODING, HOST, IF_RANGE, LOCATION, PROXY_AUTHORIZATION, RANGE, TE,
        TRANSFER_ENCODING, USER_AGENT,
    },
};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Incoming};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;
use url::Url;

use super::{
    connect::{Connector, Driver},
    failure::{Exit, Failure, harmless},
    options::Options,
    plan::{self, Asked},
    receipt, words,
};

/// As many as browsers and curl follow, or fewer.
const REDIRECTS_MAX: usize = 10;

/// The first choice is what every server of RFC 9530 has.
const WANT_REPR_DIGEST: (&str, &str) = ("want-repr-digest", "sha-256=10");

const AGENT: &str = concat!("datastreamer/", env!("CARGO_PKG_VERSION"));

/// What a download decides itself: a header of the user would break it.
const OWN_HEADERS: [HeaderName; 8] = [
    ACCEPT_ENCODING,
    CONNECTION,
    HOST,
    IF_RANGE,
    RANGE,
    TE,
    TRANSFER_ENCODING,
    http::header::CONTENT_LENGTH,
];

/// What is no secret, so that a host behind a redirect may see it.
const PUBLIC_HEADERS: [HeaderName; 4] = [ACCEPT, ACCEPT_CHARSET, ACCEPT_LANGUAGE, USER_AGENT];

/// Returns whether a user may set a header.
pub(crate) fn is_own_header(name: &HeaderName) -> bool {
    OWN_HEADERS.contains(name)
}

/// Sends requests.
pub(crate) struct Client {
    connector: Connector,
    /// The URL of the user, whose host gets the headers and the credentials.
    url: Url,
    headers: HeaderMap,
    head_timeout: Duration,
    stall: Duration,
}

/// A response whose head has come.
pub(crate) struct Answer {
    /// Where it came from, behind all redirects; without credentials.
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// The body of a response; dropping it closes the connection.
pub(crate) struct Body {
    incoming: Incoming,
    _driver: Driver,
    framing: Framing,
    stall: Duration,
    received: u64,
    has_ended: bool,
    /// The length, if a head states it.
    length: Option<u64>,
    /// Where its server says how it has ended.
    receipt: Option<Box<Url>>,
    /// What came behind the body.
    pub(crate) trailers: HeaderMap,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// HTTP/1.1: a length, or chunks with a last one.
    Framed,
    /// HTTP/2: the end is a flag, which a reset without an error lacks.
    Http2,
    /// The end of the connection is the end, or a failure.
    Closed,
}

impl Client {
    /// Prepares for the requests of one download.
    ///
    /// # Errors
    /// A file of authorities that cannot be read.
    pub(crate) fn new(options: &Options) -> Result<Self, Failure> {
        Ok(Self {
            connector: Connector::new(options)?,
            url: options.url.clone(),
            headers: options.headers.clone(),
            head_timeout: options.head_timeout,
            stall: options.stall,
        })
    }

    /// Sends the request of a download, and follows its redirects.
    ///
    /// # Errors
    /// No connection, no head in time, a redirect that leads nowhere, a coded file.
    pub(crate) async fn ask(&self, asked: &Asked) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        if let Asked::Rest {
            from,
            to,
            validator,
            ..
        } = asked
        {
            let last = to.map(|to| (to - 1).to_string()).unwrap_or_default();
            let range = HeaderValue::from_str(&format!("bytes={from}-{last}"));
            if let (Ok(range), Some(validator)) = (range, validator.if_range()) {
                headers.insert(RANGE, range);
                headers.insert(IF_RANGE, validator);
            }
        }
        self.get(self.url.clone(), &headers).await
    }

    /// Sends a request with these headers to a URL, and follows its redirects.
    pub(crate) async fn get(&self, mut url: Url, headers: &HeaderMap) -> Result<Answer, Failure> {
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.get_once(&url, headers).await?;
            let Some(next) = redirect(&answer)? else {
                return Ok(answer);
            };
            url = next;
        }
        let text = format!("there are more than {REDIRECTS_MAX} redirects, the last to {url}");
        Err(Failure::last(Exit::Refused, text))
    }

    async fn get_once(&self, url: &Url, headers: &HeaderMap) -> Result<Answer, Failure> {
        let uri = uri_of(url)?;
        let connection = self.connector.connect(url, &uri).await?;
        let is_http2 = connection.is_http2();
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        let fields = request.headers_mut();
        self.add_headers(fields, url);
        fields.extend(headers.clone());
        if is_http2 {
            *request.version_mut() = Version::HTTP_2;
            *request.uri_mut() = uri;
        } else {
            // RFC 9110, section 10.1.4: `TE` is for this connection only.
            fields.insert(CONNECTION, HeaderValue::from_static("TE"));
            fields.insert(HOST, host_of(url)?);
            match &connection.forwarding {
                Some(credentials) => {
                    if let Some(credentials) = credentials {
                        fields.insert(PROXY_AUTHORIZATION, credentials.clone());
                    }
                    *request.uri_mut() = uri;
                }
                None => *request.uri_mut() = origin_form(&uri),
            }
        }
        let url = without_credentials(url);
        let sent = timeout(self.head_timeout, connection.send(request, &url)).await;
        let (response, driver) = sent.unwrap_or_else(|_| {
            let seconds = self.head_timeout.as_secs_f64();
            let text = format!("the server has not answered in {seconds} s");
            Err(Failure::broken(text))
        })?;
        let (head, incoming) = response.into_parts();
        let framing = match head.version {
            Version::HTTP_2 => Framing::Http2,
            _ => framing_of(&head.headers, head.status)?,
        };
        let receipt = receipt::link(&head.headers, &url);
        let receipt = receipt.filter(|link| link.origin() == url.origin());
        Ok(Answer {
            status: head.status,
            body: Body {
                incoming,
                _driver: driver,
                framing,
                stall: self.stall,
                received: 0,
                has_ended: false,
                length: plan::length(&head.headers),
                receipt: receipt.map(Box::new),
                trailers: HeaderMap::new(),
            },
            headers: head.headers,
            url,
        })
    }

    fn add_headers(&self, fields: &mut HeaderMap, url: &Url) {
        fields.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        fields.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let is_ours = url.origin() == self.url.origin();
        if is_ours && let Some(credentials) = credentials(&self.url) {
            fields.insert(AUTHORIZATION, credentials);
        }
        for name in self.headers.keys() {
            if is_ours || PUBLIC_HEADERS.contains(name) {
                fields.remove(name);
                for value in self.headers.get_all(name) {
                    fields.append(name, value.clone());
                }
            }
        }
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        fields.insert(TE, HeaderValue::from_static("trailers"));
        let (name, value) = WANT_REPR_DIGEST;
        fields.insert(name, HeaderValue::from_static(value));
    }
}

impl Answer {
    /// Refuses a file that is coded all the same: its digest, its length and its ranges would be those
    /// of other bytes.
    pub(crate) fn check_not_coded(&self) -> Result<(), Failure> {
        for coding in self.headers.get_all(CONTENT_ENCODING) {
            if !coding.as_bytes().eq_ignore_ascii_case(b"identity") {
                let coding = harmless(&String::from_utf8_lossy(coding.as_bytes()));
                let text =
                    format!("the server sent the file coded as {coding}, which was not asked for");
                return Err(Failure::last(Exit::Refused, text));
            }
        }
        Ok(())
    }
}

impl Body {
    /// Returns the next bytes, or `None` behind the last.
    ///
    /// # Errors
    /// A break, also one that looks like an end, and a server that sends nothing for too long.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while !self.has_ended {
            let frame = timeout(self.stall, self.incoming.frame()).await;
            let frame = frame.map_err(|_| {
                Failure::cut_off(format!("nothing came for {} s", self.stall.as_secs_f64()))
            })?;
            let frame = frame.transpose().map_err(|error| {
                let is_http2 = self.framing == Framing::Http2;
                self.broken_off(words::of_body(&error, is_http2))
            })?;
            match frame {
                Some(frame) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return self.count(data).map(Some),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            self.trailers.extend(trailers);
                        }
                    }
                },
                None => {
                    self.check_end()?;
                    self.has_ended = true;
                }
            }
        }
        Ok(None)
    }

    fn count(&mut self, data: Bytes) -> Result<Bytes, Failure> {
        self.received += data.len() as u64;
        match self.length {
            Some(length) if self.received > length => Err(Failure::broken(format!(
                "the server sent more than the {length} bytes that it had announced"
            ))),
            _ => Ok(data),
        }
    }

    fn check_end(&self) -> Result<(), Failure> {
        // hyper takes RST_STREAM(NO_ERROR) for an end.
        if self.framing == Framing::Http2 && !self.incoming.is_end_stream() {
            return Err(self.broken_off(words::BROKEN_OFF));
        }
        match (self.length, self.framing) {
            (Some(length), _) if self.received >= length => Ok(()),
            (Some(_), Framing::Closed) => Err(self.broken_off(words::ENDED)),
            (Some(_), _) => Err(self.broken_off("the server ended the transfer early")),
            (None, _) => Ok(()),
        }
    }

    fn broken_off(&self, text: impl Into<String>) -> Failure {
        Failure {
            receipt: self.receipt.clone(),
            ..Failure::cut_off(text)
        }
    }

    /// Holds the body to a length that another field states.
    pub(crate) fn expect_length(&mut self, length: u64) {
        self.length = Some(length);
    }

    /// Returns whether the end of the body can be told from a failure.
    pub(crate) fn is_proved(&self) -> bool {
        self.framing != Framing::Closed || self.length.is_some()
    }

    /// Reads a short body whole: at most so many bytes, in so much time. What is longer is cut.
    pub(crate) async fn read_short(mut self, bytes_max: usize, limit: Duration) -> Vec<u8> {
        let mut all = Vec::new();
        let read = async {
            while let Ok(Some(bytes)) = self.next().await {
                let left = bytes_max - all.len();
                all.extend_from_slice(&bytes[..bytes.len().min(left)]);
                if all.len() == bytes_max {
                    break;
                }
            }
        };
        // What came in time is used.
        let _late = timeout(limit, read).await;
        all
    }
}

/// Returns how HTTP/1 frames a body (RFC 9112, section 6.3).
fn framing_of(headers: &HeaderMap, status: StatusCode) -> Result<Framing, Failure> {
    let codings: Vec<&[u8]> = headers
        .get_all(TRANSFER_ENCODING)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    match codings[..] {
        [] if plan::length(headers).is_some() => Ok(Framing::Framed),
        [] if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED => {
            Ok(Framing::Framed)
        }
        [] => Ok(Framing::Closed),
        [coding] if coding.trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(Framing::Framed),
        _ => {
            let text = "the server uses a transfer coding that was not asked for";
            Err(Failure::last(Exit::Refused, text))
        }
    }
}

/// Returns where a response sends the client, if it does.
fn redirect(answer: &Answer) -> Result<Option<Url>, Failure> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let refused = |text: String| Failure::last(Exit::Refused, text);
    let location = answer.headers.get(LOCATION);
    let location = location.and_then(|value| value.to_str().ok());
    let Some(location) = location else {
        let status = answer.status;
        return Err(refused(format!("{status} without a Location")));
    };
    let next = answer.url.join(location);
    let mut next = next.map_err(|error| {
        let (location, why) = (harmless(location), words::of_url(error));
        refused(format!("a redirect to {location}: {why}"))
    })?;
    let is_downgrade = answer.url.scheme() == "https" && next.scheme() != "https";
    if is_downgrade || !matches!(next.scheme(), "http" | "https") {
        return Err(refused(format!("a redirect to {next} is not followed")));
    }
    // Nobody but the user gives credentials.
    let _ = next.set_username("");
    let _ = next.set_password(None);
    next.set_fragment(None);
    Ok(Some(next))
}

/// Basic authentication (RFC 7617) with the credentials of a URL.
fn credentials(url: &Url) -> Option<HeaderValue> {
    let password = url.password();
    if url.username().is_empty() && password.is_none() {
        return None;
    }
    let mut text: Vec<u8> = percent_decode_str(url.username()).collect();
    text.push(b':');
    text.extend(percent_decode_str(password.unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn uri_of(url: &Url) -> Result<Uri, Failure> {
    let url = without_credentials(url);
    let uri = url.as_str().parse();
    uri.map_err(|error| Failure::last(Exit::Usage, format!("{url} is no URL for HTTP: {error}")))
}

/// Returns a URL as it may be shown and stored.
pub(crate) fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    // Those of http have a host, so this cannot fail.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url
}

fn host_of(url: &Url) -> Result<HeaderValue, Failure> {
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    HeaderValue::from_str(&host)
        .map_err(|error| Failure::last(Exit::Usage, format!("{host} is no host: {error}")))
}

fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    path.map_or_else(Uri::default, Uri::from)
}
