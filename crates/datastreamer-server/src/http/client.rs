//! Which client sends a request: the peer of the connection or, behind trusted proxies, the address
//! that they report.
//!
//! What a client can write itself is never believed: of each header only the part that trusted
//! proxies have added counts, from the right, and the headers must agree.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Once,
};

use http::{HeaderMap, HeaderName, Uri, header, uri::Authority};

use crate::config::Network;

static FORWARDED: HeaderName = header::FORWARDED;
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What proxies add to a request; a connection with one of them comes from elsewhere.
static OF_PROXIES: [HeaderName; 6] = [
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
    header::VIA,
];
/// Addresses of IPv6 that count as one client: a network of this prefix is the least that one
/// customer gets (RFC 6177), and its machines choose the other 64 bits themselves.
const IPV6_PREFIX: u32 = 64;

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Canonical: IPv4 in IPv6 is IPv4.
    address: IpAddr,
    /// Unknown behind a proxy.
    port: Option<u16>,
    /// Whether the address is that of the client, as far as can be seen, and not that of a proxy.
    pub(crate) is_known: bool,
    pub(crate) sees: Sees,
}

/// Which transfers a client may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sees {
    /// It is a program on this machine, as far as can be seen.
    All,
    /// Those of its address.
    Own,
    /// None: the address is that of a proxy, and so of all its clients.
    Nothing,
}

/// What of a client is counted: an address, or the network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientKey(IpAddr);

impl Client {
    /// Finds the client of a request that has come from `peer`.
    pub(crate) fn of(
        peer: SocketAddr,
        headers: &HeaderMap,
        uri: &Uri,
        trusted: &[Network],
    ) -> Self {
        let address = peer.ip().to_canonical();
        let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
        if is_trusted(address) {
            let address = behind(address, headers, is_trusted);
            return Self {
                address,
                port: None,
                is_known: !is_trusted(address),
                sees: match is_trusted(address) {
                    true => Sees::Nothing,
                    false => Sees::Own,
                },
            };
        }
        let is_forwarded = OF_PROXIES.iter().any(|name| headers.contains_key(name));
        if is_forwarded && is_of_this_network(address) {
            warn_once(address);
        }
        Self {
            address,
            port: Some(peer.port()),
            // Otherwise it is a proxy that the configuration does not name.
            is_known: !is_forwarded,
            sees: match (is_forwarded, address.is_loopback()) {
                (false, false) => Sees::Own,
                (false, true) if is_local_host(headers, uri) => Sees::All,
                // Of a proxy that is not named in the configuration.
                _ => Sees::Nothing,
            },
        }
    }

    /// Returns what its streams are counted by.
    pub(crate) fn key(&self) -> ClientKey {
        ClientKey(match self.address {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let rest = u128::BITS - IPV6_PREFIX;
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> rest << rest))
            }
        })
    }
}

#[cfg(test)]
impl ClientKey {
    pub(crate) fn of_address(address: IpAddr) -> Self {
        Self(address)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/{IPV6_PREFIX}"),
        }
    }
}

/// Returns whether an address is one of a private network: that of a proxy of one's own.
fn is_of_this_network(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// Says that a proxy is not known. Once: anybody can send its headers.
fn warn_once(address: IpAddr) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            %address,
            "requests have headers of a proxy that server.trusted_proxies does not name: all its \
             clients count as one"
        );
    });
}

/// Returns whether the request names this machine as a local program does. Proxies that pass the
/// client's Host on do not, and neither do browsers whose name for this machine was rebound.
fn is_local_host(headers: &HeaderMap, uri: &Uri) -> bool {
    let in_header = headers.get(header::HOST);
    let in_header = in_header.map(|host| host.as_bytes().try_into().ok());
    let authority: Option<Authority> = match uri.authority() {
        Some(authority) => Some(authority.clone()),
        // HTTP/1.0 needs none, and proxies speak it.
        None => in_header.flatten(),
    };
    let host = authority.as_ref().map(Authority::host).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<IpAddr> = address.parse().ok();
    host.eq_ignore_ascii_case("localhost")
        || address.is_some_and(|address| address.to_canonical().is_loopback())
}

