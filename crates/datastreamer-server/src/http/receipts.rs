//! `/transfers/ID`: the receipt of one transfer, as JSON and as a page, and its cancellation.
//!
//! `respond.rs` routes here; `transfers.rs` finds the transfer. Whoever knows the identity of a receipt
//! may read it; only the client of the transfer, or a program on this machine, may cancel.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
    response::{Html, IntoResponse},
    routing::{MethodRouter, get},
};
use indicatif::HumanBytes;
use maud::{Markup, html};
use serde_json::Value;

use crate::{
    http::{
        page,
        receipt::Receipt,
        respond::{App, client_of, only, refuse},
        transfers::{Cancel, Name},
    },
    refusal::Refusal,
};

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const METHODS: &str = "GET, HEAD, DELETE";

/// How often the page of a running transfer asks again, in seconds: as fast as people read figures.
const REFRESH_SECONDS: u32 = 2;

/// Answers GET, HEAD and DELETE.
pub(crate) fn methods() -> MethodRouter<Arc<App>> {
    get(show)
        .delete(cancel)
        .fallback(async || refuse(only(METHODS)))
}

/// The name of a transfer in a path below `/transfers`.
pub(super) fn name_in(path: &str) -> Name {
    let name = path.split('/').nth(2);
    Name::parse(name.unwrap_or_default())
}

pub(super) fn unknown() -> Refusal {
    let text = "there is no such transfer; receipts are kept for some time only";
    Refusal::new(StatusCode::NOT_FOUND, text)
}

async fn show(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    let client = client_of(&app.site(), &request);
    let name = name_in(request.uri().path());
    let Some(receipt) = app.transfers.receipt(&name, client) else {
        return refuse(unknown());
    };
    let mut response = match prefers_html(request.headers()) {
        true => (page::headers(), Html(show_page(&receipt))).into_response(),
        false => Json(receipt.value).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

async fn cancel(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    // Browsers ask before they send DELETE to another site, and get no permission; this holds for those
    // that do not ask.
    if is_of_another_site(request.headers()) {
        let text = "a page of another site may not cancel a transfer";
        return refuse(Refusal::new(StatusCode::FORBIDDEN, text));
    }
    let client = client_of(&app.site(), &request);
    let name = name_in(request.uri().path());
    match app.transfers.cancel(&name, client) {
        Cancel::Done => StatusCode::NO_CONTENT.into_response(),
        Cancel::Unknown => refuse(unknown()),
        Cancel::Forbidden => {
            let text = "only the client of a transfer may cancel it, or a program on the server";
            refuse(Refusal::new(StatusCode::FORBIDDEN, text))
        }
        Cancel::HasEnded => {
            let text = "the transfer has ended already";
            refuse(Refusal::new(StatusCode::CONFLICT, text))
        }
    }
}

/// Returns whether the request is for a page of another origin than the server (RFC 6454, 7). Browsers
/// leave Fetch Metadata out where the server is reached without TLS, and send this.
fn is_of_another_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let of_origin = origin.split_once("://").map(|(_, host)| host);
    of_origin.is_none() || of_origin != host
}

/// Returns whether a browser sends the request for a page of another site (Fetch Metadata, 2.3).
fn is_of_another_site(headers: &HeaderMap) -> bool {
    let sites = headers.get_all(&SEC_FETCH_SITE).iter();
    let mut sites = sites.map(HeaderValue::as_bytes);
    is_of_another_origin(headers) || sites.any(|site| site != b"same-origin" && site != b"none")
}

/// Returns whether HTML is preferred to JSON (RFC 9110, 12.5.1): browsers name it, programs do not.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT).iter();
    let accepted: Vec<_> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(media_range)
        .collect();
    let weight = |ranges: [&str; 3]| {
        let of = |range: &&str| accepted.iter().find(|(name, _)| name == range);
        // The most specific one counts.
        ranges
            .iter()
            .find_map(of)
            .map_or(0.0, |(_, weight)| *weight)
    };
    weight(["text/html", "text/*", "*/*"]) > weight(["application/json", "application/*", "*/*"])
}

/// Reads a media range and its weight; `None` if the weight is malformed.
fn media_range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let weight = weight.map_or(Ok(1.0), str::parse);
    Some((name, weight.ok()?))
}

/// Makes the page of a receipt. It needs no script: it is loaded again while the transfer runs.
fn show_page(receipt: &Receipt) -> String {
    let value = &receipt.value;
    let text = |name: &str| value[name].as_str();
    let route = text("route").unwrap_or_default();
    let title = format!("{} · {route}", text("state").unwrap_or_default());
    let head = html! {
        @if receipt.running.is_some() {
            meta http-equiv="refresh" content=(REFRESH_SECONDS);
        }
    };
    let main = html! {
        h1 { (route) }
        p { (summary(value)) }
        ul { li { (table(value)) } }
        @if let Some(file) = text("file") {
            p { a href=(file) { "the file" } }
        }
        footer { a href="/" { "files" } " · " a href="/transfers" { "transfers" } }
    };
    page::frame(&title, head, main)
}

/// The state in words.
fn summary(value: &Value) -> Markup {
    let bytes = value["bytes"].as_u64().unwrap_or_default();
    let expected = value["bytes_expected"].as_u64();
    let is_capped = value["capped"].as_bool() == Some(true);
    html! {
        (value["state"].as_str().unwrap_or_default()) ": " (HumanBytes(bytes))
        @if let Some(expected) = expected { " of " (HumanBytes(expected)) }
        @if is_capped { " · not all rows: a limit has cut them" }
        @if let Some(reason) = value["reason"].as_str() { " · " (reason) }
    }
}

fn table(value: &Value) -> Markup {
    let fields = value.as_object().into_iter().flatten();
    let digests = value["digests"].as_object().into_iter().flatten();
    let fields = fields.chain(digests);
    let shown = fields.filter(|(_, value)| !value.is_null() && !value.is_object());
    html! {
        table {
            @for (name, value) in shown {
                tr {
                    th { (name.replace('_', " ")) }
                    td {
                        @match value.as_str() {
                            Some(text) => (text),
                            None => (value.to_string()),
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_a_page_and_a_program_json() {
        const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, is_page) in [
            (&[BROWSER][..], true),
            (&["text/html"], true),
            (&["application/json;q=0.5", "text/*"], true),
            (&["*/*;q=0.1", "text/html;level=1;q=0.2"], true),
            (&["*/*"], false),
            (&["application/json"], false),
            (&["text/html, application/json"], false),
            (&["text/html;q=0"], false),
            (&["text/html;q=x"], false),
            (&["text/event-stream"], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in accept {
                headers.append(header::ACCEPT, HeaderValue::from_static(line));
            }
            assert_eq!(prefers_html(&headers), is_page, "{accept:?}");
        }
    }

    #[test]
    fn a_page_shows_what_a_request_contains_as_text() {
        let value = serde_json::json!({
            "state": "failed", "route": "<b>", "request": "/<script>alert(1)</script>",
            "reason": "<i>", "bytes": 5, "digests": { "sha-256": "AAA=" },
        });
        let shown = show_page(&Receipt {
            value,
            running: None,
        });
        assert!(!shown.contains("<script>") && !shown.contains("<b>") && !shown.contains("<i>"));
        assert!(shown.contains("AAA=") && !shown.contains("refresh"));
    }
}
