//! Distros and states.

use axum::extract::State;
use pointsman_api::distro::{CreateDistros, Distro, KernelState, PutStates, UpdateDistro};
use pointsman_api::generation::{Because, Written};
use pointsman_api::page::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Admin, Reader, Writer};
use super::extract::{IfMatch, Json, Path, Query, batch_size, limit};
use crate::db::distro::Mark;
use crate::error::Result;

/// Distros in one request.
const MAX_DISTROS: usize = 1_000;
/// States in one request, and in the record.
const MAX_STATES: usize = 64;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListDistros {
    /// Those marked as deleted, instead of those that are not.
    #[serde(default)]
    deleted: bool,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists distros, by name.
#[utoipa::path(get, path = "/v1/distros", tag = "distros", params(ListDistros), responses((status = 200, body = Page<Distro>)))]
pub(super) async fn list_distros(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListDistros>,
) -> Result<Json<Page<Distro>>> {
    Ok(Json(
        app.db
            .distros(query.deleted, query.cursor.as_deref(), limit(query.limit)?)
            .await?,
    ))
}

/// Creates distros; those that exist stay as they are.
#[utoipa::path(post, path = "/v1/distros", tag = "distros", request_body = CreateDistros, responses((status = 200, body = Written)))]
pub(super) async fn create_distros(
    Writer(actor): Writer,
    State(app): State<App>,
    Json(body): Json<CreateDistros>,
) -> Result<Json<Written>> {
    batch_size("distros", body.distros.len(), MAX_DISTROS)?;
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Add {} distros", body.distros.len())
        })
        .await?;
    let written = app.db.create_distros(&mut batch, body.distros).await?;
    Ok(Json(batch.commit(written).await?))
}

/// One distro.
#[utoipa::path(get, path = "/v1/distros/{name}", tag = "distros", params(("name", description = "Its builder name")), responses((status = 200, body = Distro)))]
pub(super) async fn get_distro(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Distro>> {
    Ok(Json(app.db.distro(&name).await?))
}

/// Changes fields of a distro; `If-Match` makes sure that nobody was faster.
#[utoipa::path(patch, path = "/v1/distros/{name}", tag = "distros", params(("name", description = "Its builder name"), ("If-Match" = Option<String>, Header, description = "The generation that you saw")), request_body = UpdateDistro, responses((status = 200, body = Written)))]
pub(super) async fn update_distro(
    Writer(actor): Writer,
    State(app): State<App>,
    Path(name): Path<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<UpdateDistro>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Change distro {name}")
        })
        .await?;
    let written = app
        .db
        .update_distro(&mut batch, &name, &body, expected)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

/// Why a row is deleted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Why {
    /// Why; the generation's comment.
    pub(super) comment: Option<String>,
}

/// Marks a distro as deleted. Its kernel versions stay.
#[utoipa::path(delete, path = "/v1/distros/{name}", tag = "distros", params(("name", description = "Its builder name"), Why), responses((status = 200, body = Written)))]
pub(super) async fn delete_distro(
    Writer(actor): Writer,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(why): Query<Why>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, why.comment.as_deref(), || {
            format!("Delete distro {name}")
        })
        .await?;
    let written = app.db.mark_distro(&mut batch, &name, Mark::Deleted).await?;
    Ok(Json(batch.commit(written).await?))
}

/// Takes the mark of deletion away.
#[utoipa::path(post, path = "/v1/distros/{name}/restore", tag = "distros", params(("name", description = "Its builder name")), request_body = Because, responses((status = 200, body = Written)))]
pub(super) async fn restore_distro(
    Writer(actor): Writer,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(body): Json<Because>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Restore distro {name}")
        })
        .await?;
    let written = app
        .db
        .mark_distro(&mut batch, &name, Mark::Restored)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListStates {
    /// Adds how many kernel versions are in each: counts them, so ask for it when you need it.
    #[serde(default)]
    counts: bool,
}

/// Lists the states of kernel versions, by rank.
#[utoipa::path(get, path = "/v1/states", tag = "distros", params(ListStates), responses((status = 200, body = Page<KernelState>)))]
pub(super) async fn list_states(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListStates>,
) -> Result<Json<Page<KernelState>>> {
    Ok(Json(app.db.kernel_states(query.counts).await?))
}

/// Creates states, or gives them other ranks.
#[utoipa::path(put, path = "/v1/states", tag = "distros", request_body = PutStates, responses((status = 200, body = Written)))]
pub(super) async fn put_states(
    Admin(actor): Admin,
    State(app): State<App>,
    Json(body): Json<PutStates>,
) -> Result<Json<Written>> {
    batch_size("states", body.states.len(), MAX_STATES)?;
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            "Change states".to_owned()
        })
        .await?;
    let written = app.db.put_states(&mut batch, &body.states).await?;
    Ok(Json(batch.commit(written).await?))
}
