//! Clusters.

use axum::extract::State;
use pointsman_api::cluster::{Cluster, PutClusters};
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Reader, Writer};
use super::distros::Why;
use super::extract::{Json, Path, Query, batch_size, limit};
use crate::db::distro::Mark;
use crate::error::Result;

/// Clusters in one request.
const MAX_CLUSTERS: usize = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListClusters {
    /// Those marked as deleted, instead of those that are not.
    #[serde(default)]
    deleted: bool,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists clusters, by name.
#[utoipa::path(get, path = "/v1/clusters", tag = "clusters", params(ListClusters), responses((status = 200, body = Page<Cluster>)))]
pub(super) async fn list_clusters(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListClusters>,
) -> Result<Json<Page<Cluster>>> {
    Ok(Json(
        app.db
            .clusters(query.deleted, query.cursor.as_deref(), limit(query.limit)?)
            .await?,
    ))
}

/// Creates clusters, gives them other types, or restores them.
#[utoipa::path(post, path = "/v1/clusters", tag = "clusters", request_body = PutClusters, responses((status = 200, body = Written)))]
pub(super) async fn put_clusters(
    Writer(actor): Writer,
    State(app): State<App>,
    Json(body): Json<PutClusters>,
) -> Result<Json<Written>> {
    batch_size("clusters", body.clusters.len(), MAX_CLUSTERS)?;
    let count = body.clusters.len();
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Save {count} clusters")
        })
        .await?;
    let written = app.db.put_clusters(&mut batch, &body.clusters).await?;
    Ok(Json(batch.commit(written).await?))
}

/// Marks a cluster as deleted, and what its hosts have with it.
#[utoipa::path(delete, path = "/v1/clusters/{name}", tag = "clusters", params(("name", description = "Its name"), Why), responses((status = 200, body = Written)))]
pub(super) async fn delete_cluster(
    Writer(actor): Writer,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(why): Query<Why>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, why.comment.as_deref(), || {
            format!("Delete cluster {name}")
        })
        .await?;
    let written = app
        .db
        .mark_cluster(&mut batch, &name, Mark::Deleted)
        .await?;
    Ok(Json(batch.commit(written).await?))
}
