//! The origins of pages whose scripts may read the files. `http/cors.rs` tells browsers.

use http::HeaderValue;
use url::{Origin, Url};

/// All origins, as it is written.
const ANY: &str = "*";

/// Which pages of other origins may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cors {
    /// None: browsers let only pages of the server itself read.
    Off,
    Any,
    /// In the form in which browsers send them.
    Origins(Vec<HeaderValue>),
}

impl Cors {
    /// `check.rs` lets no other texts through than those that are origins.
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let texts: Vec<_> = texts.collect();
        if texts.contains(&ANY) {
            return Self::Any;
        }
        let origins = texts.into_iter().map(HeaderValue::from_str);
        match origins.flatten().collect::<Vec<_>>() {
            none if none.is_empty() => Self::Off,
            origins => Self::Origins(origins),
        }
    }

    /// Returns whether a text is `*`, or an origin in the form in which browsers send it (RFC 6454, 6.2):
    /// in lower case, without the port that the scheme has anyway, without a path. Others would match
    /// nothing. `null` is the origin of every sandboxed page, so it is none.
    pub(super) fn is_origin(text: &str) -> bool {
        let is_as_sent = |origin: Origin| origin.is_tuple() && origin.ascii_serialization() == text;
        if text.contains('*') {
            return text == ANY; // The standard of URLs takes it for a name of a host.
        }
        Url::parse(text).is_ok_and(|url| is_as_sent(url.origin()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_as_browsers_send_it() {
        for good in [
            "*",
            "https://example.org",
            "http://localhost:8000",
            "http://[::1]:8000",
            "http://127.0.0.1",
            "https://xn--fr-xka.example",
        ] {
            assert!(Cors::is_origin(good), "{good}");
        }
        for wrong in [
            "",
            "null",
            "example.org",
            "https://example.org/",
            "https://Example.org",
            "https://example.org:443",
            "https://f\u{fc}r.example",
            "https://*.example.org",
            "https://a@example.org",
            "file:///tmp",
            "data:text/html,x",
            "https://a.example https://b.example",
        ] {
            assert!(!Cors::is_origin(wrong), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_off_and_a_star_is_everything() {
        assert_eq!(Cors::new([].into_iter()), Cors::Off);
        assert_eq!(Cors::new(["https://a.example", "*"].into_iter()), Cors::Any);
        let one = vec![HeaderValue::from_static("https://a.example")];
        let origins = Cors::new(["https://a.example"].into_iter());
        assert_eq!(origins, Cors::Origins(one));
    }
}
