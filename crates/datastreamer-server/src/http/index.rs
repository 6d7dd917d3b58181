//! The index page: what is served, and how to download it.

use std::sync::LazyLock;

use axum::http::{HeaderName, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use indicatif::HumanBytes;
use maud::{Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};

use crate::{
    escapes::encode,
    site::routes::{Route, RouteTable, suffixes},
    sources::ShownColumn,
};

/// 200 files on a page, some 300 kB: a page is made in memory for each request, on the event loop. A
/// link leads to the next ones.
const FILES_MAX: usize = 200;
/// 2,000 columns on a page, of all of its tables together, for the same reason: some 200 kB.
const COLUMNS_MAX: usize = 2_000;

/// What browsers may load for the page: its own style, which its hash names, and nothing else. A name
/// or a description that is not escaped right does nothing then.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
});

pub(super) const DOCTYPE: PreEscaped<&str> = PreEscaped("<!doctype html>\n");
pub(super) const STYLE: &str = "\
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

/// Returns the headers of the page beside its type.
pub(crate) fn headers() -> [(HeaderName, &'static str); 3] {
    [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ]
}

/// Makes the page of the files from the one at this place on; `host` is how the client names this
/// server, `last_bytes` what a file had when it was last sent.
pub(crate) fn page(
    routes: &RouteTable,
    from: usize,
    host: &str,
    last_bytes: impl Fn(&str) -> Option<u64>,
) -> String {
    let mut columns_left = COLUMNS_MAX;
    let next = from.saturating_add(FILES_MAX);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                // Without one browsers ask for /favicon.ico.
                link rel="icon" href="data:,";
                title { "datastreamer" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Files, made as you ask" }
                    p {
                        "Each is produced while you download it. A download that ends without an "
                        "error is complete."
                    }
                    ul {
                        @for (file_name, route) in routes.iter().skip(from).take(FILES_MAX) {
                            (item(file_name, route, host, last_bytes(file_name), &mut columns_left))
                        }
                    }
                    @if routes.iter().nth(next).is_some() {
                        p { a href={ "/?from=" (next) } { "more files" } }
                    }
                    footer {
                        a href="/transfers" { "transfers" }
                        " · "
                        a href="/healthz" { "health" }
                        " · datastreamer " (env!("CARGO_PKG_VERSION"))
                    }
                }
            }
        }
    };
    page.into_string()
}

fn item(
    file_name: &str,
    route: &Route,
    host: &str,
    last_bytes: Option<u64>,
    columns_left: &mut usize,
) -> Markup {
    let shown = route.source.columns(*columns_left);
    *columns_left = columns_left.saturating_sub(shown.len());
    let link = format!("{}{}", route.url_part(), route.source.example_query());
    let size = match last_bytes.filter(|_| !route.source.is_as_long_as_asked()) {
        Some(bytes) => format!("{} the last time", HumanBytes(bytes)),
        None => route.source.size_hint().to_owned(),
    };
    html! {
        li {
            a href={ "/" (link) } { (file_name) }
            div class="hint" {
                @if let Some(description) = &route.description { (description) " · " }
                (size) " · "
                @if route.gives_rows() { "as " (forms(route)) } @else { (route.media_type()) }
            }
            code { "curl -fOJ 'http://" (host) "/" (link) "'" }
            (columns(&shown, route.source.column_count()))
        }
    }
}

/// Links to a table in each format.
fn forms(route: &Route) -> Markup {
    let query = route.source.example_query();
    let name = encode(route.name());
    html! {
        @for (at, suffix) in suffixes().enumerate() {
            @if at > 0 { " " }
            a href={ "/" (name) "." (suffix) (query) } { (suffix) }
        }
    }
}

/// What a table's columns are: the first of them, if they are many.
fn columns(columns: &[ShownColumn], count: usize) -> Markup {
    html! {
        @if count > 0 {
            details {
                summary { (count) " columns" }
                table {
                    thead {
                        tr {
                            th { "name" }
                            th { "type" }
                            th { "unit" }
                            th { "description" }
                        }
                    }
                    tbody {
                        @for column in columns {
                            tr {
                                td { (column.name) }
                                td { (column.data_type) }
                                td { (column.unit) }
                                td { (column.description) }
                            }
                        }
                    }
                }
                @if count > columns.len() {
                    p { "and " (count - columns.len()) " more" }
                }
            }
        }
    }
}
