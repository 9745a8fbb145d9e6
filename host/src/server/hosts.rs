//! Hosts, and the kernels that they run or have installed.

use axum::extract::State;
use pointsman_api::cluster::{HostKernel, PutHosts};
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Reader, Writer};
use super::extract::{Json, Query, batch_size, limit};
use super::kernels::{distro, states};
use crate::db::cluster::Filter;
use crate::error::Result;

/// Hosts in one request.
const MAX_HOSTS: usize = 1_000;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListHosts {
    /// Of this cluster.
    cluster: Option<String>,
    /// Of clusters of this type.
    cluster_type: Option<String>,
    /// Of this host.
    host: Option<String>,
    /// Kernels of this distro.
    distro: Option<String>,
    /// Of this version.
    version: Option<String>,
    /// In one of these states, separated by commas.
    state: Option<String>,
    /// In none of these states, separated by commas.
    without_state: Option<String>,
    /// In a state below this one: `ready-customers` gives what customers should not run yet.
    below_state: Option<String>,
    /// The one that it runs, or the others.
    current: Option<bool>,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists kernels on hosts.
#[utoipa::path(get, path = "/v1/hosts", tag = "clusters", params(ListHosts), responses((status = 200, body = Page<HostKernel>)))]
pub(super) async fn list_hosts(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListHosts>,
) -> Result<Json<Page<HostKernel>>> {
    let mut wanted = states(&app, query.state.as_deref(), query.without_state.as_deref()).await?;
    if let Some(name) = query.below_state.as_deref() {
        let bound = app.db.names().state_id(name, "below_state").await?;
        // States come by rank.
        let below: Vec<i32> = app
            .db
            .names()
            .states()
            .await?
            .iter()
            .map(|s| s.id)
            .take_while(|id| *id != bound)
            .collect();
        wanted = Some(match wanted {
            Some(ids) => ids.into_iter().filter(|id| below.contains(id)).collect(),
            None => below,
        });
    }
    let filter = Filter {
        cluster: query.cluster,
        cluster_type: query.cluster_type,
        host: query.host,
        distro: distro(&app, query.distro.as_deref()).await?,
        version: query.version,
        states: wanted,
        current: query.current,
    };
    Ok(Json(
        app.db
            .host_kernels(&filter, query.cursor.as_deref(), limit(query.limit)?)
            .await?,
    ))
}

/// Records what hosts have, all or none: the whole truth of each, so kernels not named are taken off.
#[utoipa::path(post, path = "/v1/hosts", tag = "clusters", request_body = PutHosts, responses((status = 200, body = Written)))]
pub(super) async fn put_hosts(
    Writer(actor): Writer,
    State(app): State<App>,
    Json(body): Json<PutHosts>,
) -> Result<Json<Written>> {
    batch_size("hosts", body.hosts.len(), MAX_HOSTS)?;
    let count = body.hosts.len();
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Record the kernels of {count} hosts")
        })
        .await?;
    let written = app.db.put_hosts(&mut batch, &body.hosts).await?;
    Ok(Json(batch.commit(written).await?))
}
