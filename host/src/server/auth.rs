//! Who is asking: checked before a body is read or a query made.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use pointsman_api::token::Role;

use super::App;
use crate::db::Actor;
use crate::error::{Error, Kind, Refusal};

/// Somebody whose token allows at least reading.
pub(super) struct Reader {
    pub(super) actor: Actor,
    pub(super) role: Role,
}

/// Somebody whose token allows changes of the record.
pub(super) struct Writer(pub(super) Actor);

/// Somebody whose token allows everything.
pub(super) struct Admin(pub(super) Actor);

impl FromRequestParts<App> for Reader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        holder(parts, app, Role::Reader)
    }
}

impl FromRequestParts<App> for Writer {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        holder(parts, app, Role::Writer).map(|r| Self(r.actor))
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        holder(parts, app, Role::Admin).map(|r| Self(r.actor))
    }
}

fn holder(parts: &Parts, app: &App, needed: Role) -> Result<Reader, Error> {
    let token = parts
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            value
                .strip_prefix("Bearer ")
                .or_else(|| value.strip_prefix("bearer "))
        })
        .ok_or_else(|| {
            Refusal::new(Kind::Unauthenticated, "token_missing", "this needs a token")
                .hint("Send `Authorization: Bearer TOKEN`; `pointsman token create` makes one.")
        })?;
    let holder = app.tokens.holder(token.trim()).ok_or_else(|| {
        Refusal::new(
            Kind::Unauthenticated,
            "token_wrong",
            "this token is unknown, revoked or expired",
        )
        .hint("`pointsman token create` makes a new one.")
    })?;
    if holder.role < needed {
        return Err(Refusal::new(
            Kind::Forbidden,
            "role_too_weak",
            format!(
                "the token `{}` is a {}'s; this needs {}",
                holder.name,
                name(holder.role),
                name(needed)
            ),
        )
        .hint("Ask an admin for a token with that role.")
        .into());
    }
    let address = parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    Ok(Reader {
        actor: Actor {
            user: holder.name.to_string(),
            address,
        },
        role: holder.role,
    })
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Writer => "writer",
        Role::Admin => "admin",
    }
}
