//! Plugins.

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use pointsman_api::page::Page;
use pointsman_api::plugin::{Plugin, Uploaded};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Admin, Reader};
use super::extract::{Json, Path, Query, body, limit};
use crate::error::{Result, invalid};
use crate::plugins::MAX_COMPONENT_BYTES;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListPlugins {
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists plugin versions, newest first.
#[utoipa::path(get, path = "/v1/plugins", tag = "plugins", params(ListPlugins), responses((status = 200, body = Page<Plugin>)))]
pub(super) async fn list_plugins(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListPlugins>,
) -> Result<Json<Page<Plugin>>> {
    Ok(Json(
        app.db
            .plugins(query.cursor.as_deref(), limit(query.limit)?)
            .await?,
    ))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Upload {
    /// What its author calls it: `[a-z0-9-]`, at most 63 characters.
    name: String,
    /// Why; the generation's comment.
    comment: Option<String>,
}

/// Uploads a plugin: a component, checked and compiled before it is stored. The same bytes are stored
/// once.
#[utoipa::path(post, path = "/v1/plugins", tag = "plugins", params(Upload), request_body(content = Vec<u8>, content_type = "application/wasm"), responses((status = 200, body = Uploaded)))]
pub(super) async fn upload_plugin(
    Admin(actor): Admin,
    State(app): State<App>,
    Query(query): Query<Upload>,
    mut request: Request,
) -> Result<Json<Uploaded>> {
    let sound = (1..=63).contains(&query.name.len())
        && query
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !query.name.starts_with('-');
    if !sound {
        return Err(invalid(
            "plugin_name_invalid",
            "name",
            "a plugin's name has 1 to 63 characters of [a-z0-9-]",
        ));
    }
    // One byte more than is taken, so that the runtime's own words about size are heard.
    DefaultBodyLimit::max(MAX_COMPONENT_BYTES + 1).apply(&mut request);
    let wasm = body(request, &app).await?;
    Ok(Json(
        app.plugins
            .upload(&actor, query.comment.as_deref(), &query.name, wasm)
            .await?,
    ))
}

/// One plugin version: by digest, by eight or more characters of it, or the newest of a name.
#[utoipa::path(get, path = "/v1/plugins/{digest}", tag = "plugins", params(("digest", description = "Digest, part of it, or name")), responses((status = 200, body = Plugin)))]
pub(super) async fn get_plugin(
    _: Reader,
    State(app): State<App>,
    Path(which): Path<String>,
) -> Result<Json<Plugin>> {
    Ok(Json(app.db.plugin(&which).await?))
}

/// The component itself.
#[utoipa::path(get, path = "/v1/plugins/{digest}/wasm", tag = "plugins", params(("digest", description = "Digest, part of it, or name")), responses((status = 200, content_type = "application/wasm", body = Vec<u8>)))]
pub(super) async fn get_plugin_wasm(
    _: Reader,
    State(app): State<App>,
    Path(which): Path<String>,
) -> Result<Response> {
    let plugin = app.db.plugin(&which).await?;
    let wasm = app.db.plugin_wasm(&plugin.digest).await?;
    let headers = [
        (CONTENT_TYPE, "application/wasm".to_owned()),
        (ETAG, format!("\"{}\"", plugin.digest)),
    ];
    Ok((headers, wasm).into_response())
}
