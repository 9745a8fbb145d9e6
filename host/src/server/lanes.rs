//! Merge pipelines: making them, what they are at, their lanes, and the logs and files of jobs.

use std::collections::{BTreeMap, HashMap};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Duration, Utc};
use pointsman_api::generation::Written;
use pointsman_api::lane::{Job, Lane, Tip, Under, UnderJob};
use pointsman_api::page::Page;
use pointsman_api::pull::{NewPipeline, PullAction};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Admin, Reader, Writer};
use super::extract::{Json, Path, Query, limit};
use crate::db::browse::Shown;
use crate::db::lane::Filter;
use crate::db::pull;
use crate::error::{Kind, Refusal, Result};

/// Where to read a log on.
const NEXT: &str = "pointsman-next";
/// Bytes of a log or a file in one reply.
const MAX_PART: usize = 1 << 20;
/// Rows that are read at once for a list that is not paged: a pipeline has some hundred lanes that live, and
/// `select` is told of 1,000 pull requests.
const PAGE: u32 = 1_000;
/// The states of a lane for which something is being executed. One that waits has not begun, and one that passed and
/// waits for its landing has ended its tests.
const EXECUTING: [&str; 3] = ["building", "built", "running"];

/// Makes a pipeline that lands pull requests on one branch. A branch has one.
#[utoipa::path(post, path = "/v1/pipelines", tag = "pipelines", request_body = NewPipeline, responses((status = 200, body = Written)))]
pub(super) async fn create_pipeline(
    Admin(actor): Admin,
    State(app): State<App>,
    Json(body): Json<NewPipeline>,
) -> Result<Json<Written>> {
    app.engine.check_branch(&body.target, "/target")?;
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!(
                "Create pipeline {} of {}/{}",
                body.name, body.repository, body.target
            )
        })
        .await?;
    let written = app.db.create_pipeline(&mut batch, &body).await?;
    Ok(Json(batch.commit(written).await?))
}

