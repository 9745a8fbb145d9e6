//! Pipelines and their bindings.

use axum::extract::State;
use pointsman_api::generation::{Because, Written};
use pointsman_api::page::Page;
use pointsman_api::pipeline::{Pipeline, PutBinding, UpdatePipeline};

use super::App;
use super::auth::{Admin, Reader};
use super::distros::Why;
use super::extract::{IfMatch, Json, Path, Query};
use crate::db::pipeline::{Bind, Place};
use crate::error::{Result, invalid};
use crate::failpoint::failpoint;

/// The last place of a chain.
const MAX_POSITION: i32 = 15;

/// Lists pipelines, by name.
#[utoipa::path(get, path = "/v1/pipelines", tag = "pipelines", responses((status = 200, body = Page<Pipeline>)))]
pub(super) async fn list_pipelines(
    _: Reader,
    State(app): State<App>,
) -> Result<Json<Page<Pipeline>>> {
    Ok(Json(app.db.pipelines(None).await?))
}

/// One pipeline: its bindings, and what holds it.
#[utoipa::path(get, path = "/v1/pipelines/{name}", tag = "pipelines", params(("name", description = "Its name")), responses((status = 200, body = Pipeline)))]
pub(super) async fn get_pipeline(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Pipeline>> {
    Ok(Json(app.db.pipeline(&name).await?))
}

/// Pauses a pipeline with a reason, or resumes it with an empty one; closes or opens the tree of a merge
/// pipeline; sets the slots, of lanes or of a kernel pipeline's own runs.
#[utoipa::path(patch, path = "/v1/pipelines/{name}", tag = "pipelines", params(("name", description = "Its name")), request_body = UpdatePipeline, responses((status = 200, body = Written)))]
pub(super) async fn update_pipeline(
    Admin(actor): Admin,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(body): Json<UpdatePipeline>,
) -> Result<Json<Written>> {
    if body.paused.is_none() && body.frozen.is_none() && body.slots.is_none() {
        return Err(invalid(
            "nothing_to_change",
            "/paused",
            "the request changes nothing: give `paused`, `frozen` or `slots`",
        ));
    }
    let reasons = (
        body.paused.as_deref().map(str::trim),
        body.frozen.as_deref().map(str::trim),
    );
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || match reasons {
            (Some(""), _) => format!("Resume pipeline {name}"),
            (Some(paused), _) => format!("Pause pipeline {name}: {paused}"),
            (None, Some("")) => format!("Open the tree of {name}"),
            (None, Some(frozen)) => format!("Close the tree of {name}: {frozen}"),
            (None, None) => format!("Change the slots of {name}"),
        })
        .await?;
    let mut written = crate::db::batch::nothing();
    if let Some(paused) = &body.paused {
        written = app.db.pause_pipeline(&mut batch, &name, paused).await?;
    }
    let runs = match body.slots {
        Some(slots) if app.db.pipeline(&name).await?.kind == "kernel" => Some(slots),
        _ => None,
    };
    if let Some(slots) = runs {
        written = app.db.set_run_slots(&mut batch, &name, slots).await?;
    }
    if body.frozen.is_some() || body.slots.is_some() && runs.is_none() {
        written = app
            .db
            .update_merging(
                &mut batch,
                &name,
                body.frozen.as_deref(),
                body.slots,
                &actor.user,
            )
            .await?;
    }
    Ok(Json(batch.commit(written).await?))
}

/// Binds a plugin version to a hook, in force from the next turn on. Digest and settings are checked
/// together first; what fails the check never replaces what works.
#[utoipa::path(put, path = "/v1/pipelines/{name}/bindings/{hook}/{position}", tag = "pipelines", params(("name", description = "The pipeline"), ("hook", description = "The hook"), ("position" = i32, description = "The place in its chain, from 0"), ("If-Match" = Option<String>, Header, description = "The generation of the binding that you saw")), request_body = PutBinding, responses((status = 200, body = Written)))]
pub(super) async fn put_binding(
    Admin(actor): Admin,
    State(app): State<App>,
    Path((name, hook, position)): Path<(String, String, i32)>,
    IfMatch(expected): IfMatch,
    Json(body): Json<PutBinding>,
) -> Result<Json<Written>> {
    in_chain(position)?;
    let kind = app.db.pipeline(&name).await?.kind;
    app.plugins
        .check_binding(&kind, &body.digest, &hook, &body.settings, &body.limits)
        .await?;
    failpoint("bind-checked");
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Bind {} to {name}/{hook}/{position}", &body.digest[..12])
        })
        .await?;
    let written = app
        .db
        .put_binding(
            &mut batch,
            place(&name, &hook, position),
            &Bind {
                digest: &body.digest,
                settings: &body.settings,
                limits: Some(body.limits),
            },
            expected,
        )
        .await?;
    failpoint("bind-written");
    let written = batch.commit(written).await?;
    failpoint("bind-committed");
    Ok(Json(written))
}

/// Takes a binding away.
#[utoipa::path(delete, path = "/v1/pipelines/{name}/bindings/{hook}/{position}", tag = "pipelines", params(("name", description = "The pipeline"), ("hook", description = "The hook"), ("position" = i32, description = "The place in its chain, from 0"), Why), responses((status = 200, body = Written)))]
pub(super) async fn delete_binding(
    Admin(actor): Admin,
    State(app): State<App>,
    Path((name, hook, position)): Path<(String, String, i32)>,
    Query(why): Query<Why>,
) -> Result<Json<Written>> {
    in_chain(position)?;
    let mut batch = app
        .db
        .begin(&actor, why.comment.as_deref(), || {
            format!("Take the binding off {name}/{hook}/{position}")
        })
        .await?;
    let written = app
        .db
        .delete_binding(&mut batch, &name, &hook, position)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

/// Binds again what was bound before: the version and its settings. Twice gives the present one back.
#[utoipa::path(post, path = "/v1/pipelines/{name}/bindings/{hook}/{position}/rollback", tag = "pipelines", params(("name", description = "The pipeline"), ("hook", description = "The hook"), ("position" = i32, description = "The place in its chain, from 0")), request_body = Because, responses((status = 200, body = Written)))]
pub(super) async fn rollback_binding(
    Admin(actor): Admin,
    State(app): State<App>,
    Path((name, hook, position)): Path<(String, String, i32)>,
    IfMatch(expected): IfMatch,
    Json(body): Json<Because>,
) -> Result<Json<Written>> {
    in_chain(position)?;
    let (digest, settings, limits) = app.db.previous_binding(&name, &hook, position).await?;
    let kind = app.db.pipeline(&name).await?.kind;
    app.plugins
        .check_binding(&kind, &digest, &hook, &settings, &limits)
        .await?;
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Roll {name}/{hook}/{position} back to {}", &digest[..12])
        })
        .await?;
    let written = app
        .db
        .put_binding(
            &mut batch,
            place(&name, &hook, position),
            &Bind {
                digest: &digest,
                settings: &settings,
                limits: Some(limits),
            },
            expected,
        )
        .await?;
    Ok(Json(batch.commit(written).await?))
}

pub(super) fn place<'a>(pipeline: &'a str, hook: &'a str, position: i32) -> Place<'a> {
    Place {
        pipeline,
        hook,
        position,
    }
}

pub(super) fn in_chain(position: i32) -> Result<()> {
    match position {
        0..=MAX_POSITION => Ok(()),
        _ => Err(invalid(
            "position_invalid",
            "position",
            format!("a chain has the places 0 to {MAX_POSITION}"),
        )),
    }
}
