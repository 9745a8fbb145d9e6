//! Ignore patterns.

use axum::extract::State;
use pointsman_api::generation::Written;
use pointsman_api::ignore::{Ignore, PutIgnores, PutIgnoresReply};
use pointsman_api::page::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Reader, Writer};
use super::distros::Why;
use super::extract::{Json, Path, Query, batch_size, limit};
use super::kernels::distro;
use crate::error::Result;

/// Patterns in one request.
const MAX_IGNORES: usize = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListIgnores {
    /// Those of this distro and those for all.
    distro: Option<String>,
    /// Those marked as deleted, instead of those that are not.
    #[serde(default)]
    deleted: bool,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists patterns, oldest first, with how many versions each ignores.
#[utoipa::path(get, path = "/v1/ignores", tag = "ignores", params(ListIgnores), responses((status = 200, body = Page<Ignore>)))]
pub(super) async fn list_ignores(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListIgnores>,
) -> Result<Json<Page<Ignore>>> {
    let distro = distro(&app, query.distro.as_deref()).await?;
    let page = app
        .db
        .ignores(
            distro,
            query.deleted,
            query.cursor.as_deref(),
            limit(query.limit)?,
        )
        .await?;
    Ok(Json(page))
}

/// Saves patterns, all or none; a pattern that cannot be read is refused with the position.
#[utoipa::path(post, path = "/v1/ignores", tag = "ignores", request_body = PutIgnores, responses((status = 200, body = PutIgnoresReply)))]
pub(super) async fn put_ignores(
    Writer(actor): Writer,
    State(app): State<App>,
    Json(body): Json<PutIgnores>,
) -> Result<Json<PutIgnoresReply>> {
    batch_size("ignores", body.ignores.len(), MAX_IGNORES)?;
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            match body.ignores.as_slice() {
                [one] => format!("Ignore {}: {}", one.pattern, one.reason),
                more => format!("Save {} ignore patterns", more.len()),
            }
        })
        .await?;
    let (written, ids) = app.db.put_ignores(&mut batch, &body.ignores).await?;
    Ok(Json(PutIgnoresReply {
        written: batch.commit(written).await?,
        ids,
    }))
}

/// Marks a pattern as deleted; what it alone ignored is ignored no longer.
#[utoipa::path(delete, path = "/v1/ignores/{id}", tag = "ignores", params(("id" = i64, description = "Its id"), Why), responses((status = 200, body = Written)))]
pub(super) async fn delete_ignore(
    Writer(actor): Writer,
    State(app): State<App>,
    Path(id): Path<i64>,
    Query(why): Query<Why>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, why.comment.as_deref(), || {
            format!("Remove ignore pattern {id}")
        })
        .await?;
    let written = app.db.delete_ignore(&mut batch, id).await?;
    Ok(Json(batch.commit(written).await?))
}
