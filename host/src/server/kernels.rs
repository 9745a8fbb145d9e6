//! Kernel versions.

use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, ETAG, LINK};
use axum::response::{IntoResponse, Response};
use chrono::{Duration, Utc};
use pointsman_api::generation::{Because, Written};
use pointsman_api::kernel::{
    CreateKernels, Detection, Kernel, KernelWhy, SetKernel, SetKernels, UpdateKernel, Wanted,
};
use pointsman_api::page::Page;
use pointsman_patterns::{Kind as Reading, Pattern};
use serde::Deserialize;
use utoipa::IntoParams;

use super::auth::{Reader, Writer};
use super::distros::Why;
use super::extract::{IfMatch, Json, Path, Query, batch_size, limit};
use super::{App, MAX_BATCH};
use crate::db::distro::Mark;
use crate::db::ignore::pattern_invalid;
use crate::db::kernel::Filter;
use crate::error::{Error, Result, invalid};

/// How long a version may sit in one state before it is stale, unless told otherwise: a week.
const STALE_SECONDS: u32 = 7 * 24 * 3_600;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListKernels {
    /// Of this distro.
    distro: Option<String>,
    /// In one of these states, separated by commas.
    state: Option<String>,
    /// In none of these states, separated by commas.
    without_state: Option<String>,
    /// Ignored by the policy, or not.
    ignored: Option<bool>,
    /// SQL LIKE over the whole version: `5.15.%`.
    like: Option<String>,
    /// A regular expression found in the version: `^6\.5\.`.
    regex: Option<String>,
    /// Installed on some host, or on none.
    installed: Option<bool>,
    /// Lacking headers or image, or complete.
    missing: Option<bool>,
    /// Those marked as deleted, instead of those that are not.
    #[serde(default)]
    deleted: bool,
    /// `json` (the default) or `csv`.
    format: Option<String>,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists kernel versions, by distro and version.
#[utoipa::path(get, path = "/v1/kernels", tag = "kernels", params(ListKernels), responses((status = 200, body = Page<Kernel>)))]
pub(super) async fn list_kernels(
    _: Reader,
    State(app): State<App>,
    RawQuery(asked): RawQuery,
    Query(query): Query<ListKernels>,
) -> Result<Response> {
    let distro = distro(&app, query.distro.as_deref()).await?;
    let states = states(&app, query.state.as_deref(), query.without_state.as_deref()).await?;
    let read = |kind, field: &str, pattern: Option<String>| {
        let read = pattern
            .map(|pattern| Pattern::parse(kind, &pattern))
            .transpose();
        read.map_err(|error| pattern_invalid(&error, field.to_owned()))
    };
    let like = read(Reading::Like, "like", query.like)?;
    let regex = read(Reading::Regex, "regex", query.regex)?;
    let filter = Filter {
        distro,
        states,
        ignored: query.ignored,
        like,
        regex,
        installed: query.installed,
        missing: query.missing,
        deleted: query.deleted,
    };
    let page = app
        .db
        .kernels(&filter, query.cursor.as_deref(), limit(query.limit)?)
        .await?;
    match query.format.as_deref() {
        None | Some("json") => Ok(Json(page).into_response()),
        Some("csv") => csv_page(page, asked.as_deref().unwrap_or_default()),
        Some(_) => Err(invalid(
            "format_unknown",
            "format",
            "the formats are json and csv",
        )),
    }
}

/// `asked` is the query, which the link to the next page repeats.
fn csv_page(page: Page<Kernel>, asked: &str) -> Result<Response> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let internal = |error: csv::Error| Error::Internal(error.into());
    csv.write_record([
        "distro",
        "version",
        "state",
        "state_since",
        "first_seen",
        "missing",
        "ignored",
        "reason",
        "generation",
    ])
    .map_err(internal)?;
    for kernel in page.items {
        let (scope, reason) = kernel
            .ignored
            .map(|i| (i.scope, i.reason))
            .unwrap_or_default();
        csv.write_record([
            kernel.distro,
            kernel.version,
            kernel.state,
            kernel.state_since.to_rfc3339(),
            kernel.first_seen.to_rfc3339(),
            kernel.missing.join(" "),
            scope,
            // A spreadsheet would run a text that begins like a formula.
            if reason.starts_with(['=', '+', '-', '@', '\t', '\r']) {
                format!("'{reason}")
            } else {
                reason
            },
            kernel.generation.to_string(),
        ])
        .map_err(internal)?;
    }
    let bytes = csv
        .into_inner()
        .map_err(|e| Error::Internal(anyhow::anyhow!("{e}")))?;
    let mut response = ([(CONTENT_TYPE, "text/csv; charset=utf-8")], bytes).into_response();
    if let Some(next) = page.next {
        let filters =
            url::form_urlencoded::parse(asked.as_bytes()).filter(|(name, _)| name != "cursor");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(filters).append_pair("cursor", &next);
        let link = format!("</v1/kernels?{}>; rel=\"next\"", query.finish());
        let link = HeaderValue::from_str(&link).map_err(|e| Error::Internal(e.into()))?;
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// Creates kernel versions; those that exist stay as they are. The same version in two distros is two.
#[utoipa::path(post, path = "/v1/kernels", tag = "kernels", request_body = CreateKernels, responses((status = 200, body = Written)))]
pub(super) async fn create_kernels(
    Writer(actor): Writer,
    State(app): State<App>,
    Json(body): Json<CreateKernels>,
) -> Result<Json<Written>> {
    batch_size("kernels", body.kernels.len(), MAX_BATCH)?;
    let count = body.kernels.len();
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Add {count} kernel versions")
        })
        .await?;
    let written = app.db.create_kernels(&mut batch, body.kernels).await?;
    Ok(Json(batch.commit(written).await?))
}