/// Returns the client behind the trusted proxy `proxy`.
fn behind(proxy: IpAddr, headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let last_untrusted = |hops: Vec<Option<IpAddr>>| {
        let mut last = proxy;
        for hop in hops.into_iter().rev() {
            match hop {
                Some(hop) => last = hop,
                // Only a proxy behind this can know it.
                None => return last,
            }
            if !is_trusted(last) {
                return last;
            }
        }
        last
    };
    let forwarded = lines(headers, &FORWARDED, forwarded_hops).map(last_untrusted);
    let x_forwarded_for = lines(headers, &X_FORWARDED_FOR, addresses).map(last_untrusted);
    match (forwarded, x_forwarded_for) {
        (None, None) => proxy,
        (Some(client), None) | (None, Some(client)) => client,
        (Some(client), Some(same)) if client == same => client,
        // One of them is the client's own, and passed on by a proxy that sets the other.
        (Some(_), Some(_)) => proxy,
    }
}

/// Returns the hops of all lines of a header, in order. `None` is a hop that is not known.
fn lines(
    headers: &HeaderMap,
    name: &HeaderName,
    hops: impl Fn(&str) -> Option<Vec<Option<IpAddr>>>,
) -> Option<Vec<Option<IpAddr>>> {
    let lines = headers.get_all(name).iter();
    let hops = lines.map(|line| {
        let hops = line.to_str().ok().and_then(&hops);
        hops.unwrap_or(vec![None])
    });
    headers.contains_key(name).then(|| hops.flatten().collect())
}

/// Reads a line of `X-Forwarded-For`.
fn addresses(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let hops = line.split(',').map(str::trim);
    let hops = hops.filter(|hop| !hop.is_empty());
    Some(hops.map(node).collect())
}

/// Reads a line of `Forwarded` (RFC 7239, section 4); `None` if it is malformed.
fn forwarded_hops(line: &str) -> Option<Vec<Option<IpAddr>>> {
    let mut hops = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let mut hop = None;
        let mut names: Vec<String> = Vec::new();
        loop {
            let pair;
            (pair, rest) = take_pair(rest)?;
            if let Some((name, value)) = pair {
                if name == "for" {
                    hop = node(&value);
                }
                if names.contains(&name) {
                    return None;
                }
                names.push(name);
            }
            match rest.strip_prefix(';') {
                Some(more) => rest = more.trim_start(),
                None => break,
            }
        }
        if !names.is_empty() {
            hops.push(hop);
        }
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(hops)
}

/// A name and its value, unless there is none; and what follows.
type Pair<'a> = (Option<(String, String)>, &'a str);

/// Takes a pair `name=value` off the front; `None` if it is malformed.
fn take_pair(text: &str) -> Option<Pair<'_>> {
    if text.is_empty() || text.starts_with([';', ',']) {
        return Some((None, text));
    }
    let (name, rest) = text.split_once('=')?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return None;
    }
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => take_quoted(quoted)?,
        None => {
            let end = rest.find([';', ',', ' ', '\t']).unwrap_or(rest.len());
            let (value, rest) = rest.split_at(end);
            // RFC 7239 wants the colons of IPv6 and ports in quotes; some proxies write none.
            let is_value = |byte| is_token(byte) || b":[]".contains(&byte);
            if value.is_empty() || !value.bytes().all(is_value) {
                return None;
            }
            (value.to_owned(), rest)
        }
    };
    let rest = rest.trim_start();
    let has_end = rest.is_empty() || rest.starts_with([';', ',']);
    has_end.then(|| (Some((name.to_ascii_lowercase(), value)), rest))
}

/// Takes the rest of a quoted text (RFC 9110, section 5.6.4).
fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, character)) = chars.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

