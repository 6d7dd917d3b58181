//! A query in a request's body, for queries that do not fit into a URL.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{HeaderMap, StatusCode, header};
use tokio::time::timeout;

use crate::{
    refusal::Refusal,
    sources::{Query, rows::QUERY_PARAMETER},
};

/// 256 KiB of a body: a form may have three bytes for each of a query, and parameters beside it.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// Adds a body to the parameters of the URL: a form as parameters, a text as the query. The body
/// must arrive within `patience`.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    patience: Duration,
    url: &str,
) -> Result<Query, Refusal> {
    let body = timeout(patience, to_bytes(body, BODY_BYTES_MAX)).await;
    let body = body.map_err(|_| {
        let text = format!("the query did not arrive within {patience:?}");
        Refusal::new(StatusCode::REQUEST_TIMEOUT, text)
    })?;
    let body = body.map_err(|_| {
        let text =
            format!("the body must arrive complete, and have at most {BODY_BYTES_MAX} bytes");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    })?;
    let media_type = headers.get(header::CONTENT_TYPE);
    let media_type = media_type.and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next());
    let mut query = Query::parse(url.as_bytes()).map_err(Refusal::bad_parameter)?;
    let essence = essence.unwrap_or("text/plain").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => {
            query.add_all(Query::parse(&body).map_err(Refusal::bad_parameter)?);
        }
        "text/plain" | "application/sql" => {
            let text = String::from_utf8(body.into())
                .map_err(|_| Refusal::bad_parameter("the query is not UTF-8"))?;
            query.add(QUERY_PARAMETER, text);
        }
        other => {
            let text = format!(
                "a query is posted as text/plain, application/sql or \
                 application/x-www-form-urlencoded, and not as {other}"
            );
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
    }
    Ok(query)
}
