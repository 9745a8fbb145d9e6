//! Errors at the edge: `application/problem+json`.

use std::any::Any;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pointsman_api::problem::Problem;

use crate::error::{Error, Kind, Refusal};

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => of_refusal(*refusal),
            Self::Unavailable(cause) => {
                tracing::warn!(cause = format!("{cause:#}"), "the database does not answer");
                let refusal = Refusal::new(
                    Kind::Overloaded,
                    "database_unavailable",
                    "the database does not answer; nothing was written",
                )
                .hint("Send the request again in a moment; /readyz tells when.");
                let mut response = of_refusal(refusal);
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
                response
            }
            Self::Internal(cause) => {
                tracing::error!(
                    request_id = id(),
                    cause = format!("{cause:#}"),
                    "a request failed"
                );
                internal()
            }
        }
    }
}

fn of_refusal(refusal: Refusal) -> Response {
    let status = match refusal.kind {
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Precondition => StatusCode::PRECONDITION_FAILED,
        Kind::Gone => StatusCode::GONE,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        Kind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = respond(
        status,
        Problem {
            kind: "about:blank".to_owned(),
            title: title(status),
            status: status.as_u16(),
            code: refusal.code.into_owned(),
            detail: refusal.detail,
            hint: refusal.hint,
            field: refusal.field,
            position: refusal.position,
            request_id: None,
        },
    );
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn title(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("Error").to_owned()
}

tokio::task_local! {
    /// The id of the request that is being answered.
    pub(super) static REQUEST_ID: Option<String>;
}

fn respond(status: StatusCode, mut problem: Problem) -> Response {
    problem.request_id = REQUEST_ID.try_with(Clone::clone).ok().flatten();
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body,
    )
        .into_response()
}

fn id() -> String {
    REQUEST_ID
        .try_with(Clone::clone)
        .ok()
        .flatten()
        .unwrap_or_default()
}

fn internal() -> Response {
    respond(
        StatusCode::INTERNAL_SERVER_ERROR,
        Problem {
            kind: "about:blank".to_owned(),
            title: title(StatusCode::INTERNAL_SERVER_ERROR),
            status: 500,
            code: "internal".to_owned(),
            detail: "the host failed; nothing was written".to_owned(),
            hint: Some("`request_id` finds the cause in the host's log.".to_owned()),
            field: None,
            position: None,
            request_id: None,
        },
    )
}

/// How long an ordinary request may take: the largest batch needs some seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Ends a request that takes too long; a batch that was under way is rolled back.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => of_refusal(
            Refusal::new(
                Kind::TimedOut,
                "request_timeout",
                format!(
                    "the request took longer than {} s",
                    REQUEST_TIMEOUT.as_secs()
                ),
            )
            .hint("Split the batch, or send it again when the server has less to do."),
        ),
    }
}

/// A handler panicked: a bug, but of this request alone.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the panic over"
)]
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    tracing::error!(request_id = id(), message, "a handler panicked");
    internal()
}

pub(super) async fn no_route() -> Error {
    Refusal::new(
        Kind::NotFound,
        "route_unknown",
        "there is nothing at this address",
    )
    .hint("/v1/openapi.json describes what there is.")
    .into()
}

pub(super) async fn no_method() -> Response {
    respond(
        StatusCode::METHOD_NOT_ALLOWED,
        Problem {
            kind: "about:blank".to_owned(),
            title: title(StatusCode::METHOD_NOT_ALLOWED),
            status: 405,
            code: "method_unknown".to_owned(),
            detail: "this address does not take this method".to_owned(),
            hint: Some("/v1/openapi.json describes what there is.".to_owned()),
            field: None,
            position: None,
            request_id: None,
        },
    )
}