/// A character of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reads the address of a node (RFC 7239, section 6). `None`: it has none, is obfuscated, or
/// malformed.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let port = port.strip_prefix(':').or(port.is_empty().then_some("0"));
            is_port(port?).then_some(())?;
            IpAddr::V6(address.parse().ok()?)
        }
        None => match text.split_once(':') {
            Some((address, port)) if is_port(port) => IpAddr::V4(address.parse().ok()?),
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix('_').unwrap_or(text);
    match text.starts_with('_') {
        true => !digits.is_empty() && digits.bytes().all(is_token),
        false => text.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy on this machine and proxies of a network are trusted.
    fn client(peer: &str, lines: &[(&str, &str)]) -> Client {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            match name == header::HOST {
                true => drop(headers.insert(name, value.parse().unwrap())),
                false => drop(headers.append(name, value.parse().unwrap())),
            }
        }
        let trusted = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"];
        let trusted = trusted.map(|text| Network::parse(text).unwrap());
        Client::of(
            peer.parse().unwrap(),
            &headers,
            &Uri::from_static("/"),
            &trusted,
        )
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        const PROXY: &str = "127.0.0.1:9";
        const XFF: &str = "X-Forwarded-For";
        const FWD: &str = "Forwarded";
        for (peer, lines, address) in [
            // No proxy: the headers are the client's own.
            ("192.0.2.1:9", &[(XFF, "203.0.113.9")][..], "192.0.2.1"),
            ("192.0.2.1:9", &[(FWD, "for=203.0.113.9")], "192.0.2.1"),
            ("[::ffff:192.0.2.1]:9", &[], "192.0.2.1"),
            (PROXY, &[], "127.0.0.1"),
            ("[::ffff:127.0.0.1]:9", &[(XFF, "192.0.2.1")], "192.0.2.1"),
            // X-Forwarded-For.
            (PROXY, &[(XFF, "192.0.2.1")], "192.0.2.1"),
            (PROXY, &[(XFF, "203.0.113.9, 192.0.2.1")], "192.0.2.1"),
            (PROXY, &[(XFF, "192.0.2.1, 10.1.1.1,10.2.2.2")], "192.0.2.1"),
            (
                PROXY,
                &[(XFF, "203.0.113.9"), (XFF, "192.0.2.1, 10.1.1.1")],
                "192.0.2.1",
            ),
            (PROXY, &[(XFF, "192.0.2.1:4711")], "192.0.2.1"),
            (PROXY, &[(XFF, "2001:db8::1")], "2001:db8::1"),
            (PROXY, &[(XFF, "[2001:db8::1]:4711")], "2001:db8::1"),
            (PROXY, &[(XFF, "::ffff:192.0.2.1")], "192.0.2.1"),
            (PROXY, &[(XFF, ", 192.0.2.1, ,")], "192.0.2.1"),
            (PROXY, &[(XFF, "10.1.1.1, 10.2.2.2")], "10.1.1.1"),
            // Malformed: the last proxy that is known.
            (PROXY, &[(XFF, "unknown")], "127.0.0.1"),
            (PROXY, &[(XFF, "192.0.2.1, unknown")], "127.0.0.1"),
            (PROXY, &[(XFF, "192.0.2.1, x, 10.1.1.1")], "10.1.1.1"),
            (PROXY, &[(XFF, "192.0.2.1.5")], "127.0.0.1"),
            (PROXY, &[(XFF, "192.0.2.1:port")], "127.0.0.1"),
            (PROXY, &[(XFF, "fe80::1%eth0")], "127.0.0.1"),
            (PROXY, &[(XFF, "")], "127.0.0.1"),
            (PROXY, &[(XFF, "192.0.2.1 10.1.1.1")], "127.0.0.1"),
            // Forwarded.
            (PROXY, &[(FWD, "for=192.0.2.1")], "192.0.2.1"),
            (
                PROXY,
                &[(FWD, "For=192.0.2.1;proto=http;by=10.0.0.1")],
                "192.0.2.1",
            ),
            (PROXY, &[(FWD, "by=10.0.0.1; for=192.0.2.1")], "192.0.2.1"),
            (
                PROXY,
                &[(FWD, "for=203.0.113.9, for=192.0.2.1")],
                "192.0.2.1",
            ),
            (PROXY, &[(FWD, "for=192.0.2.1, for=10.1.1.1")], "192.0.2.1"),
            (
                PROXY,
                &[(FWD, "for=203.0.113.9"), (FWD, "for=192.0.2.1")],
                "192.0.2.1",
            ),
            (PROXY, &[(FWD, "for=\"[2001:db8::1]:4711\"")], "2001:db8::1"),
            (PROXY, &[(FWD, "for=\"[2001:db8::1]\"")], "2001:db8::1"),
            (PROXY, &[(FWD, "for=[2001:db8::1]")], "2001:db8::1"),
            (PROXY, &[(FWD, "for=\"192.0.2.1:_port\"")], "192.0.2.1"),
            (PROXY, &[(FWD, "for=\"192.0.2.\\1\"")], "192.0.2.1"),
            (
                PROXY,
                &[(FWD, "for=192.0.2.1,,for=10.1.1.1;,")],
                "192.0.2.1",
            ),
            // Nobody, or not as the standard has it.
            (PROXY, &[(FWD, "for=_hidden")], "127.0.0.1"),
            (PROXY, &[(FWD, "for=unknown")], "127.0.0.1"),
            (
                PROXY,
                &[(FWD, "for=192.0.2.1, for=_hidden, for=10.1.1.1")],
                "10.1.1.1",
            ),
            (PROXY, &[(FWD, "for=192.0.2.1, proto=https")], "127.0.0.1"),
            (
                PROXY,
                &[(FWD, "for=203.0.113.9;for=192.0.2.1")],
                "127.0.0.1",
            ),
            (PROXY, &[(FWD, "for=192.0.2.1 for=10.1.1.1")], "127.0.0.1"),
            (PROXY, &[(FWD, "for")], "127.0.0.1"),
            (PROXY, &[(FWD, "for=")], "127.0.0.1"),
            (PROXY, &[(FWD, "192.0.2.1")], "127.0.0.1"),
            // A quote that the client leaves open, for the proxy's part to close.
            (
                PROXY,
                &[(FWD, "for=203.0.113.9;x=\", for=192.0.2.1")],
                "127.0.0.1",
            ),
            (
                PROXY,
                &[(FWD, "for=203.0.113.9;x=\", for=\"[2001:db8::1]\"")],
                "127.0.0.1",
            ),
            (PROXY, &[(FWD, "x=\""), (FWD, "for=192.0.2.1")], "192.0.2.1"),
            // Both headers.
            (
                PROXY,
                &[(FWD, "for=192.0.2.1"), (XFF, "192.0.2.1")],
                "192.0.2.1",
            ),
            (
                PROXY,
                &[(FWD, "for=203.0.113.9"), (XFF, "192.0.2.1")],
                "127.0.0.1",
            ),
            (PROXY, &[(FWD, "nonsense"), (XFF, "192.0.2.1")], "127.0.0.1"),
        ] {
            let found = client(peer, lines);
            assert_eq!(found.address.to_string(), address, "{peer} {lines:?}");
        }
    }

    #[test]
    fn only_a_connection_from_this_machine_that_nobody_has_forwarded_sees_all() {
        let sees = |peer, lines: &[_]| client(peer, lines).sees;
        assert_eq!(sees("127.0.0.2:9", &[]), Sees::All);
        assert_eq!(sees("[::1]:9", &[]), Sees::All);
        assert_eq!(sees("[::ffff:127.0.0.2]:9", &[]), Sees::All);
        assert_eq!(sees("192.0.2.1:9", &[]), Sees::Own);
        let elsewhere = [("host", "files.example.org")];
        assert_eq!(sees("127.0.0.2:9", &elsewhere), Sees::Nothing);
        assert_eq!(sees("192.0.2.1:9", &elsewhere), Sees::Own);
        for header in OF_PROXIES.iter() {
            let line = [(header.as_str(), "192.0.2.9")];
            for peer in ["127.0.0.2:9", "192.0.2.1:9", "10.0.0.1:9"] {
                let is_translated = peer.starts_with("10.") && header == X_FORWARDED_FOR;
                let wanted = match is_translated {
                    true => Sees::Own,
                    false => Sees::Nothing,
                };
                assert_eq!(sees(peer, &line), wanted, "{peer} {header}");
            }
        }
        // A trusted proxy that says nothing.
        assert_eq!(sees("127.0.0.1:9", &[]), Sees::Nothing);
        assert_eq!(
            sees("127.0.0.1:9", &[("x-forwarded-for", "10.0.0.1")]),
            Sees::Nothing
        );
    }

    #[test]
    fn a_local_program_names_this_machine() {
        let names_it = |host: Option<&str>, uri: &str| {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(header::HOST, host.parse().unwrap());
            }
            is_local_host(&headers, &uri.parse().unwrap())
        };
        for host in [
            "localhost",
            "LocalHost:80",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
        ] {
            assert!(names_it(Some(host), "/"), "{host}");
            assert!(names_it(None, &format!("http://{host}/")), "{host}");
        }
        for host in [
            "",
            "example.org",
            "localhost.example.org",
            "192.0.2.1",
            "[2001:db8::1]",
        ] {
            assert!(!names_it(Some(host), "/"), "{host}");
        }
        assert!(!names_it(None, "/"));
        assert!(!names_it(Some("localhost"), "http://example.org/"));
    }

    #[test]
    fn a_client_is_counted_by_its_address_or_its_network() {
        for (peer, key) in [
            ("192.0.2.1:9", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:9", "192.0.2.1"),
            ("[2001:db8:1:2:3:4:5:6]:9", "2001:db8:1:2::/64"),
            ("[2001:db8:1:2::]:9", "2001:db8:1:2::/64"),
            ("[2001:db8:1:3::1]:9", "2001:db8:1:3::/64"),
        ] {
            assert_eq!(client(peer, &[]).key().to_string(), key, "{peer}");
        }
    }
}