/// Moves kernel versions to states, all or none.
#[utoipa::path(patch, path = "/v1/kernels", tag = "kernels", request_body = SetKernels, responses((status = 200, body = Written)))]
pub(super) async fn set_kernels(
    Writer(actor): Writer,
    State(app): State<App>,
    Json(body): Json<SetKernels>,
) -> Result<Json<Written>> {
    batch_size("kernels", body.kernels.len(), MAX_BATCH)?;
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Set the state of {} kernel versions", body.kernels.len())
        })
        .await?;
    let written = app.db.set_kernels(&mut batch, &body.kernels, None).await?;
    Ok(Json(batch.commit(written).await?))
}

/// Records what a detection found: creates versions, and brings packages up to date. Removes nothing.
#[utoipa::path(post, path = "/v1/detections", tag = "kernels", request_body = Detection, responses((status = 200, body = Written)))]
pub(super) async fn detect_kernels(
    Writer(actor): Writer,
    State(app): State<App>,
    Json(body): Json<Detection>,
) -> Result<Json<Written>> {
    batch_size("kernels", body.kernels.len(), MAX_BATCH)?;
    let count = body.kernels.len();
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Detected {count} kernel versions")
        })
        .await?;
    let written = app.db.detect_kernels(&mut batch, body.kernels).await?;
    Ok(Json(batch.commit(written).await?))
}

/// One kernel version, with its packages. The `ETag` is its generation.
#[utoipa::path(get, path = "/v1/kernels/{distro}/{version}", tag = "kernels", params(("distro", description = "The distro's builder name"), ("version", description = "The version")), responses((status = 200, body = Kernel)))]
pub(super) async fn get_kernel(
    _: Reader,
    State(app): State<App>,
    Path((distro, version)): Path<(String, String)>,
) -> Result<Response> {
    let kernel = app.db.kernel(&distro, &version).await?;
    let etag = format!("\"{}\"", kernel.generation);
    Ok(([(ETAG, etag)], Json(kernel)).into_response())
}

/// Why a kernel version does not go on: what its next run waits for.
#[utoipa::path(get, path = "/v1/kernels/{distro}/{version}/why", tag = "kernels", params(("distro", description = "The distro's builder name"), ("version", description = "The version")), responses((status = 200, body = KernelWhy)))]
pub(super) async fn explain_kernel(
    _: Reader,
    State(app): State<App>,
    Path((distro, version)): Path<(String, String)>,
) -> Result<Json<KernelWhy>> {
    Ok(Json(
        crate::explain::kernel(&app.db, &distro, &version).await?,
    ))
}

/// Changes fields of a kernel version; `If-Match` makes sure that nobody was faster.
#[utoipa::path(patch, path = "/v1/kernels/{distro}/{version}", tag = "kernels", params(("distro", description = "The distro's builder name"), ("version", description = "The version"), ("If-Match" = Option<String>, Header, description = "The generation that you saw")), request_body = UpdateKernel, responses((status = 200, body = Written)))]
pub(super) async fn update_kernel(
    Writer(actor): Writer,
    State(app): State<App>,
    Path((distro, version)): Path<(String, String)>,
    IfMatch(expected): IfMatch,
    Json(body): Json<UpdateKernel>,
) -> Result<Json<Written>> {
    let Some(state) = body.state else {
        return Err(invalid(
            "nothing_to_change",
            "/state",
            "the request changes nothing: name a state",
        ));
    };
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Set {distro}/{version} to {state}")
        })
        .await?;
    let change = [SetKernel {
        distro,
        version,
        state,
    }];
    let written = app.db.set_kernels(&mut batch, &change, expected).await?;
    Ok(Json(batch.commit(written).await?))
}

