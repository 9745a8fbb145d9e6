//! Notes: what policies remember.

use axum::extract::State;
use pointsman_api::generation::Written;
use pointsman_api::note::{Note, PutNotes};
use pointsman_api::page::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Admin, Reader};
use super::extract::{Json, Path, Query, batch_size, limit};
use super::kernels::distro;
use super::pipelines::in_chain;
use crate::db::note::Filter;
use crate::error::{Result, invalid};

/// Notes in one request.
const MAX_NOTES: usize = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListNotes {
    /// Of this hook's bindings.
    hook: Option<String>,
    /// Of the binding at this place of the hook's chain; needs `hook`.
    position: Option<i32>,
    /// About kernel versions of this distro; needs `version`.
    distro: Option<String>,
    /// About this kernel version; needs `distro`.
    version: Option<String>,
    /// About pull requests of this repository; needs `number`.
    repository: Option<String>,
    /// About this pull request; needs `repository`.
    number: Option<i32>,
    /// About the pipeline itself, and neither a kernel version nor a pull request.
    #[serde(default)]
    pipeline_only: bool,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists a pipeline's notes, by hook, place and age.
#[utoipa::path(get, path = "/v1/pipelines/{name}/notes", tag = "pipelines", params(("name", description = "The pipeline"), ListNotes), responses((status = 200, body = Page<Note>)))]
pub(super) async fn list_notes(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<ListNotes>,
) -> Result<Json<Page<Note>>> {
    let needs = |field: &'static str, other: &str| {
        let detail = format!("`{field}` alone does not say which notes: give `{other}`, too");
        Err(invalid("filter_incomplete", field, detail))
    };
    if let Some(position) = query.position {
        in_chain(position)?;
        if query.hook.is_none() {
            return needs("position", "hook");
        }
    }
    match (&query.distro, &query.version) {
        (Some(_), None) => return needs("distro", "version"),
        (None, Some(_)) => return needs("version", "distro"),
        _ => {}
    }
    match (&query.repository, query.number) {
        (Some(_), None) => return needs("repository", "number"),
        (None, Some(_)) => return needs("number", "repository"),
        _ => {}
    }
    let filter = Filter {
        hook: query.hook,
        position: query.position,
        kernel: distro(&app, query.distro.as_deref())
            .await?
            .zip(query.version),
        pull: query.repository.zip(query.number),
        pipeline_only: query.pipeline_only,
    };
    Ok(Json(
        app.db
            .notes(&name, &filter, query.cursor.as_deref(), limit(query.limit)?)
            .await?,
    ))
}

/// Writes and removes notes, all or none. What they are about is looked at again, with them.
#[utoipa::path(post, path = "/v1/pipelines/{name}/notes", tag = "pipelines", params(("name", description = "The pipeline")), request_body = PutNotes, responses((status = 200, body = Written)))]
pub(super) async fn put_notes(
    Admin(actor): Admin,
    State(app): State<App>,
    Path(name): Path<String>,
    Json(body): Json<PutNotes>,
) -> Result<Json<Written>> {
    batch_size("notes", body.notes.len() + body.remove.len(), MAX_NOTES)?;
    let kind = app.db.pipeline(&name).await?.kind;
    let named = body.notes.iter().map(|n| (&n.hook, n.position));
    let removed = body.remove.iter().map(|n| (&n.hook, n.position));
    for (hook, position) in named.chain(removed) {
        crate::plugins::asked(&kind, hook)?;
        in_chain(position)?;
    }
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            match (body.notes.as_slice(), body.remove.as_slice()) {
                ([one], []) => format!("Note `{}` for {name}/{}", one.key, one.hook),
                ([], [one]) => format!("Forget `{}` of {name}/{}", one.key, one.hook),
                (some, gone) => format!("Change {} notes of {name}", some.len() + gone.len()),
            }
        })
        .await?;
    let written = app.db.put_notes(&mut batch, &name, &body).await?;
    Ok(Json(batch.commit(written).await?))
}
