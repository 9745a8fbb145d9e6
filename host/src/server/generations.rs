//! Generations.

use axum::extract::State;
use chrono::{DateTime, Utc};
use pointsman_api::generation::Generation;
use pointsman_api::page::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::Reader;
use super::extract::{Json, Path, Query, limit};
use crate::error::Result;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListGenerations {
    /// Made by this user.
    user: Option<String>,
    /// Not older than this (RFC 3339).
    since: Option<DateTime<Utc>>,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists generations, newest first.
#[utoipa::path(get, path = "/v1/generations", tag = "events", params(ListGenerations), responses((status = 200, body = Page<Generation>)))]
pub(super) async fn list_generations(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListGenerations>,
) -> Result<Json<Page<Generation>>> {
    let page = app
        .db
        .generations(
            query.user.as_deref(),
            query.since,
            query.cursor.as_deref(),
            limit(query.limit)?,
        )
        .await?;
    Ok(Json(page))
}

/// One generation.
#[utoipa::path(get, path = "/v1/generations/{id}", tag = "events", params(("id" = i64, description = "Its id")), responses((status = 200, body = Generation)))]
pub(super) async fn get_generation(
    _: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Generation>> {
    Ok(Json(app.db.generation(id).await?))
}
