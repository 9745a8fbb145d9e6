//! Runs, reported from outside or made by our own jobs.

use axum::extract::State;
use chrono::Utc;
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use pointsman_api::run::{ReportRuns, RequestRun, Run, Verdict};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Reader, Writer};
use super::extract::{Json, Path, Query, batch_size, limit};
use super::kernels::distro;
use super::lanes::link_attempts;
use crate::db::run::Filter;
use crate::error::Result;

/// Runs in one report.
const MAX_RUNS: usize = 10_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListRuns {
    /// Of kernel versions of this distro.
    distro: Option<String>,
    /// Of this version.
    version: Option<String>,
    /// `fetch`, `build`, `test`.
    purpose: Option<String>,
    /// Of this product release.
    release: Option<String>,
    /// `pass`, `fail`, `inconclusive`.
    verdict: Option<Verdict>,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists runs, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(ListRuns), responses((status = 200, body = Page<Run>)))]
pub(super) async fn list_runs(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListRuns>,
) -> Result<Json<Page<Run>>> {
    let filter = Filter {
        distro: distro(&app, query.distro.as_deref()).await?,
        version: query.version,
        purpose: query.purpose,
        release: query.release,
        verdict: query.verdict,
    };
    Ok(Json(
        app.db
            .runs(&filter, query.cursor.as_deref(), limit(query.limit)?)
            .await?,
    ))
}

/// Reports runs, all or none. With a `key` a report can safely be repeated.
#[utoipa::path(post, path = "/v1/runs", tag = "runs", request_body = ReportRuns, responses((status = 200, body = Written)))]
pub(super) async fn report_runs(
    Writer(actor): Writer,
    State(app): State<App>,
    Json(body): Json<ReportRuns>,
) -> Result<Json<Written>> {
    batch_size("runs", body.runs.len(), MAX_RUNS)?;
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || describe(&body))
        .await?;
    let written = app.db.report_runs(&mut batch, &actor, body.runs).await?;
    Ok(Json(batch.commit(written).await?))
}

fn describe(body: &ReportRuns) -> String {
    let Some(first) = body.runs.first() else {
        return "Report runs".to_owned();
    };
    let verdict = match first.verdict {
        None => "begun",
        Some(Verdict::Pass) => "passed",
        Some(Verdict::Fail) => "failed",
        Some(Verdict::Inconclusive) => "inconclusive",
    };
    let more = match body.runs.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let mut text = format!(
        "{} of {}/{} {verdict}{more}",
        first.purpose, first.distro, first.version
    );
    text.truncate(text.floor_char_boundary(1_000));
    text
}

/// One run; of one that our own jobs make, with those and their attempts.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs", params(("id" = i64, description = "Its id")), responses((status = 200, body = Run)))]
pub(super) async fn get_run(
    _: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Run>> {
    let mut run = app.db.run(id).await?;
    link_attempts(&app, Utc::now(), run.jobs.iter_mut().flatten());
    Ok(Json(run))
}

/// Asks for a run of a kernel version, as a person does: also of what failed, or is ignored. The policy `advance` is
/// told, and says whether it may; with nothing bound to `run`, somebody outside makes it (`/v1/wanted`).
#[utoipa::path(post, path = "/v1/kernels/{distro}/{version}/request", tag = "runs", params(("distro", description = "The distro's builder name"), ("version", description = "The version")), request_body = RequestRun, responses((status = 200, body = Written)))]
pub(super) async fn request_run(
    Writer(actor): Writer,
    State(app): State<App>,
    Path((distro, version)): Path<(String, String)>,
    Json(body): Json<RequestRun>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            let purpose: String = body.purpose.chars().take(32).collect();
            format!("Ask for a {purpose} of {distro}/{version}")
        })
        .await?;
    let written = app
        .db
        .request_run(&mut batch, &actor, &distro, &version, &body.purpose)
        .await?;
    Ok(Json(batch.commit(written).await?))
}
