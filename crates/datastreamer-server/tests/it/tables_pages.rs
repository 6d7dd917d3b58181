//! The pages of tables for people: links to other rows, orders and filters, and what they say of the rows.

use std::fs;
use std::time::Duration;

use datastreamer_testkit::Postgres;

use crate::support::chromium::{Chromium, Way};
use crate::support::clients::Report;
use crate::support::http::{self, End};
use crate::support::pages::{cells, links, note};
use crate::support::program::{self, Daemon};
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::tables::{self, STARS};

/// A file that was changed a moment ago may change once more without a trace, so it has no tag yet.
const SETTLING: Duration = Duration::from_millis(3200);

fn serve_stars(scratch: &Scratch) -> Server {
    Server::start([tables::stars(scratch.path(), "stars", STARS)])
}

#[track_caller]
fn get(port: u16, path: &str) -> String {
    let page = http::get(port, path);
    assert_eq!((page.status, page.end), (200, End::Whole), "{path}");
    // These are never closed.
    let closed = page.text().replace("<input", "<!input").replace("<br>", "");
    crate::pages::assert_balanced(&closed);
    page.text().to_owned()
}

#[test]
fn a_reader_clicks_through_a_table_in_chromium() {
    let scratch = Scratch::new("click");
    let server = serve_stars(&scratch);
    let url = server.url("/stars.html?limit=100");
    let report = Chromium::running().get(Way::ClickThrough, &url, "".as_ref());
    assert!(matches!(report, Report::Success), "{report:?}");
}

