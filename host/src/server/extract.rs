//! Bodies, queries and headers, with refusals of our own.

use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, IF_MATCH};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use pointsman_api::page::{DEFAULT_LIMIT, MAX_LIMIT};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Refusal, Result, too_many};

/// A JSON body or reply.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let json = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_none_or(|value| value.starts_with("application/json"));
        if !json {
            return Err(Refusal::new(
                Kind::Invalid,
                "content_type",
                "the body is not application/json",
            )
            .hint("Send the header `Content-Type: application/json`.")
            .into());
        }
        let bytes = body(request, state).await?;
        // An absent body is an empty object: many requests need nothing.
        let bytes = if bytes.is_empty() {
            Bytes::from_static(b"{}")
        } else {
            bytes
        };
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let code = if error.is_data() {
                "body_invalid"
            } else {
                "json_malformed"
            };
            Refusal::new(
                Kind::Invalid,
                code,
                format!("the body cannot be read: {error}"),
            )
            .hint("/v1/openapi.json describes the body.")
            .into()
        })
    }
}

/// Bytes that a reply has room for at first: half a page of kernel versions.
const REPLY_ROOM: usize = 16 * 1024;

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        // `axum::Json` writes into a `BytesMut` piece by piece, which took a tenth of a page's time.
        let mut body = Vec::with_capacity(REPLY_ROOM);
        match serde_json::to_writer(&mut body, &self.0) {
            Ok(()) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => Error::Internal(error.into()).into_response(),
        }
    }
}

/// The whole body, within the route's limit.
pub(super) async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| match rejection {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Refusal::new(
                    Kind::TooLarge,
                    "body_too_large",
                    "the body is larger than this address takes",
                )
                .hint("Split the batch.")
                .into()
            }
            other => Refusal::new(Kind::Invalid, "body_broken", other.body_text()).into(),
        })
}

/// Query parameters.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|query| Self(query.0))
            .map_err(|rejection| {
                Refusal::new(Kind::Invalid, "query_invalid", rejection.body_text())
                    .hint("/v1/openapi.json describes the parameters.")
                    .into()
            })
    }
}

/// Path parameters.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|path| Self(path.0))
            .map_err(|rejection| {
                Refusal::new(Kind::Invalid, "path_invalid", rejection.body_text()).into()
            })
    }
}

/// The generation that the caller saw, from `If-Match`.
pub(super) struct IfMatch(pub(super) Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Some(value) = parts.headers.get(IF_MATCH) else {
            return Ok(Self(None));
        };
        let value = value.to_str().unwrap_or_default().trim();
        if value == "*" {
            return Ok(Self(None));
        }
        value
            .trim_matches('"')
            .parse()
            .map(|generation| Self(Some(generation)))
            .map_err(|_| {
                Refusal::new(
                    Kind::Invalid,
                    "if_match_invalid",
                    "`If-Match` holds the generation that you saw",
                )
                .field("If-Match")
                .hint("Send back the `ETag` of the reply, or `generation` in quotes.")
                .into()
            })
    }
}

/// The limit of a page, within its bounds.
pub(super) fn limit(asked: Option<u32>) -> Result<u32> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit),
        other => Err(Refusal::new(
            Kind::Invalid,
            "limit_invalid",
            format!("{other} rows in a page; from 1 to {MAX_LIMIT} are given"),
        )
        .field("limit")
        .into()),
    }
}

/// Refuses an empty batch and one over its limit.
pub(super) fn batch_size(field: &'static str, given: usize, limit: usize) -> Result<()> {
    match given {
        0 => Err(Refusal::new(
            Kind::Invalid,
            "batch_empty",
            format!("the request names no {field}"),
        )
        .field(format!("/{field}"))
        .into()),
        given if given > limit => Err(too_many(field, limit, given)),
        _ => Ok(()),
    }
}
