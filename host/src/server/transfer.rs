//! Export and import of the whole record.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::StreamExt as _;
use pointsman_api::generation::Written;
use tokio_stream::wrappers::ReceiverStream;

use super::App;
use super::auth::Admin;
use super::distros::Why;
use super::extract::{Json, Query};
use crate::db::import::Import;
use crate::error::{Error, Kind, Refusal, Result};

/// Pieces in flight: a slow reader slows the export, not the host.
const PIECES: usize = 4;
/// Bytes of one line: the largest plugin as base64.
const MAX_LINE: usize = 96 << 20;

/// Exports the whole record as lines of JSON, in one snapshot; without tokens.
#[utoipa::path(get, path = "/v1/export", tag = "transfer", responses((status = 200, content_type = "application/x-ndjson", body = String)))]
pub(super) async fn export(_: Admin, State(app): State<App>) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel(PIECES);
    tokio::spawn(async move {
        if let Err(error) = app.db.export(sender.clone()).await {
            tracing::error!(%error, "an export broke off");
            // The reader sees the body break off, and no end line.
            let _ = sender.send(Err(error)).await;
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (
            CONTENT_DISPOSITION,
            "attachment; filename=\"pointsman.ndjson\"",
        ),
    ];
    (headers, Body::from_stream(ReceiverStream::new(receiver))).into_response()
}

/// Imports what an export gave: all or nothing, in one generation. What exists stays as it is; history
/// is kept before everything that happened here.
#[utoipa::path(post, path = "/v1/import", tag = "transfer", params(Why), request_body(content = String, content_type = "application/x-ndjson"), responses((status = 200, body = Written)))]
pub(super) async fn import(
    Admin(actor): Admin,
    State(app): State<App>,
    Query(why): Query<Why>,
    request: Request,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, why.comment.as_deref(), || {
            "Import a record".to_owned()
        })
        .await?;
    let mut import = Import::begin(&mut batch).await?;
    let mut body = request.into_body().into_data_stream();
    let mut rest = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|e| Refusal::new(Kind::Invalid, "body_broken", e.to_string()))?;
        // What is left of before has no line end: only the new piece is searched.
        let mut searched = rest.len();
        rest.extend_from_slice(&piece);
        while let Some(end) = rest[searched..].iter().position(|b| *b == b'\n') {
            let line = rest.split_to(searched + end + 1);
            searched = 0;
            import.line(&line).await?;
        }
        if rest.len() > MAX_LINE {
            let refusal = Refusal::new(
                Kind::TooLarge,
                "line_too_long",
                format!("a line is longer than {MAX_LINE} bytes"),
            );
            return Err(Error::from(refusal));
        }
    }
    import.line(&rest).await?;
    let written = import.end().await?;
    let written = batch.commit(written).await?;
    app.db.names().reload().await?;
    Ok(Json(written))
}
