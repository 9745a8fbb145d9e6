//! Whether the host lives, is ready, and how it does.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::REQUEST_ID;
use crate::error::{Error, Kind, Refusal};

/// The process lives. Says nothing of the database.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The database answers and has the schema of this host.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, body = String), (status = 503, body = pointsman_api::problem::Problem)))]
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, Error> {
    app.db.ready().await.map_err(|error| match error {
        Error::Unavailable(cause) => {
            tracing::warn!(cause = format!("{cause:#}"), "not ready");
            Refusal::new(
                Kind::Overloaded,
                "not_ready",
                "the database does not answer, or lacks migrations",
            )
            .into()
        }
        other => other,
    })?;
    Ok("ready\n")
}

/// Metrics, in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", security(()), responses((status = 200, body = String)))]
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let text = app
        .metrics
        .as_ref()
        .map(|handle| handle.render())
        .unwrap_or_default();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Counts and times requests by route, never by address: labels are bounded.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", |path| path.as_str())
        .to_owned();
    let id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(str::to_owned);
    let response = REQUEST_ID.scope(id, next.run(request)).await;
    metrics::counter!("pointsman_http_requests_total",
        "method" => method.to_string(), "route" => route.clone(), "status" => response.status().as_str().to_owned())
    .increment(1);
    metrics::histogram!("pointsman_http_request_seconds", "route" => route)
        .record(began.elapsed().as_secs_f64());
    response
}
