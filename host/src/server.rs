//! The HTTP API: one file per resource. Handlers parse and reply; they never decide.

mod auth;
mod browse;
mod clusters;
pub mod connections;
mod decisions;
mod distros;
mod events;
mod extract;
mod generations;
mod health;
mod hosts;
mod ignores;
mod kernels;
mod lanes;
mod notes;
mod openapi;
mod pipelines;
mod plugins;
mod problem;
mod pulls;
mod request_id;
mod runs;
mod shadows;
mod tokens;
mod transfer;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::HeaderName;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{PropagateRequestIdLayer, SetRequestIdLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::db::Db;
use crate::db::token::Tokens;
use crate::links::Links;
use crate::merge::Engine;
use crate::plugins::Plugins;

pub use openapi::openapi_json;

/// Bytes of an ordinary body: 20,000 kernel versions with their packages.
const MAX_BODY: usize = 32 << 20;
/// Rows in one write.
const MAX_BATCH: usize = 20_000;

/// What handlers work with.
#[derive(Clone)]
pub struct App {
    /// The record.
    pub db: Db,
    /// The tokens in force.
    pub tokens: Tokens,
    /// Plugins on their way in.
    pub plugins: Plugins,
    /// Pull requests: git, jobs, and what jobs left.
    pub engine: Engine,
    /// Addresses that open by themselves.
    pub links: Links,
    /// Days that logs and files of attempts are kept.
    pub artifact_days: u16,
    /// Rises when something may have committed.
    pub commits: watch::Receiver<u64>,
    /// Ends what would never end by itself.
    pub stop: CancellationToken,
    /// Renders the metrics.
    pub metrics: Option<Arc<PrometheusHandle>>,
}

/// The routes, with their description.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(distros::list_distros, distros::create_distros))
        .routes(routes!(
            distros::get_distro,
            distros::update_distro,
            distros::delete_distro
        ))
        .routes(routes!(distros::restore_distro))
        .routes(routes!(distros::list_states, distros::put_states))
        .routes(routes!(
            kernels::list_kernels,
            kernels::create_kernels,
            kernels::set_kernels
        ))
        .routes(routes!(
            kernels::get_kernel,
            kernels::update_kernel,
            kernels::delete_kernel
        ))
        .routes(routes!(kernels::restore_kernel))
        .routes(routes!(kernels::explain_kernel))
        .routes(routes!(kernels::detect_kernels))
        .routes(routes!(kernels::list_stale))
        .routes(routes!(kernels::list_wanted))
        .routes(routes!(runs::list_runs, runs::report_runs))
        .routes(routes!(runs::get_run))
        .routes(routes!(runs::request_run))
        .routes(routes!(ignores::list_ignores, ignores::put_ignores))
        .routes(routes!(ignores::delete_ignore))
        .routes(routes!(clusters::list_clusters, clusters::put_clusters))
        .routes(routes!(clusters::delete_cluster))
        .routes(routes!(hosts::list_hosts, hosts::put_hosts))
        .routes(routes!(generations::list_generations))
        .routes(routes!(generations::get_generation))
        .routes(routes!(events::list_events))
        .routes(routes!(plugins::list_plugins))
        .routes(routes!(plugins::get_plugin))
        .routes(routes!(plugins::get_plugin_wasm))
        .routes(routes!(pipelines::list_pipelines, lanes::create_pipeline))
        .routes(routes!(pipelines::get_pipeline, pipelines::update_pipeline))
        .routes(routes!(pipelines::put_binding, pipelines::delete_binding))
        .routes(routes!(pipelines::rollback_binding))
        .routes(routes!(lanes::pipeline_status))
        .routes(routes!(lanes::ready_for_merge))
        .routes(routes!(lanes::review_status))
        .routes(routes!(lanes::passing))
        .routes(routes!(lanes::try_merge))
        .routes(routes!(lanes::list_lanes))
        .routes(routes!(lanes::get_lane))
        .routes(routes!(lanes::list_tips))
        .routes(routes!(lanes::attempt_log))
        .routes(routes!(lanes::attempt_file))
        .routes(routes!(browse::browse))
        .routes(routes!(browse::browse_log))
        .routes(routes!(browse::browse_file))
        .routes(routes!(pulls::list_repositories, pulls::create_repository))
        .routes(routes!(pulls::list_pulls, pulls::create_pull))
        .routes(routes!(pulls::get_pull, pulls::update_pull))
        .routes(routes!(pulls::list_reviews, pulls::create_review))
        .routes(routes!(pulls::list_comments, pulls::create_comment))
        .routes(routes!(pulls::put_label, pulls::delete_label))
        .routes(routes!(pulls::authorise_pull))
        .routes(routes!(pulls::retest_pull))
        .routes(routes!(pulls::explain_pull))
        .routes(routes!(notes::list_notes, notes::put_notes))
        .routes(routes!(shadows::list_shadows))
        .routes(routes!(shadows::put_shadow, shadows::delete_shadow))
        .routes(routes!(shadows::promote_shadow))
        .routes(routes!(shadows::list_differences))
        .routes(routes!(decisions::list_decisions))
        .routes(routes!(decisions::get_decision))
        .routes(routes!(tokens::list_tokens, tokens::create_token))
        .routes(routes!(tokens::revoke_token))
        .routes(routes!(tokens::whoami))
        .routes(routes!(health::readyz))
        .layer(axum::middleware::from_fn(problem::in_time))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        // What follows takes as long as it takes, or has a limit of its own.
        .routes(routes!(plugins::upload_plugin))
        .routes(routes!(events::follow_events))
        .routes(routes!(decisions::decision_records))
        .routes(routes!(transfer::export))
        .routes(routes!(transfer::import))
        .routes(routes!(health::healthz))
        .routes(routes!(health::metrics))
}

/// The whole service.
pub fn router(app: App) -> Router {
    let request_id = HeaderName::from_static("x-request-id");
    let (router, description) = routes().split_for_parts();
    let description: Arc<str> = openapi::render(description).into();
    router
        .route(
            "/v1/openapi.json",
            axum::routing::get(move || {
                let description = Arc::clone(&description);
                async move {
                    (
                        [("content-type", "application/json")],
                        description.to_string(),
                    )
                }
            }),
        )
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(
            ServiceBuilder::new()
                .layer(SetRequestIdLayer::new(
                    request_id.clone(),
                    request_id::Numbered::new(),
                ))
                .layer(PropagateRequestIdLayer::new(request_id))
                .layer(axum::middleware::from_fn(health::observe))
                .layer(CatchPanicLayer::custom(problem::panicked)),
        )
        .with_state(app)
}
