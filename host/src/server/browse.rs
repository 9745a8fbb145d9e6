//! What a link opens in a browser, with no token: a page of one lane or one attempt, its log, its files.
//!
//! Whatever a job wrote is data of somebody else's: it is given out as text or to be saved, never as anything that
//! runs, and in a sandbox with no origin of ours. Nothing here is cached by others, or told where a link leads to.

mod page;

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use super::App;
use super::extract::{Path, Query};
use super::lanes::Part;
use crate::db::browse::Shown;
use crate::error::{Error, Kind};
use crate::links::{Closed, Opens, attempt_key};
use crate::merge::Engine;

/// Bytes of a log that one request is given: a job that writes for ever would keep it open for ever.
const MAX_LOG: u64 = 256 << 20;
/// Bytes of a log that are held at once.
const LOG_PART: usize = 1 << 20;
/// How pages look; part of each, so that they need nothing else.
pub(crate) const STYLE: &str = include_str!("../../templates/style.css");

/// Why there is nothing to see.
enum Nothing {
    /// Not a link of ours, or not any more.
    Closed(Closed),
    /// It was there.
    Removed(DateTime<Utc>),
    /// It is not there, or not here.
    Absent(&'static str, &'static str),
    /// The host failed.
    Failed(Error),
}

impl From<Error> for Nothing {
    fn from(error: Error) -> Self {
        // What the record does not have is nothing that a link leads to.
        match error {
            Error::Refused(refusal) if refusal.kind == Kind::NotFound => {
                Self::Closed(Closed::Forged)
            }
            error => Self::Failed(error),
        }
    }
}

impl IntoResponse for Nothing {
    fn into_response(self) -> Response {
        let (status, closed) = match self {
            Self::Failed(error) => return guarded(error.into_response(), Sandbox::Data),
            Self::Closed(Closed::Forged) => (
                StatusCode::NOT_FOUND,
                page::Closed::new(
                    "There is nothing here",
                    "This is no link of this server, or not the whole of one.",
                    "`pointsman lane show` and `pointsman run show` give links.",
                ),
            ),
            Self::Closed(Closed::Expired(at)) => (
                StatusCode::GONE,
                page::Closed::new(
                    "This link has expired",
                    format!("It opened until {}.", page::time(&at)),
                    "Whoever has a token finds a new one with `pointsman lane show` or `pointsman run show`.",
                ),
            ),
            Self::Removed(at) => (
                StatusCode::GONE,
                page::Closed::new(
                    "Removed",
                    format!(
                        "The log and the files of this attempt were removed on {}.",
                        page::time(&at)
                    ),
                    "How it ended stays on record: `pointsman lane show` or `pointsman run show` has it.",
                ),
            ),
            Self::Absent(text, hint) => (
                StatusCode::NOT_FOUND,
                page::Closed::new("There is nothing here", text, hint),
            ),
        };
        page::respond(status, &closed)
    }
}

/// A page of an attempt or a lane, for whoever has the link.
#[utoipa::path(get, path = "/v1/browse/{token}", tag = "browse", security(()), params(("token", description = "Of a link")), responses((status = 200, content_type = "text/html", body = String), (status = 404, content_type = "text/html", body = String, description = "No link of this server"), (status = 410, content_type = "text/html", body = String, description = "It has expired")))]
pub(super) async fn browse(State(app): State<App>, Path(token): Path<String>) -> Response {
    let found = match app.links.read(&token, Utc::now()) {
        Ok((Opens::Attempt(key), until)) => {
            page::of_attempt(&app, &token, &attempt_key(key), until).await
        }
        Ok((Opens::Lane { id, planned }, until)) => page::of_lane(&app, id, planned, until).await,
        Err(closed) => Err(closed.into()),
    };
    found.unwrap_or_else(IntoResponse::into_response)
}

/// The log of an attempt as a stream, as far as it is while it runs; at most 256 MiB, and a line at the end says
/// where to read on.
#[utoipa::path(get, path = "/v1/browse/{token}/log", tag = "browse", security(()), params(("token", description = "Of a link to an attempt"), Part), responses((status = 200, content_type = "text/plain", body = String), (status = 404, content_type = "text/html", body = String, description = "No link of this server, or no log on this host"), (status = 410, content_type = "text/html", body = String, description = "It has expired, or the log was removed")))]
pub(super) async fn browse_log(
    State(app): State<App>,
    Path(token): Path<String>,
    Query(part): Query<Part>,
) -> Response {
    let log = async {
        let key = attempt(&app, &token).await?;
        // Before the reply begins: what is not there has a page that says so.
        let first = app.engine.log(&key, part.from, LOG_PART).await?;
        let Some(first) = first else {
            return Err(Nothing::Absent(
                "The log of this attempt is not on this host.",
                "While a job runs, the host that runs it has its log; one that never began has none.",
            ));
        };
        Ok(log_of(app.engine.clone(), key, part.from, first))
    };
    match log.await {
        Ok(body) => {
            let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            guarded((text, body).into_response(), Sandbox::Data)
        }
        Err(nothing) => nothing.into_response(),
    }
}

