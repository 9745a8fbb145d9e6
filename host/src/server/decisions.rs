//! Decisions: why did it do that?

use axum::extract::State;
use pointsman_api::page::Page;
use pointsman_api::pipeline::Decision;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::Reader;
use super::extract::{Json, Path, Query, limit};
use crate::db::decision::Filter;
use crate::error::Result;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListDecisions {
    /// Of this pipeline.
    pipeline: Option<String>,
    /// Of this hook.
    hook: Option<String>,
    /// About this subject: a distro.
    subject: Option<String>,
    /// That ended so: `answered`, `trapped`, ...
    outcome: Option<String>,
    /// Carried out by this generation.
    generation: Option<i64>,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists decisions, newest first, without what was asked and answered.
#[utoipa::path(get, path = "/v1/decisions", tag = "decisions", params(ListDecisions), responses((status = 200, body = Page<Decision>)))]
pub(super) async fn list_decisions(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListDecisions>,
) -> Result<Json<Page<Decision>>> {
    let filter = Filter {
        pipeline: query.pipeline,
        hook: query.hook,
        subject: query.subject,
        outcome: query.outcome,
        generation: query.generation,
    };
    Ok(Json(
        app.db
            .decisions(&filter, query.cursor.as_deref(), limit(query.limit)?)
            .await?,
    ))
}

/// One decision, with what was asked and answered.
#[utoipa::path(get, path = "/v1/decisions/{id}", tag = "decisions", params(("id" = i64, description = "Its id")), responses((status = 200, body = Decision)))]
pub(super) async fn get_decision(
    _: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Decision>> {
    Ok(Json(app.db.decision(id).await?))
}