/// What is being executed now: from each pull request's number to its lane, with the jobs that run or wait.
#[utoipa::path(get, path = "/v1/pipelines/{name}/status", tag = "pipelines", params(("name", description = "The pipeline")), responses((status = 200, body = BTreeMap<i32, Under>)))]
pub(super) async fn pipeline_status(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<BTreeMap<i32, Under>>> {
    let (id, _) = app.db.merging(&name).await?;
    let filter = Filter {
        pipeline: Some(id),
        living: true,
        ..Filter::default()
    };
    let mut lanes = app.db.lane_page(&filter, None, PAGE).await?.items;
    lanes.retain(|lane| EXECUTING.contains(&lane.state.as_str()));
    let until = app.links.until(Utc::now());
    let mut jobs: HashMap<i64, Vec<UnderJob>> = HashMap::new();
    for attempt in app.db.under_way(id).await? {
        let token = app.links.attempt(&attempt.key, until);
        jobs.entry(attempt.lane).or_default().push(UnderJob {
            name: attempt.job,
            attempt: attempt.number,
            state: attempt.state,
            started_at: attempt.started_at,
            link: token.map(|token| app.links.address(&token)),
        });
    }
    let mut running = BTreeMap::new();
    // The newest first, so that of a pull request in two lanes the newest one is shown.
    for lane in lanes {
        let jobs = jobs.remove(&lane.id).unwrap_or_default();
        for member in lane.members {
            running.entry(member.number).or_insert_with(|| Under {
                lane: lane.id,
                state: lane.state.clone(),
                head: member.head,
                base: lane.base.clone(),
                commit: lane.commit.clone(),
                jobs: jobs.clone(),
            });
        }
    }
    Ok(Json(running))
}

/// All of them, however many pages that is.
async fn numbers(app: &App, name: &str, filter: pull::Filter) -> Result<Json<Vec<i32>>> {
    let (_, merging) = app.db.merging(name).await?;
    let filter = pull::Filter {
        state: Some("open".to_owned()),
        target: Some(merging.target),
        ..filter
    };
    let mut numbers: Vec<i32> = vec![];
    let mut after = None;
    loop {
        let page = app
            .db
            .pulls(&merging.repository, &filter, after.as_deref(), PAGE)
            .await?;
        numbers.extend(page.items.into_iter().map(|pull| pull.number));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    numbers.reverse();
    Ok(Json(numbers))
}

fn approved() -> pull::Filter {
    pull::Filter {
        approval: Some("approved".to_owned()),
        ..pull::Filter::default()
    }
}

/// The numbers of the open pull requests that are approved and pass on the target's present tip.
#[utoipa::path(get, path = "/v1/pipelines/{name}/ready-for-merge", tag = "pipelines", params(("name", description = "The pipeline")), responses((status = 200, body = Vec<i32>)))]
pub(super) async fn ready_for_merge(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Vec<i32>>> {
    let filter = pull::Filter {
        passing: true,
        ..approved()
    };
    numbers(&app, &name, filter).await
}

/// The numbers of the open pull requests that are approved.
#[utoipa::path(get, path = "/v1/pipelines/{name}/review-status", tag = "pipelines", params(("name", description = "The pipeline")), responses((status = 200, body = Vec<i32>)))]
pub(super) async fn review_status(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Vec<i32>>> {
    numbers(&app, &name, approved()).await
}

/// The numbers of the open pull requests that pass on the target's present tip.
#[utoipa::path(get, path = "/v1/pipelines/{name}/passing", tag = "pipelines", params(("name", description = "The pipeline")), responses((status = 200, body = Vec<i32>)))]
pub(super) async fn passing(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Vec<i32>>> {
    let filter = pull::Filter {
        passing: true,
        ..pull::Filter::default()
    };
    numbers(&app, &name, filter).await
}

/// Looks at a pull request again, and lands it if it may. Nothing that is in its way is passed over: `why`
/// says what is. The reply is the pull request as it was found.
#[utoipa::path(post, path = "/v1/pipelines/{name}/try-merge/{number}", tag = "pipelines", params(("name", description = "The pipeline"), ("number" = i32, description = "The pull request")), request_body = PullAction, responses((status = 200, body = pointsman_api::pull::Pull)))]
pub(super) async fn try_merge(
    Writer(_): Writer,
    State(app): State<App>,
    Path((name, number)): Path<(String, i32)>,
    Json(body): Json<PullAction>,
) -> Result<Json<pointsman_api::pull::Pull>> {
    let (_, merging) = app.db.merging(&name).await?;
    let found = app.db.pull(&merging.repository, number).await?;
    if found.target != merging.target {
        let text = format!(
            "#{number} goes to {}, and {name} lands on {}",
            found.target, merging.target
        );
        return Err(Refusal::new(Kind::Conflict, "pull_elsewhere", text)
            .hint("`pointsman pipeline list` shows which pipeline lands where.")
            .into());
    }
    app.db
        .look_again(&merging.repository, number, body.head.as_deref())
        .await?;
    Ok(Json(found))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListLanes {
    /// Only those that have not ended.
    #[serde(default)]
    living: bool,
    /// In this state.
    state: Option<String>,
    /// With this pull request in it.
    number: Option<i32>,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists the lanes of a pipeline, the newest first.
#[utoipa::path(get, path = "/v1/pipelines/{name}/lanes", tag = "pipelines", params(("name", description = "The pipeline"), ListLanes), responses((status = 200, body = Page<Lane>)))]
pub(super) async fn list_lanes(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<ListLanes>,
) -> Result<Json<Page<Lane>>> {
    let (id, _) = app.db.merging(&name).await?;
    let filter = Filter {
        pipeline: Some(id),
        living: query.living,
        state: query.state,
        number: query.number,
        id: None,
    };
    let mut page = app
        .db
        .lane_page(&filter, query.cursor.as_deref(), limit(query.limit)?)
        .await?;
    let now = Utc::now();
    for lane in &mut page.items {
        link(&app, now, lane);
    }
    Ok(Json(page))
}

/// One lane, with its jobs and their attempts.
#[utoipa::path(get, path = "/v1/lanes/{id}", tag = "pipelines", params(("id" = i64, description = "The lane")), responses((status = 200, body = Lane)))]
pub(super) async fn get_lane(
    _: Reader,
    State(app): State<App>,
    Path(id): Path<i64>,
) -> Result<Json<Lane>> {
    let mut lane = app.db.lane(id).await?;
    link(&app, Utc::now(), &mut lane);
    Ok(Json(lane))
}

/// Adds what the record does not hold: addresses that open by themselves, and until when there is something
/// behind them.
fn link(app: &App, now: DateTime<Utc>, lane: &mut Lane) {
    let until = app.links.until(now);
    let token = app.links.lane(lane.id, lane.created_at, until);
    lane.link = Some(app.links.address(&token));
    link_attempts(app, now, lane.jobs.iter_mut().flatten());
}

/// As [`link`], for the attempts of jobs.
pub(super) fn link_attempts<'j>(
    app: &App,
    now: DateTime<Utc>,
    jobs: impl Iterator<Item = &'j mut Job>,
) {
    let until = app.links.until(now);
    for attempt in jobs.flat_map(|job| &mut job.attempts) {
        let token = app.links.attempt(&attempt.key, until);
        attempt.link = token.map(|token| app.links.address(&token));
        if attempt.removed_at.is_none() {
            let days = Duration::days(app.artifact_days.into());
            attempt.kept_until = attempt.ended_at.map(|ended| ended + days);
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTips {
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists the commits that the target pointed at since the pipeline watches it, the newest first, each with
/// what vouches for it.
#[utoipa::path(get, path = "/v1/pipelines/{name}/tips", tag = "pipelines", params(("name", description = "The pipeline"), ListTips), responses((status = 200, body = Page<Tip>)))]
pub(super) async fn list_tips(
    _: Reader,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<ListTips>,
) -> Result<Json<Page<Tip>>> {
    let (id, _) = app.db.merging(&name).await?;
    let page = app
        .db
        .tips(id, query.cursor.as_deref(), limit(query.limit)?)
        .await?;
    Ok(Json(page))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// From this byte on.
    #[serde(default)]
    pub(super) from: u64,
}

/// A part of an attempt's log, at most 1 MiB, also while it runs. The header `pointsman-next` says from which
/// byte to read on: of a long log the middle is cut, and a line stands in its place.
#[utoipa::path(get, path = "/v1/attempts/{key}/log", tag = "pipelines", params(("key", description = "The attempt"), Part), responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn attempt_log(
    _: Reader,
    State(app): State<App>,
    Path(key): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response> {
    known(&app, &key).await?;
    let log = app.engine.log(&key, part.from, MAX_PART).await?;
    let (bytes, next) =
        log.ok_or_else(|| not_here("the log is not on this host: ask the one that runs the job"))?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (HeaderName::from_static(NEXT), next.to_string()),
    ];
    Ok((headers, Body::from(bytes)).into_response())
}

/// A part of a file that an attempt left, at most 1 MiB.
#[utoipa::path(get, path = "/v1/attempts/{key}/files/{*path}", tag = "pipelines", params(("key", description = "The attempt"), ("path", description = "The file"), Part), responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub(super) async fn attempt_file(
    _: Reader,
    State(app): State<App>,
    Path((key, path)): Path<(String, String)>,
    Query(part): Query<Part>,
) -> Result<Response> {
    known(&app, &key).await?;
    let file = app
        .engine
        .artifact(&key, &path, part.from, MAX_PART)
        .await?;
    let bytes = file.ok_or_else(|| not_here("the attempt left no such file"))?;
    // Whatever a job wrote is data: no browser may take it for a page of ours.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, Body::from(bytes)).into_response())
}

async fn known(app: &App, key: &str) -> Result<()> {
    match app.db.shown_attempt(key).await? {
        Some(Shown {
            removed_at: Some(at),
            ..
        }) => {
            let text = format!(
                "the log and the files of this attempt were removed on {}",
                at.date_naive()
            );
            Err(Refusal::new(Kind::Gone, "attempt_removed", text)
                .hint("How it ended stays on record: `pointsman lane show` has it.")
                .into())
        }
        Some(_) => Ok(()),
        None => Err(not_here("there is no such attempt")),
    }
}

fn not_here(text: &str) -> crate::error::Error {
    Refusal::new(Kind::NotFound, "attempt_unknown", text.to_owned())
        .hint("`pointsman lane show` lists attempts and what they left.")
        .into()
}
