//! Bearer tokens.

use axum::extract::State;
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use pointsman_api::token::{CreatedToken, NewToken, Token, WhoAmI};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Admin, Reader};
use super::distros::Why;
use super::extract::{Json, Path, Query, limit};
use crate::db::batch::nothing;
use crate::error::Result;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTokens {
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists tokens, by name, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(ListTokens), responses((status = 200, body = Page<Token>)))]
pub(super) async fn list_tokens(
    _: Admin,
    State(app): State<App>,
    Query(query): Query<ListTokens>,
) -> Result<Json<Page<Token>>> {
    Ok(Json(
        app.db
            .tokens(query.cursor.as_deref(), limit(query.limit)?)
            .await?,
    ))
}

/// Makes a token. Its secret is in this reply and nowhere else.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = NewToken, responses((status = 200, body = CreatedToken)))]
pub(super) async fn create_token(
    Admin(actor): Admin,
    State(app): State<App>,
    Json(body): Json<NewToken>,
) -> Result<Json<CreatedToken>> {
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Create token {}", body.name)
        })
        .await?;
    let created = app.db.create_token(&mut batch, &body).await?;
    batch.commit(nothing()).await?;
    app.tokens.refresh(&app.db).await?;
    Ok(Json(created))
}

/// Revokes a token: at once on this host, within a second on every other.
#[utoipa::path(delete, path = "/v1/tokens/{name}", tag = "tokens", params(("name", description = "Its name"), Why), responses((status = 200, body = Written)))]
pub(super) async fn revoke_token(
    Admin(actor): Admin,
    State(app): State<App>,
    Path(name): Path<String>,
    Query(why): Query<Why>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, why.comment.as_deref(), || {
            format!("Revoke token {name}")
        })
        .await?;
    let written = app.db.revoke_token(&mut batch, &name).await?;
    let written = batch.commit(written).await?;
    app.tokens.refresh(&app.db).await?;
    Ok(Json(written))
}

/// Who the caller is.
#[utoipa::path(get, path = "/v1/whoami", tag = "tokens", responses((status = 200, body = WhoAmI)))]
pub(super) async fn whoami(reader: Reader) -> Json<WhoAmI> {
    Json(WhoAmI {
        name: reader.actor.user,
        role: reader.role,
    })
}
