//! The index page: what is served, and how to download it.

use indicatif::HumanBytes;
use maud::{Markup, html};

use crate::{
    escapes::encode,
    http::page,
    site::routes::{Route, RouteTable, suffixes},
    sources::ShownColumn,
};

/// 200 files on a page, some 300 kB: a page is made in memory for each request, on the event loop. A
/// link leads to the next ones.
const FILES_MAX: usize = 200;
/// 2,000 columns on a page, of all of its tables together, for the same reason: some 200 kB.
const COLUMNS_MAX: usize = 2_000;

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
    let main = html! {
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
    };
    page::frame("datastreamer", html! {}, main)
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
            (tables(route))
            (columns(&shown, route))
        }
    }
}

/// Links to a table in each format that holds it.
fn forms(route: &Route) -> Markup {
    let query = route.source.example_query();
    let name = encode(route.name());
    html! {
        @for (at, suffix) in suffixes().filter(|suffix| route.source.is_had_as(suffix)).enumerate() {
            @if at > 0 { " " }
            a href={ "/" (name) "." (suffix) (query) } { (suffix) }
        }
    }
}

/// Links to the tables of a file that has several.
fn tables(route: &Route) -> Markup {
    let tables = route.source.tables();
    let name = encode(route.name());
    html! {
        @if tables.len() > 1 {
            details {
                summary { (tables.len()) " tables of the file" }
                table {
                    thead {
                        tr {
                            th { "HDU" }
                            th { "name" }
                            th { "size" }
                            th { "as" }
                        }
                    }
                    tbody {
                        @for table in &tables {
                            tr {
                                td { (table.hdu) }
                                td { (table.name) }
                                td { (table.size) }
                                td {
                                    @for suffix in suffixes().filter(|_| table.is_served) {
                                        a href={ "/" (name) "." (suffix) "?hdu=" (table.hdu) } { (suffix) }
                                        " "
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a table's columns are: the first of them, if they are many.
fn columns(columns: &[ShownColumn], route: &Route) -> Markup {
    let count = route.source.column_count();
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
                @if let Some(example) = route.source.example_narrowing() {
                    p {
                        "Columns, rows and their order can be asked for: "
                        a href={ "/" (encode(route.name())) ".html" (example) } rel="nofollow" {
                            (example)
                        }
                    }
                }
            }
        }
    }
}
