//! What a receipt is: its identity, which nobody can guess, and the JSON that whoever knows it may read.
//!
//! `transfers.rs` keeps what it is made of; `receipts.rs` and `events.rs` send it. It owns no storage.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use datastreamer_spool::{Digests, Production, State};
use http::HeaderValue;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// The identity of a receipt: 128 random bits. That of a stream would not do: whoever has one of these
/// can compute those of the streams before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptId(u128);

impl ReceiptId {
    /// Draws an identity; `None` if the system has no random numbers.
    pub(crate) fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        let drawn = SystemRandom::new().fill(&mut bytes);
        drawn.ok().map(|()| Self(u128::from_be_bytes(bytes)))
    }

    /// Reads what `Display` writes; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_id = text.len() == 32 && text.bytes().all(is_digit);
        let number = is_id.then(|| u128::from_str_radix(text, 16));
        number.and_then(Result::ok).map(Self)
    }

    /// The path of the receipt.
    pub(crate) fn path(self) -> String {
        format!("/transfers/{self}")
    }

    /// The link of a response to its receipt (RFC 8288).
    pub(crate) fn link(self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("<{}>; rel=\"status\"", self.path())).ok()
    }
}

impl fmt::Display for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A receipt at one moment.
pub(crate) struct Receipt {
    pub(crate) value: Value,
    /// Closes when the transfer has ended; `None` if it has.
    pub(crate) running: Option<watch::Receiver<()>>,
}

/// What proves that a client has the bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    etag: String,
    digests: Digests,
}

impl Proof {
    /// That of a production; `None` unless all of its bytes are there.
    pub(crate) fn of(production: &Production) -> Option<Self> {
        if matches!(production.state(), State::Failed(_)) {
            return None;
        }
        Some(Self {
            etag: production.etag().to_string(),
            digests: production.digests()?,
        })
    }

    fn digests(&self) -> Value {
        let blake3 = self.digests.blake3.iter();
        let blake3: String = blake3.map(|byte| format!("{byte:02x}")).collect();
        json!({
            "sha-256": BASE64_STANDARD.encode(self.digests.sha256),
            "blake3": blake3,
        })
    }
}

/// The fields that a receipt has of a transfer as `/transfers` shows it.
const FIELDS: [&str; 14] = [
    "route",
    "request",
    "started",
    "seconds",
    "bytes",
    "bytes_expected",
    "rows",
    "members",
    "rows_expected",
    "blocked_on",
    "blocked_on_source_seconds",
    "blocked_on_consumer_seconds",
    "outcome",
    "capped",
];

/// Makes the JSON of a receipt. `shown` is the transfer as `/transfers` shows it, `reason` the text
/// for its client, `file` the URL of a file that is made for later.
pub(crate) fn receipt(
    id: &str,
    shown: &Value,
    reason: Option<String>,
    proof: Option<&Proof>,
    file: Option<&str>,
) -> Value {
    let mut fields = Map::new();
    fields.insert("id".into(), id.into());
    fields.insert("state".into(), state(shown).into());
    for name in FIELDS {
        if let Some(value) = shown.get(name) {
            fields.insert(name.into(), value.clone());
        }
    }
    fields.insert("reason".into(), reason.into());
    fields.insert("etag".into(), proof.map(|it| it.etag.as_str()).into());
    fields.insert(
        "digests".into(),
        proof.map_or_else(|| json!({}), Proof::digests),
    );
    if let Some(file) = file {
        fields.insert("file".into(), file.into());
    }
    fields.into()
}

fn state(shown: &Value) -> &'static str {
    match (shown["outcome"].as_str(), shown["blocked_on"].as_str()) {
        (None, Some("admission")) => "waiting",
        (None, _) => "running",
        (Some("complete" | "capped"), _) => "complete",
        (Some("cancelled"), _) => "cancelled",
        (Some(_), _) => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_back_and_nothing_else_is() {
        let id = ReceiptId::random().unwrap();
        assert_eq!(ReceiptId::parse(&id.to_string()), Some(id));
        assert_ne!(ReceiptId::random(), Some(id));
        let short = ReceiptId(1);
        assert_eq!(ReceiptId::parse(&short.to_string()), Some(short));
        let digits = id.to_string();
        for wrong in [
            "",
            &digits[1..],
            &format!("{digits}0"),
            &format!("+{}", &digits[1..]),
            "ABCDEF00ABCDEF00ABCDEF00ABCDEF00",
        ] {
            assert_eq!(ReceiptId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_file_that_a_limit_has_cut_is_complete_and_says_so() {
        let shown = json!({
            "outcome": "capped", "capped": true, "rows": 10, "peer": "192.0.2.1:9",
        });
        let capped = receipt("1", &shown, None, None, None);
        assert_eq!(
            (&capped["state"], &capped["capped"]),
            (&json!("complete"), &json!(true))
        );
        assert_eq!(
            (&capped["rows"], &capped["peer"]),
            (&json!(10), &Value::Null)
        );
    }

    #[test]
    fn a_state_says_whether_the_file_is_complete() {
        let cases = [
            (json!(null), "admission", "waiting"),
            (json!(null), "source", "running"),
            (json!("complete"), "nobody", "complete"),
            (json!("capped"), "nobody", "complete"),
            (json!("cancelled"), "nobody", "cancelled"),
            (json!("client_gone"), "nobody", "failed"),
            (json!("refused"), "nobody", "failed"),
        ];
        for (outcome, blocked_on, expected) in cases {
            let shown = json!({ "outcome": outcome, "blocked_on": blocked_on });
            assert_eq!(state(&shown), expected, "{outcome}");
        }
    }
}
