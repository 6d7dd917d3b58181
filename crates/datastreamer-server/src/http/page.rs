//! What all pages share: their frame, their style, and what browsers may load for them.

use std::sync::LazyLock;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, header},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use maud::{Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};

/// What browsers may load for a page: its own style, which its hash names, and nothing else. A name
/// or a description that is not escaped right does nothing then.
static POLICY: LazyLock<String> = LazyLock::new(|| policy(STYLE, "'none'"));

fn policy(style: &str, form_action: &str) -> String {
    let hash = BASE64_STANDARD.encode(digest(&SHA256, style.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; \
         form-action {form_action}; frame-ancestors 'none'"
    )
}

const DOCTYPE: PreEscaped<&str> = PreEscaped("<!doctype html>\n");
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5b6572;--line:#d9dee5;--card:#fff;--page:#f5f7f9;--mark:#0b66c3}\
@media(prefers-color-scheme:dark){:root{--ink:#e8ebef;--soft:#9aa5b1;--line:#30363d;--card:#161b22;--page:#0d1117;--mark:#6cb6ff}}\
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:52rem;margin:0 auto;padding:2.5rem 1.25rem}h1{font-size:1.6rem;margin:0}\
p{margin:.35rem 0 1.5rem;color:var(--soft)}ul{list-style:none;margin:0;padding:0}\
li{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.25rem;margin:0 0 1rem}\
a{color:var(--mark);text-decoration:none}a:hover{text-decoration:underline}li>a{font-size:1.15rem;font-weight:600}\
.hint{color:var(--soft);margin:.15rem 0 .6rem}code{display:block;overflow-x:auto;white-space:pre;\
background:var(--page);border-radius:6px;padding:.5rem .75rem;font:.85rem/1.5 ui-monospace,monospace}\
details{margin-top:.6rem;overflow-x:auto}summary{color:var(--soft);cursor:pointer}\
table{border-collapse:collapse;font-size:.9rem;margin-top:.4rem}\
th,td{text-align:left;padding:.15rem .9rem .15rem 0;border-bottom:1px solid var(--line)}\
footer{color:var(--soft);font-size:.9rem;margin-top:2rem}";

/// Returns the headers of a page beside its type.
pub(super) fn headers() -> [(HeaderName, &'static str); 3] {
    [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ]
}

/// Returns the headers of the page of a table, which has a style and a form of its own.
pub(super) fn headers_of_table(style: &str) -> [(HeaderName, HeaderValue); 3] {
    // A hash in base64 is of visible characters.
    let policy = HeaderValue::try_from(policy(style, "'self'"));
    let [_, no_sniffing, no_referrer] = headers();
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let fixed = |(name, value)| (name, HeaderValue::from_static(value));
    [
        (header::CONTENT_SECURITY_POLICY, policy),
        fixed(no_sniffing),
        fixed(no_referrer),
    ]
}

/// Returns the headers of a page with a form in the frame of all pages.
#[cfg(feature = "tables")]
pub(super) fn headers_of_form() -> [(HeaderName, HeaderValue); 3] {
    headers_of_table(STYLE)
}

/// Puts a page in the place of a problem, whose status stays. The client has said that it prefers HTML.
pub(super) fn replace(
    response: &mut Response<Body>,
    page: String,
    of_page: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) {
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    let html = HeaderValue::from_static("text/html;charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    headers.extend(of_page);
    *response.body_mut() = Body::from(page);
}

/// Makes a page of its title, what else its head has, and what it shows.
pub(super) fn frame(title: &str, head: Markup, main: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                (head)
                // Without one browsers ask for /favicon.ico.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (main) } }
        }
    };
    page.into_string()
}