/// A file that an attempt left, whole or from a byte on. Text is shown, anything else is to be saved.
#[utoipa::path(get, path = "/v1/browse/{token}/files/{*path}", tag = "browse", security(()), params(("token", description = "Of a link to an attempt"), ("path", description = "The file"), Part), responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 404, content_type = "text/html", body = String, description = "No link of this server, or no such file"), (status = 410, content_type = "text/html", body = String, description = "It has expired, or the file was removed")))]
pub(super) async fn browse_file(
    State(app): State<App>,
    Path((token, path)): Path<(String, String)>,
    Query(part): Query<Part>,
) -> Response {
    let file = async {
        let key = attempt(&app, &token).await?;
        let file = app.engine.open_artifact(&key, &path, part.from).await?;
        file.ok_or(Nothing::Absent(
            "The attempt left no such file.",
            "The page of the attempt lists those that there are.",
        ))
    };
    let file = match file.await {
        Ok(file) => file,
        Err(nothing) => return nothing.into_response(),
    };
    let length = file.bytes.saturating_sub(part.from);
    let content = file.content.map_err(std::io::Error::other);
    let mut response = Body::from_stream(content).into_response();
    let headers = response.headers_mut();
    let (kind, shown) = match is_text(&path) {
        true => ("text/plain; charset=utf-8", "inline"),
        false => ("application/octet-stream", "attachment"),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static(shown));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    guarded(response, Sandbox::Data)
}

/// The key of the attempt that a token opens, if its log and files are still there.
async fn attempt(app: &App, token: &str) -> Result<String, Nothing> {
    match app.links.read(token, Utc::now())? {
        (Opens::Attempt(key), _) => {
            let key = attempt_key(key);
            found(app, &key).await?;
            Ok(key)
        }
        (Opens::Lane { .. }, _) => Err(Nothing::Absent(
            "This link opens a lane, which has no log of its own.",
            "Its page leads to the attempts of its jobs.",
        )),
    }
}

/// An attempt that is on record, and whose log and files were not removed.
async fn found(app: &App, key: &str) -> Result<Shown, Nothing> {
    // A secret that is shared may have signed a link of another record.
    let shown = app.db.shown_attempt(key).await?;
    let shown = shown.ok_or(Nothing::Closed(Closed::Forged))?;
    match shown.removed_at {
        Some(at) => Err(Nothing::Removed(at)),
        None => Ok(shown),
    }
}

impl From<Closed> for Nothing {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

/// A log from its first part on, part by part, until there is no more of it for now.
fn log_of(engine: Engine, key: String, from: u64, (first, next): (Vec<u8>, u64)) -> Body {
    let rest = futures::stream::try_unfold(
        (engine, key, next, first.is_empty()),
        move |(engine, key, at, over)| async move {
            if over {
                return Ok(None);
            }
            if at.saturating_sub(from) >= MAX_LOG {
                let line = format!("\n[pointsman: there is more: ?from={at} reads on]\n");
                return Ok(Some((Bytes::from(line), (engine, key, at, true))));
            }
            match engine.log(&key, at, LOG_PART).await {
                Ok(Some((bytes, next))) if !bytes.is_empty() => {
                    Ok(Some((Bytes::from(bytes), (engine, key, next, false))))
                }
                Ok(_) => Ok(None),
                Err(error) => {
                    tracing::warn!(attempt = key, %error, "a log broke off while it was read");
                    Err(std::io::Error::other("the log broke off"))
                }
            }
        },
    );
    let first = futures::stream::once(async { Ok(Bytes::from(first)) });
    Body::from_stream(first.chain(rest))
}

/// What a browser may show: plain text, which is all that it is ever given as.
fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    matches!(
        ending,
        Some(
            "csv"
                | "diff"
                | "err"
                | "json"
                | "log"
                | "md"
                | "out"
                | "patch"
                | "toml"
                | "txt"
                | "xml"
                | "yaml"
                | "yml"
        )
    )
}

/// What a reply may do in a browser.
#[derive(Clone, Copy)]
enum Sandbox {
    /// A page of ours: it has a style, leads to other pages, and files are saved from it.
    Page,
    /// Somebody else's bytes: nothing at all.
    Data,
}

/// The one style that pages may have, by its digest.
static PAGE_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; sandbox allow-downloads; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

fn guarded(mut response: Response, sandbox: Sandbox) -> Response {
    let headers: &mut HeaderMap = response.headers_mut();
    let policy = match sandbox {
        Sandbox::Page => HeaderValue::from_str(&PAGE_POLICY).ok(),
        Sandbox::Data => None,
    };
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        policy.unwrap_or(HeaderValue::from_static(
            "sandbox; default-src 'none'; frame-ancestors 'none'",
        )),
    );
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "private, no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
