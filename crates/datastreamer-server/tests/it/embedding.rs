//! The library inside the program: a site in a service of one's own, and another in its place.

use std::{fs, path::Path};

use axum::{Router, body::Body};
use datastreamer_server::{Config, Fatal, Server, Site};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

fn site(text: &str) -> Result<Site, Fatal> {
    Site::build(&Config::parse(text, Path::new(""))?)
}

async fn get(router: Router, target: &str) -> (StatusCode, Body) {
    let request = Request::get(target).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    (response.status(), response.into_body())
}

async fn bytes(body: Body) -> usize {
    body.collect().await.unwrap().to_bytes().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_takes_the_place_of_one_whose_streams_go_on() {
    let old = "[routes.old]\nkind = \"noise\"\n";
    let server = Server::new(site(old).unwrap());
    let router = Router::new().nest("/data", server.router());
    let (status, under_way) = get(router.clone(), "/data/old.bin?n=3MB").await;
    assert_eq!(status, StatusCode::OK);

    server.replace(site("[routes.new]\nkind = \"stars\"\n").unwrap());
    let (status, _) = get(router.clone(), "/data/old.bin").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, csv) = get(router, "/data/new.csv?rows=10").await;
    assert_eq!(status, StatusCode::OK);
    assert!(bytes(csv).await > 100);
    assert_eq!(bytes(under_way).await, 3_000_000);
}

/// This program is the test, which does not call `run_if_child`.
#[tokio::test(flavor = "multi_thread")]
async fn sql_is_off_in_a_program_that_cannot_start_itself_for_a_query() {
    let text = "[sql]\nenabled = true\n[routes.stars]\nkind = \"stars\"\n";
    let server = Server::new(
        tokio::task::spawn_blocking(|| site(text))
            .await
            .unwrap()
            .unwrap(),
    );
    let (status, _) = get(server.router(), "/sql.csv?query=SELECT+1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = get(server.router(), "/stars.csv?rows=1").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_be_a_guardian_is_not_started_as_one() {
    let text = "[routes.echo]\nkind = \"command\"\nargv = [\"echo\", \"data\"]\n";
    let server = Server::new(site(text).unwrap());
    let (status, echo) = get(server.router(), "/echo.bin").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(bytes(echo).await, "data\n".len());
    // One would have a thread that looks after it.
    let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    assert!(!names.into_iter().any(|name| name.trim() == "guardian"));
}

#[test]
fn every_route_that_cannot_be_served_is_named_and_nothing_is_built() {
    let text = "[routes.a]\nkind = \"directory\"\npath = \"no/such\"\n\
                [routes.b]\nkind = \"noise\"\n\
                [routes.c]\nkind = \"command\"\nargv = [\"no-such-program\"]\n";
    let error = site(text).unwrap_err();
    let lines = error.lines();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(
        lines[0].starts_with("configuration:1: routes.a: "),
        "{error}"
    );
    assert_eq!(
        lines[1],
        "configuration:6: routes.c: there is no program `no-such-program`"
    );
}
