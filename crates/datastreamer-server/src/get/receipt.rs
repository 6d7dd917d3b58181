//! The receipt of a download: where `Link: <...>; rel="status"` leads, a server tells how the stream
//! ended and why, its digests, and whether a limit has cut its rows. A server without one is no failure.

use std::{collections::BTreeMap, time::Duration};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, LINK},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use url::Url;

use super::{digest::Digests, failure::harmless, request::Client};

/// The receipt is written when the last byte has left the server, which may be a moment after it
/// has arrived.
const ATTEMPTS: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(300);

/// For all attempts.
const LIMIT: Duration = Duration::from_secs(15);

/// For all attempts to learn why a download has failed: it has failed without that, too.
const REASON_LIMIT: Duration = Duration::from_secs(5);

/// What is shown of a reason.
const SHOWN_CHARS_MAX: usize = 1000;

/// A receipt has some hundred bytes.
const RECEIPT_BYTES_MAX: usize = 64 * 1024;

/// What the receipt of a complete file has.
#[derive(Deserialize)]
struct Receipt {
    #[serde(default)]
    digests: BTreeMap<String, String>,
    capped: Option<bool>,
}

/// What the receipt of a complete file says.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) digests: Digests,
    /// Whether a limit has cut its rows; `None` if the server does not say.
    pub(crate) is_cut: Option<bool>,
}

/// Returns the URL of the receipt of a response (RFC 8288).
pub(crate) fn link(headers: &HeaderMap, url: &Url) -> Option<Url> {
    let values = headers.get_all(LINK).iter();
    let mut values = values.filter_map(|value| value.to_str().ok());
    let target = values.find_map(status_target)?;
    let link = url.join(target).ok()?;
    let is_downgrade = url.scheme() == "https" && link.scheme() != "https";
    (matches!(link.scheme(), "http" | "https") && !is_downgrade).then_some(link)
}

/// Asks for the receipt; returns what it says if the file is complete.
pub(crate) async fn ask(client: &Client, link: &Url) -> Option<Told> {
    let receipt = timeout(LIMIT, ask_until_ended(client, link)).await.ok()??;
    if receipt["state"] != "complete" {
        return None;
    }
    let receipt: Receipt = serde_json::from_value(receipt).ok()?;
    let mut digests = Digests::default();
    let each = receipt.digests.iter();
    each.for_each(|(name, text)| digests.insert_base64(name, text));
    Some(Told {
        digests,
        is_cut: receipt.capped,
    })
}

/// Asks for the receipt of a file that was broken off; returns the reason of the server, if it has one.
pub(crate) async fn reason(client: &Client, link: &Url) -> Option<String> {
    let ended = timeout(REASON_LIMIT, ask_until_ended(client, link));
    let receipt = ended.await.ok()??;
    // A connection that something in between has broken is a client that has left: no reason.
    if receipt["state"] == "complete" || receipt["outcome"] == "client_gone" {
        return None;
    }
    let reason = receipt["reason"].as_str()?.trim();
    let shown: String = reason.chars().take(SHOWN_CHARS_MAX).collect();
    (!shown.is_empty()).then(|| harmless(&shown))
}

/// Returns the receipt of a transfer that has ended.
async fn ask_until_ended(client: &Client, link: &Url) -> Option<Value> {
    let json = HeaderValue::from_static("application/json");
    let headers = HeaderMap::from_iter([(ACCEPT, json)]);
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            sleep(BETWEEN).await;
        }
        let answer = client.get(link.clone(), &headers).await.ok()?;
        if answer.status != StatusCode::OK {
            return None;
        }
        let text = answer.body.read_short(RECEIPT_BYTES_MAX, LIMIT).await;
        let receipt: Value = serde_json::from_slice(&text).ok()?;
        if matches!(
            receipt["state"].as_str()?,
            "complete" | "cancelled" | "failed"
        ) {
            return Some(receipt);
        }
    }
    None
}

/// Finds the target with the relation `status` among links: `</a>; rel="x", </b>; rel=status`.
fn status_target(value: &str) -> Option<&str> {
    let mut rest = value;
    while let Some((_, behind)) = rest.split_once('<') {
        let (target, behind) = behind.split_once('>')?;
        // The next link begins behind a comma that is outside of quotes.
        let mut quoted = false;
        let end = behind.find(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        });
        let (parameters, next) = behind.split_at(end.unwrap_or(behind.len()));
        let is_status = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|it| it.eq_ignore_ascii_case("status"))
        });
        if is_status {
            return Some(target);
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_to_the_receipt_is_found_among_others() {
        let url = Url::parse("https://host/a/b").unwrap();
        for (value, found) in [
            ("</t/1>; rel=\"status\"", Some("https://host/t/1")),
            ("<t/1>;rel=status", Some("https://host/a/t/1")),
            (
                "</x>; title=\"a, b\"; rel=next, </t>; rel=\"up Status\"",
                Some("https://host/t"),
            ),
            ("<https://other/t>; REL=status", Some("https://other/t")),
            ("<http://host/t>; rel=status", None),
            ("<file:///etc/passwd>; rel=status", None),
            ("</x>; rel=statuses", None),
            ("</x", None),
        ] {
            let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_static(value))]);
            let expected = found.map(|found| Url::parse(found).unwrap());
            assert_eq!(link(&headers, &url), expected, "{value}");
        }
    }
}