#[test]
fn the_page_of_a_table_loads_nothing_but_its_style_and_may_send_its_form() {
    let scratch = Scratch::new("policy");
    let server = serve_stars(&scratch);
    let page = http::get(server.port(), "/stars.html");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(policy.contains("form-action 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(!page.text().contains("<script") && !page.text().contains(" style="));
    let report = Chromium::running().get(Way::View, &server.url("/stars.html"), "".as_ref());
    assert!(matches!(report, Report::Success), "{report:?}");
}

#[test]
fn the_pages_of_a_narrowed_table_have_each_row_once_in_its_order() {
    let scratch = Scratch::new("each-once");
    let server = serve_stars(&scratch);
    let port = server.port();
    let narrowed = "select=source_id,brightness:g_mag&dec=gt.0&order=g_mag.desc&limit=700";
    let mut path = format!("/stars.html?{narrowed}");
    let mut found = Vec::new();
    loop {
        let page = get(port, &path);
        found.extend(cells(&page));
        let next = links(&page).into_iter().find(|link| link.text == "next");
        let Some(next) = next else {
            let rows = found.len() / 2;
            let last = rows - (rows - 1) % 700;
            assert_eq!(note(&page), format!("Rows {last} to {rows} of {rows}."));
            break;
        };
        path = format!("/stars.html{}", next.href);
    }
    let csv = http::get(
        port,
        &format!("/stars.csv?{}", narrowed.replace("&limit=700", "")),
    );
    let wanted = csv.text().lines().skip(1).flat_map(|line| line.split(','));
    assert!(found.iter().map(String::as_str).eq(wanted));
    assert!(found.len() > 2 * 1400);
}

#[test]
fn a_page_says_which_of_how_many_rows_it_has_and_who_has_cut_it() {
    let scratch = Scratch::new("counts");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let routes = format!(
        "[sql]\nenabled = true\n\
         [routes.all]\nkind = \"table\"\npath = {file:?}\n\
         [routes.capped]\nkind = \"table\"\npath = {file:?}\nmax_rows = 150\n\
         [routes.refusing]\nkind = \"table\"\npath = {file:?}\nmax_rows = 150\non_more = \"refuse\"\n\
         [routes.query]\nkind = \"query\"\nsql = 'SELECT * FROM \"all\" LIMIT 20'\n\
         [routes.every]\nkind = \"query\"\nsql = 'SELECT * FROM \"all\"'\n"
    );
    let daemon = Daemon::start(&routes);
    let port = daemon.port();
    let server = "(the limit of the server is 150 rows)";
    for (path, wanted) in [
        ("/all.html", "Rows 1 to 1000 of 9000.".to_owned()),
        ("/all.html?offset=8500", "Rows 8501 to 9000 of 9000.".into()),
        ("/all.html?offset=8999&order=ra", "Row 9000 of 9000.".into()),
        (
            "/all.html?offset=4000&order=ra",
            "Rows 4001 to 5000 of 9000.".into(),
        ),
        (
            "/all.html?offset=9000",
            "No rows behind row 9000: there are 9000.".into(),
        ),
        ("/all.html?dec=gt.100", "No rows.".into()),
        (
            "/all.html?limit=20&offset=20",
            "Rows 21 to 40 of 9000 (the limit of the request is 20 rows).".into(),
        ),
        (
            "/all.html?dec=gt.0",
            "Rows 1 to 1000 of a table that has more.".into(),
        ),
        (
            "/all.html?or=(dec.gt.0,ra.lt.10)",
            "Rows 1 to 1000 of a table that has more.".into(),
        ),
        ("/capped.html", format!("Rows 1 to 150 of 9000 {server}.")),
        (
            "/capped.html?offset=150&dec=gt.0",
            format!("Rows 151 to 300 of a table that has more {server}."),
        ),
        (
            "/capped.html?limit=20",
            "Rows 1 to 20 of 9000 (the limit of the request is 20 rows).".into(),
        ),
        ("/query.html", "Rows 1 to 20 of 20.".into()),
        ("/query.html?offset=15", "Rows 16 to 20 of 20.".into()),
        (
            "/every.html?limit=5",
            "Rows 1 to 5 of 9000 (the limit of the request is 5 rows).".into(),
        ),
        (
            "/query.html?limit=5",
            "Rows 1 to 5 of 20 (the limit of the request is 5 rows).".into(),
        ),
    ] {
        assert_eq!(note(&get(port, path)), wanted, "{path}");
    }
    http::get(port, "/refusing.html").problem(422);
    // What a route does not take is not offered.
    let page = get(port, "/sql.html?query=SELECT+1");
    assert!(!page.contains("<form") && links(&page).is_empty(), "{page}");
    assert!(get(port, "/sql.html?query=SELECT+1").contains("<title>sql</title>"));
    assert!(get(port, "/query.html").contains("<title>"));
}

#[test]
fn the_pages_of_a_query_have_each_row_once_where_they_are_ordered() {
    let scratch = Scratch::new("of-queries");
    let file = tables::stars(scratch.path(), "stars", STARS);
    let parameters = "parameters = [{ name = \"dec\", type = \"number\", default = 0 }, \
                      { name = \"what\", type = \"text\", default = \"*\" }]";
    let routes = format!(
        "[routes.all]\nkind = \"table\"\npath = {file:?}\n\
         [routes.north]\nkind = \"query\"\n{parameters}\n\
         sql = 'SELECT source_id, ra, dec, $what AS what FROM \"all\" WHERE dec > $dec'\n\
         [routes.own]\nkind = \"query\"\n\
         parameters = [{{ name = \"offset\", type = \"integer\", default = 0 }}]\n\
         sql = 'SELECT source_id + $offset AS n FROM \"all\"'\n"
    );
    let daemon = Daemon::start(&routes);
    let port = daemon.port();
    let narrowed = "dec=-10&order=ra.desc&ra=gt.20&what=a%26b";
    let mut path = format!("/north.html?{narrowed}&limit=700");
    let mut found = Vec::new();
    while let Some(next) = {
        let page = get(port, &path);
        assert!(!page.contains("another order each time"), "{path}");
        found.extend(cells(&page));
        links(&page).into_iter().find(|link| link.text == "next")
    } {
        path = format!("/north.html{}", next.href);
    }
    let csv = http::get(port, &format!("/north.csv?{narrowed}"));
    let wanted = csv.text().lines().skip(1).flat_map(|line| line.split(','));
    assert!(found.iter().map(String::as_str).eq(wanted));
    assert!(found.len() > 4 * 2100);

    let page = get(port, "/north.html?dec=-10&ra=gt.20");
    assert!(page.contains("another order each time"), "{page}");
    // The parameter of the query is no condition of the result, and the form offers none of its name.
    let removed: Vec<_> = links(&page)
        .into_iter()
        .filter(|link| link.text == "remove")
        .map(|link| link.href)
        .collect();
    assert_eq!(removed, ["?dec=-10"]);
    assert!(page.contains("<option value=\"ra\"") && !page.contains("<option value=\"dec\""));
    let form = "filter-operator=eq&filter-value=1";
    let detail = http::get(port, &format!("/north.html?filter-column=what&{form}")).problem(400);
    assert!(detail.contains("and=(what.eq.VALUE)"), "{detail}");

    // What is selected is shown, and all columns can be asked for.
    let page = get(port, "/north.html?select=r:ra,source_id&limit=3");
    assert!(
        page.contains("name=\"select\" value=\"r:ra,source_id\""),
        "{page}"
    );
    let offered = choices(&page, "filter-column");
    assert_eq!(offered, ["source_id", "ra"], "{page}");
    let sorts: Vec<_> = links(&page)
        .into_iter()
        .filter(|link| link.href.contains("order="))
        .map(|link| (link.text, link.href))
        .collect();
    let sort = |shown: &str, order: &str| {
        let href = format!("?limit=3&select=r%3Ara%2Csource_id&order={order}");
        (shown.to_owned(), href)
    };
    assert_eq!(sorts, [sort("r", "ra"), sort("source_id", "source_id")]);
    let added = "filter-column=ra&filter-operator=gt&filter-value=20";
    let page = get(port, &format!("/north.html?select=r:ra&limit=3&{added}"));
    assert_eq!(cells(&page).len(), 3, "{page}");

    // A parameter of the operator's that a link would need: no links.
    let page = get(port, "/own.html?offset=5");
    assert!(!page.contains("<form") && links(&page).is_empty(), "{page}");
}

/// Names that mean something to HTML, to URLs, and to `select` and `order`.
const NAMES: [&str; 9] = [
    "a",
    "a.desc",
    "a,b",
    "<b>&amp;",
    "it's",
    "\"q\"",
    "back\\slash",
    "für +%41",
    "order by",
];

#[test]
fn links_and_the_form_hold_for_columns_of_any_name() {
    let scratch = Scratch::new("names");
    let file = scratch.join("odd.csv");
    let header = NAMES.map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
    let rows: String = (0..5)
        .map(|row| format!("{}\n", NAMES.map(|_| (row * 3 % 5).to_string()).join(",")))
        .collect();
    fs::write(&file, format!("{}\n{rows}", header.join(","))).expect("files can be written");
    let server = Server::start([file]);
    let port = server.port();
    let page = get(port, "/odd.html");
    assert!(!page.contains("<b>"), "{page}");
    let heads: Vec<_> = links(&page);
    // `a.desc` may be a column or a sort of `a`: there is no link that could be taken for the other.
    assert_eq!(heads.len(), NAMES.len() - 1);
    for link in heads {
        assert!(link.href.starts_with('?'), "{}", link.href);
        let sorted = get(port, &format!("/odd.html{}", link.href));
        let first: Vec<_> = cells(&sorted).into_iter().step_by(NAMES.len()).collect();
        assert_eq!(first, ["0", "1", "2", "3", "4"], "{}", link.href);
        let again = links(&sorted)
            .into_iter()
            .find(|again| again.text == link.text);
        let again = again.expect("the same column");
        let sorted = get(port, &format!("/odd.html{}", again.href));
        let first: Vec<_> = cells(&sorted).into_iter().step_by(NAMES.len()).collect();
        assert_eq!(first, ["4", "3", "2", "1", "0"], "{}", again.href);
    }
    for name in NAMES {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("limit", "10")
            .append_pair("filter-column", name)
            .append_pair("filter-operator", "in")
            .append_pair("filter-value", "1,2")
            .finish();
        let page = get(port, &format!("/odd.html?{form}"));
        let first: Vec<_> = cells(&page).into_iter().step_by(NAMES.len()).collect();
        assert_eq!(first, ["1", "2"], "{name}");
        let remove = links(&page).into_iter().find(|link| link.text == "remove");
        assert_eq!(remove.expect("a link").href, "?limit=10", "{name}");
    }
    let detail = http::get(port, "/odd.html?filter-column=a").problem(400);
    assert!(detail.contains("filter-operator"), "{detail}");
    let detail = http::get(port, "/odd.csv?filter-column=a&filter-operator=eq").problem(400);
    assert!(detail.contains("filter-column"), "{detail}");
}

#[test]
fn the_form_filters_by_the_column_that_is_chosen_and_by_nothing_else() {
    let scratch = Scratch::new("form");
    let file = scratch.join("odd.csv");
    let header = "\"a  b\",a b,limit,select,filename,s";
    fs::write(
        &file,
        format!("{header}\n1,2,3,4,x,(a)\n5,6,7,8,y,\"l\nm\"\n"),
    )
    .expect("a file");
    let daemon = Daemon::start(&format!(
        "[routes.odd]\nkind = \"table\"\npath = {file:?}\n\
         [routes.query]\nkind = \"query\"\nsql = 'SELECT * FROM odd'\n"
    ));
    let port = daemon.port();
    let options = |page: &str| -> Vec<String> {
        let of_columns = page.split("filter-operator").next().expect("a part");
        let options = of_columns.split("<option value=\"").skip(1);
        options
            .map(|option| option.split('"').next().expect("a value").to_owned())
            .collect()
    };
    // White space is kept, and what is a parameter is not offered.
    let offered = options(&get(port, "/odd.html"));
    assert_eq!(offered, ["a  b", "a b", "filename", "s"]);
    assert_eq!(options(&get(port, "/query.html")), ["a  b", "a b", "s"]);
    let form = |column: &str, operator: &str, value: &str| {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("filter-column", column)
            .append_pair("filter-operator", operator)
            .append_pair("filter-value", value)
            .finish();
        format!("/query.html?{form}")
    };
    for column in ["limit", "select", "filename"] {
        let detail = http::get(port, &form(column, "eq", "1")).problem(400);
        assert!(
            detail.contains(&format!("and=({column}.eq.VALUE)")),
            "{detail}"
        );
    }
    // As the name of the operator shows it, or without the parentheses.
    for value in ["1,2", "(1,2)"] {
        let page = get(port, &form("a  b", "in", value));
        assert_eq!(cells(&page), ["1", "2", "3", "4", "x", "(a)"]);
    }
    // A browser would change the line break of a hidden field.
    let page = get(port, "/query.html?s=eq.l%0Am");
    assert_eq!(cells(&page).len(), 6, "{page}");
    assert!(!page.contains("<form"), "{page}");
    // Nobody's condition is taken for a name, or the other way round.
    let detail = http::get(port, "/query.csv?filename=eq.x").problem(400);
    assert!(detail.contains("and=(filename.eq.VALUE)"), "{detail}");
    let found = http::get(port, "/query.csv?and=(filename.eq.x)");
    assert_eq!(found.text().lines().count(), 2);
    let found = http::get(port, "/odd.csv?filename=eq.x");
    assert_eq!(found.text().lines().count(), 2);
}

/// The values of the choices of a page's field.
fn choices(page: &str, field: &str) -> Vec<String> {
    let Some((_, rest)) = page.split_once(&format!("<select name=\"{field}\">")) else {
        return Vec::new();
    };
    let (choices, _) = rest.split_once("</select>").expect("an end");
    let choices = choices.split("<option value=\"").skip(1);
    choices
        .map(|choice| choice.split('"').next().expect("a value").to_owned())
        .collect()
}

#[test]
fn the_page_of_a_database_offers_what_it_does_not_refuse() {
    let database = Postgres::start();
    let route = |name: &str, columns: &str| {
        format!(
            "[routes.{name}]\nkind = \"postgres\"\nsql = \"SELECT {columns} \
             FROM (SELECT generate_series(1, 3) AS i) AS rows\"\n"
        )
    };
    let daemon = Daemon::start(&format!(
        "[databases.archive]\nurl = \"{}\"\n{}{}",
        database.url(),
        route(
            "all",
            "i, 'a' || i AS t, i * interval '1 day' AS s, i::numeric AS n, ARRAY[i] AS l, \
             '{}'::jsonb AS j, md5(i::text)::uuid AS u, '10.0.0.1'::inet AS ip"
        ),
        route("spans", "i * interval '1 day' AS s, ARRAY[i] AS l"),
    ));
    let port = daemon.port();
    let every = [
        "eq",
        "neq",
        "gt",
        "gte",
        "lt",
        "lte",
        "like",
        "in",
        "not.in",
        "is.null",
        "is.not_null",
    ];
    let without_order = [
        "eq",
        "neq",
        "like",
        "in",
        "not.in",
        "is.null",
        "is.not_null",
    ];
    for (name, select, sorted, operators) in [
        ("all", "", &["i", "t", "n", "u"][..], &every[..]),
        ("all", "?select=s,number:i,l", &["number"], &every[..]),
        ("spans", "", &[], &without_order[..]),
        ("spans", "?select=l", &[], &without_order[..]),
    ] {
        let page = get(port, &format!("/{name}.html{select}"));
        let heads = links(&page);
        let heads: Vec<_> = heads
            .iter()
            .filter(|link| link.href.contains("order="))
            .collect();
        let names: Vec<_> = heads.iter().map(|link| link.text.as_str()).collect();
        assert_eq!(names, sorted, "{page}");
        for head in heads {
            get(port, &format!("/{name}.html{}", head.href));
        }
        assert_eq!(choices(&page, "filter-operator"), operators);
        // Each choice has a column that it is good for, and each column a choice.
        let columns = choices(&page, "filter-column");
        let is_good = |column: &str, operator: &str| {
            let values = ["1", "a1", "1 day", "c4ca4238-a0b9-2382-0dcc-509a6f75849b"];
            values.iter().any(|value| {
                let form = form_urlencoded::Serializer::new(String::new())
                    .append_pair("filter-column", column)
                    .append_pair("filter-operator", operator)
                    .append_pair("filter-value", value)
                    .finish();
                http::get(port, &format!("/{name}.html?{form}")).status == 200
            })
        };
        for operator in operators {
            assert!(
                columns.iter().any(|column| is_good(column, operator)),
                "{operator}"
            );
        }
        for column in &columns {
            assert!(
                operators.iter().any(|operator| is_good(column, operator)),
                "{column}"
            );
        }
    }
}

#[test]
fn the_form_has_no_column_whose_name_it_cannot_send() {
    let scratch = Scratch::new("breaks");
    let file = scratch.join("odd.csv");
    fs::write(&file, "\"a\nb\",\"c\r\nd\",e\n1,2,3\n4,5,6\n").expect("a file");
    let server = Server::start([file]);
    let port = server.port();
    let page = get(port, "/odd.html");
    assert_eq!(choices(&page, "filter-column"), ["e"]);
    // A condition on such a column would be a hidden field.
    let page = get(port, "/odd.html?a%0Ab=eq.4");
    assert_eq!(cells(&page), ["4", "5", "6"]);
    assert!(!page.contains("<form"), "{page}");
}

#[test]
fn from_far_behind_the_end_previous_leads_to_the_last_page_that_has_rows() {
    let scratch = Scratch::new("behind");
    let server = serve_stars(&scratch);
    let port = server.port();
    let previous = |path: &str| {
        let page = get(port, path);
        let found = links(&page)
            .into_iter()
            .find(|link| link.text == "previous");
        note(&get(
            port,
            &format!("/stars.html{}", found.expect("a link").href),
        ))
    };
    let limited = "(the limit of the request is 10 rows)";
    for (offset, wanted) in [
        ("9223372036854775807", "Rows 8991 to 9000"),
        ("18446744073709551615", "Rows 8991 to 9000"),
        ("9011", "Rows 8991 to 9000"),
        ("9009", "Row 9000"),
        ("9000", "Rows 8991 to 9000"),
        ("35", "Rows 26 to 35"),
    ] {
        let found = previous(&format!("/stars.html?limit=10&offset={offset}"));
        let found = found.replace(&format!(" {limited}"), "");
        assert_eq!(found, format!("{wanted} of 9000."), "{offset}");
    }
}

#[test]
fn the_index_has_an_example_of_narrowing_that_works() {
    let scratch = Scratch::new("example");
    let odd = scratch.join("odd.csv");
    fs::write(
        &odd,
        "select,a.desc,\"b,c\",\"<d>&\"\n1,2,3,4\n1,5,,6\n1,7,8,9\n",
    )
    .expect("a file");
    let server = Server::start([tables::stars(scratch.path(), "stars", STARS), odd]);
    let port = server.port();
    let index = http::get(port, "/");
    let examples: Vec<_> = links(index.text())
        .into_iter()
        .filter(|link| link.href.contains(".html?select="))
        .map(|link| link.href)
        .collect();
    assert_eq!(examples.len(), 2, "{examples:?}");
    for (example, name, columns) in [
        (&examples[1], "/stars.html", 3),
        (&examples[0], "/odd.html", 3),
    ] {
        assert!(example.starts_with(name), "{example}");
        let page = get(port, example);
        let last: Vec<f64> = cells(&page)
            .chunks(columns)
            .map(|row| row[columns - 1].parse().expect("a number"))
            .collect();
        assert!(
            last.len() >= 3 && last.is_sorted_by(|one, other| one >= other),
            "{last:?}"
        );
    }
}

#[test]
fn columns_that_are_called_as_the_form_s_fields_are_filtered_by_as_any_other() {
    let scratch = Scratch::new("form-names");
    let file = scratch.join("odd.csv");
    fs::write(&file, "filter-column,n\n1,2\n3,4\n").expect("files can be written");
    let server = Server::start([file]);
    let page = get(server.port(), "/odd.html?filter-column=eq.3");
    assert_eq!(cells(&page), ["3", "4"]);
    assert!(!page.contains("<form"), "{page}");
}

#[test]
fn a_page_is_the_same_whatever_the_order_of_the_parameters() {
    let scratch = Scratch::new("order");
    let server = serve_stars(&scratch);
    std::thread::sleep(SETTLING);
    let port = server.port();
    let one = http::get(port, "/stars.html?ra=gt.30&dec=lt.5&limit=9&ra=lt.200");
    let other = http::get(port, "/stars.html?limit=9&ra=lt.200&dec=lt.5&ra=gt.30");
    assert!(one.body == other.body);
    let tag = one.header("etag").expect("a tag");
    assert_eq!(other.header("etag"), Some(tag));
    let length = one.body.len().to_string();
    assert_eq!(other.header("content-length"), Some(length.as_str()));
    let next = http::get(
        port,
        "/stars.html?limit=9&ra=lt.200&dec=lt.5&ra=gt.30&offset=9",
    );
    assert_ne!(next.header("etag"), Some(tag));
    // How the file is called is in no byte of it.
    let named = http::get(
        port,
        "/stars.html?filename=x&ra=gt.30&dec=lt.5&limit=9&ra=lt.200",
    );
    assert!(named.body == one.body);
}

#[test]
fn cat_writes_the_page_without_links() {
    let scratch = Scratch::new("cat-page");
    let file = tables::stars(scratch.path(), "stars", 10);
    let said = program::run(&["cat", file.to_str().expect("text"), "--format", "html"]);
    said.assert_good();
    let page = String::from_utf8(said.stdout).expect("text");
    assert!(links(&page).is_empty() && !page.contains("<form"));
    assert_eq!(note(&page), "All 10 rows.");
}

#[test]
fn a_browser_that_asks_for_a_wrong_filter_gets_the_form_as_it_was_filled_in() {
    let scratch = Scratch::new("mistaken");
    let file = tables::stars(scratch.path(), "stars", 100);
    let daemon = Daemon::start(&format!(
        "[routes.stars]\nkind = \"table\"\npath = {file:?}\n\
         [routes.north]\nkind = \"query\"\nsql = \"SELECT * FROM stars\"\n"
    ));
    let port = daemon.port();
    let form = "filter-column=dec&filter-operator=gte&filter-value=%3Cb%3Eten%22";
    for route in ["stars", "north"] {
        let path = format!("/{route}.html?select=dec,ra&offset=10&{form}");
        let detail = http::get(port, &path).problem(400);
        let page = http::get_with(port, &path, http::BROWSER);
        assert_eq!(
            (page.status, page.end),
            (400, End::Whole),
            "{}",
            page.text()
        );
        assert_eq!(page.header("content-type"), Some("text/html;charset=utf-8"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        let policy = page.header("content-security-policy").expect("a policy");
        assert!(policy.contains("form-action 'self'"), "{policy}");
        let text = page.text();
        let escaped = detail
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;");
        for part in [
            &format!("<p role=\"alert\">{escaped}</p>")[..],
            "<input type=\"hidden\" name=\"select\" value=\"dec,ra\">",
            "name=\"filter-column\" value=\"dec\"",
            "<option value=\"gte\" selected>",
            "name=\"filter-value\" value=\"&lt;b&gt;ten&quot;\"",
            "href=\"?select=dec%2Cra&amp;offset=10\"",
        ] {
            assert!(text.contains(part), "{path}: no {part} in {text}");
        }
        assert!(!text.contains("name=\"offset\""), "{text}");
        let json = http::get_with(port, &path, "Accept: application/json");
        assert_eq!(json.problem(400), detail);
        // A filter in the URL has no form, and another format no page.
        let typed = http::get_with(port, &format!("/{route}.html?dec=gt.ten"), http::BROWSER);
        assert_eq!(typed.status, 400);
        assert!(typed.text().contains("role=\"alert\"") && !typed.text().contains("<form"));
        http::get_with(port, &format!("/{route}.csv?{form}"), http::BROWSER).problem(400);
        // The parameter of the format goes before the suffix, and without both `Accept` decides.
        for asked in ["?format=html&", ".csv?RESPONSEFORMAT=html&", "?"] {
            let page = http::get_with(port, &format!("/{route}{asked}{form}"), http::BROWSER);
            assert_eq!(page.status, 400, "{asked}");
            assert!(page.text().contains("name=\"filter-column\""), "{asked}");
        }
        let other = format!("/{route}.html?format=csv&{form}");
        http::get_with(port, &other, http::BROWSER).problem(400);
        let right = form.replace("%3Cb%3Eten%22", "10");
        let right = http::get_with(port, &format!("/{route}.html?{right}"), http::BROWSER);
        assert_eq!(right.status, 200);
    }
    // The log has the refusals all the same.
    assert!(daemon.log().contains("refused"), "{}", daemon.log());
}
