//! Decisions: why did it do that?

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use pointsman_api::page::Page;
use pointsman_api::pipeline::{Decision, DecisionRecord};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::App;
use super::auth::Reader;
use super::extract::{Json, Path, Query, limit};
use crate::db::decision::Filter;
use crate::error::Result;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordsOf {
    /// This one alone.
    id: Option<i64>,
    /// Of this pipeline.
    pipeline: Option<String>,
    /// Of this hook.
    hook: Option<String>,
    /// About this subject.
    subject: Option<String>,
    /// That ended so.
    outcome: Option<String>,
    /// Made at this time or later.
    since: Option<DateTime<Utc>>,
    /// Made before this time.
    until: Option<DateTime<Utc>>,
}

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

/// Every decision that fits, oldest first, with all that a replay needs: lines of JSON. The last line is
/// `{"end":true}`; one that lacks it was cut.
#[utoipa::path(get, path = "/v1/decision-records", tag = "decisions", params(RecordsOf), responses((status = 200, body = DecisionRecord, content_type = "application/x-ndjson")))]
pub(super) async fn decision_records(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<RecordsOf>,
) -> Response {
    let filter = Filter {
        pipeline: query.pipeline,
        hook: query.hook,
        subject: query.subject,
        outcome: query.outcome,
        generation: None,
    };
    let (lines, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let sent = app
            .db
            .decision_records(&filter, query.id, query.since, query.until, lines.clone())
            .await;
        let last = match sent {
            Ok(()) => Ok(Bytes::from_static(b"{\"end\":true}\n")),
            Err(error) => {
                tracing::warn!(%error, "decision records ended early");
                Err(error)
            }
        };
        let _ = lines.send(last).await;
    });
    let lines = Body::from_stream(ReceiverStream::new(receiver));
    ([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
}

/// Lines that are made before somebody takes them.
const AHEAD: usize = 16;
