//! Candidates in shadow.

use axum::extract::State;
use pointsman_api::generation::{Because, Written};
use pointsman_api::page::Page;
use pointsman_api::pipeline::{Limits, Pipeline, PutShadow, Shadow, ShadowDifference};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Admin, Reader};
use super::distros::Why;
use super::extract::{Json, Path, Query, limit};
use super::pipelines::{in_chain, place};
use crate::db::pipeline::Bind;
use crate::error::Result;

/// Lists the candidates of a pipeline, with how often they agreed.
#[utoipa::path(get, path = "/v1/pipelines/{name}/shadows", tag = "pipelines", params(("name", description = "The pipeline")), responses((status = 200, body = Page<Shadow>)))]
pub(super) async fn list_shadows(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Page<Shadow>>> {
    app.db.pipeline(&name).await?;
    Ok(Json(app.db.shadows(&name).await?))
}

/// What a call at a place may use, whoever is bound there.
fn limits_of(pipeline: &Pipeline, hook: &str, position: i32) -> Limits {
    let mut bound = pipeline.bindings.iter();
    bound
        .find(|bound| bound.hook == hook && bound.position == position)
        .map(|bound| bound.limits)
        .unwrap_or_default()
}

/// Lets a candidate follow the decisions of a place in shadow. It is checked as a binding is; it is never
/// heard, and its figures begin anew.
#[utoipa::path(put, path = "/v1/pipelines/{name}/shadows/{hook}/{position}", tag = "pipelines", params(("name", description = "The pipeline"), ("hook", description = "The hook"), ("position" = i32, description = "The place in its chain, from 0")), request_body = PutShadow, responses((status = 200, body = Written)))]
pub(super) async fn put_shadow(
    Admin(actor): Admin,
    State(app): State<App>,
    Path((name, hook, position)): Path<(String, String, i32)>,
    Json(body): Json<PutShadow>,
) -> Result<Json<Written>> {
    in_chain(position)?;
    let pipeline = app.db.pipeline(&name).await?;
    let limits = limits_of(&pipeline, &hook, position);
    app.plugins
        .check_binding(&pipeline.kind, &body.digest, &hook, &body.settings, &limits)
        .await?;
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Let {} follow {name}/{hook}/{position}", &body.digest[..12])
        })
        .await?;
    let place = place(&name, &hook, position);
    let written = app
        .db
        .put_shadow(&mut batch, place, &body.digest, &body.settings, body.since)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

/// Takes a candidate away.
#[utoipa::path(delete, path = "/v1/pipelines/{name}/shadows/{hook}/{position}", tag = "pipelines", params(("name", description = "The pipeline"), ("hook", description = "The hook"), ("position" = i32, description = "The place in its chain, from 0"), Why), responses((status = 200, body = Written)))]
pub(super) async fn delete_shadow(
    Admin(actor): Admin,
    State(app): State<App>,
    Path((name, hook, position)): Path<(String, String, i32)>,
    Query(why): Query<Why>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, why.comment.as_deref(), || {
            format!("Take the candidate off {name}/{hook}/{position}")
        })
        .await?;
    let place = place(&name, &hook, position);
    app.db.delete_shadow(&mut batch, place).await?;
    let written = Written {
        updated: 1,
        ..crate::db::batch::nothing()
    };
    Ok(Json(batch.commit(written).await?))
}

/// Makes a candidate the active binding of the place that it followed, in one generation.
#[utoipa::path(post, path = "/v1/pipelines/{name}/shadows/{hook}/{position}/promote", tag = "pipelines", params(("name", description = "The pipeline"), ("hook", description = "The hook"), ("position" = i32, description = "The place in its chain, from 0")), request_body = Because, responses((status = 200, body = Written)))]
pub(super) async fn promote_shadow(
    Admin(actor): Admin,
    State(app): State<App>,
    Path((name, hook, position)): Path<(String, String, i32)>,
    Json(body): Json<Because>,
) -> Result<Json<Written>> {
    let place = place(&name, &hook, position);
    let pipeline = app.db.pipeline(&name).await?;
    let (digest, settings) = app.db.shadow(place).await?;
    let limits = limits_of(&pipeline, &hook, position);
    app.plugins
        .check_binding(&pipeline.kind, &digest, &hook, &settings, &limits)
        .await?;
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Promote {} to {name}/{hook}/{position}", &digest[..12])
        })
        .await?;
    // What is promoted is what is there now, and what was checked is what is promoted.
    let found = app.db.delete_shadow(&mut batch, place).await?;
    if found != (digest, settings) {
        return Err(crate::error::Refusal::new(
            crate::error::Kind::Conflict,
            "shadow_changed",
            "another candidate took this place meanwhile",
        )
        .hint("Look at it again, and promote that one.")
        .into());
    }
    let mut written = app
        .db
        .put_binding(
            &mut batch,
            place,
            &Bind {
                digest: &found.0,
                settings: &found.1,
                limits: None,
            },
            None,
        )
        .await?;
    written.updated += 1;
    Ok(Json(batch.commit(written).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListDifferences {
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists the decisions that a candidate would have made otherwise, newest first.
#[utoipa::path(get, path = "/v1/pipelines/{name}/shadows/{hook}/{position}/differences", tag = "pipelines", params(("name", description = "The pipeline"), ("hook", description = "The hook"), ("position" = i32, description = "The place in its chain, from 0"), ListDifferences), responses((status = 200, body = Page<ShadowDifference>)))]
pub(super) async fn list_differences(
    _: Reader,
    State(app): State<App>,
    Path((name, hook, position)): Path<(String, String, i32)>,
    Query(query): Query<ListDifferences>,
) -> Result<Json<Page<ShadowDifference>>> {
    let place = place(&name, &hook, position);
    Ok(Json(
        app.db
            .shadow_differences(place, query.cursor.as_deref(), limit(query.limit)?)
            .await?,
    ))
}