/// Marks a kernel version as deleted.
#[utoipa::path(delete, path = "/v1/kernels/{distro}/{version}", tag = "kernels", params(("distro", description = "The distro's builder name"), ("version", description = "The version"), Why), responses((status = 200, body = Written)))]
pub(super) async fn delete_kernel(
    Writer(actor): Writer,
    State(app): State<App>,
    Path((distro, version)): Path<(String, String)>,
    IfMatch(expected): IfMatch,
    Query(why): Query<Why>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, why.comment.as_deref(), || {
            format!("Delete {distro}/{version}")
        })
        .await?;
    let written = app
        .db
        .mark_kernel(&mut batch, &distro, &version, Mark::Deleted, expected)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

/// Takes the mark of deletion away.
#[utoipa::path(post, path = "/v1/kernels/{distro}/{version}/restore", tag = "kernels", params(("distro", description = "The distro's builder name"), ("version", description = "The version")), request_body = Because, responses((status = 200, body = Written)))]
pub(super) async fn restore_kernel(
    Writer(actor): Writer,
    State(app): State<App>,
    Path((distro, version)): Path<(String, String)>,
    Json(body): Json<Because>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Restore {distro}/{version}")
        })
        .await?;
    let written = app
        .db
        .mark_kernel(&mut batch, &distro, &version, Mark::Restored, None)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListStale {
    /// In one state for longer than this; a week unless told otherwise.
    over_seconds: Option<u32>,
    /// In one of these states, separated by commas; unless told otherwise in any that a policy moves
    /// versions through, the last of them left out.
    state: Option<String>,
    /// Of this distro.
    distro: Option<String>,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists kernel versions that have sat in one state for too long, the longest first. Ignored versions
/// are left out.
#[utoipa::path(get, path = "/v1/stale", tag = "kernels", params(ListStale), responses((status = 200, body = Page<Kernel>)))]
pub(super) async fn list_stale(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListStale>,
) -> Result<Json<Page<Kernel>>> {
    let distro = distro(&app, query.distro.as_deref()).await?;
    let states = match query.state.as_deref() {
        Some(names) => states(&app, Some(names), None).await?.unwrap_or_default(),
        None => app.db.unsettled_states().await?,
    };
    let over = Duration::seconds(i64::from(query.over_seconds.unwrap_or(STALE_SECONDS)));
    let page = app
        .db
        .stale(
            Utc::now() - over,
            distro,
            &states,
            query.cursor.as_deref(),
            limit(query.limit)?,
        )
        .await?;
    Ok(Json(page))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListWanted {
    /// `fetch`, `build`, `test`.
    purpose: Option<String>,
    /// Of this distro.
    distro: Option<String>,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists the runs that the policy wants next: what a builder asks for its work.
#[utoipa::path(get, path = "/v1/wanted", tag = "kernels", params(ListWanted), responses((status = 200, body = Page<Wanted>)))]
pub(super) async fn list_wanted(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListWanted>,
) -> Result<Json<Page<Wanted>>> {
    let distro = distro(&app, query.distro.as_deref()).await?;
    let page = app
        .db
        .wanted(
            query.purpose.as_deref(),
            distro,
            None,
            query.cursor.as_deref(),
            limit(query.limit)?,
        )
        .await?;
    Ok(Json(page))
}

/// The id of a distro that a filter names.
pub(super) async fn distro(app: &App, name: Option<&str>) -> Result<Option<i32>> {
    match name {
        Some(name) => app.db.names().distro_id(name, "distro").await.map(Some),
        None => Ok(None),
    }
}

/// The ids of the states that a filter leaves: those of `with`, without those of `without`.
pub(super) async fn states(
    app: &App,
    with: Option<&str>,
    without: Option<&str>,
) -> Result<Option<Vec<i32>>> {
    if with.is_none() && without.is_none() {
        return Ok(None);
    }
    let mut ids = vec![];
    match with {
        Some(names) => {
            for name in names.split(',') {
                ids.push(app.db.names().state_id(name.trim(), "state").await?);
            }
            ids.sort_unstable();
            ids.dedup();
        }
        None => ids.extend(app.db.names().states().await?.iter().map(|s| s.id)),
    }
    if let Some(names) = without {
        for name in names.split(',') {
            let id = app
                .db
                .names()
                .state_id(name.trim(), "without_state")
                .await?;
            ids.retain(|other| *other != id);
        }
    }
    Ok(Some(ids))
}
