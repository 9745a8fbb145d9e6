//! Events: pages, and a live stream.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use chrono::{DateTime, Utc};
use pointsman_api::event::{Event, Operation};
use pointsman_api::page::Page;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::Reader;
use super::extract::{Json, Query, limit};
use crate::db::event::{Direction, Filter, Position};
use crate::error::{Error, Result, invalid};

/// A comment goes out this often, so that proxies and readers see that the stream lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events that a stream reads at once.
const STREAM_PAGE: u32 = 500;

#[derive(Deserialize, IntoParams, Clone)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListEvents {
    /// Behind this event: its `cursor`.
    after: Option<String>,
    /// The same: `next` of the page before. It may stand beside the `after` of the first page, and counts then.
    cursor: Option<String>,
    /// Of this table: `kernel_version`, `distro`, `run`, ...
    kind: Option<String>,
    /// Of the object of this name: `ubuntu-22.04/5.15.0-57-generic`.
    name: Option<String>,
    /// Of objects whose name begins so.
    name_prefix: Option<String>,
    /// `create`, `update` or `delete`.
    operation: Option<Operation>,
    /// Of this generation.
    generation: Option<i64>,
    /// Not older than this (RFC 3339).
    since: Option<DateTime<Utc>>,
    /// Newest first, instead of oldest first.
    #[serde(default)]
    newest: bool,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
}

impl ListEvents {
    fn filter(&self) -> Filter {
        Filter {
            kind: self.kind.clone(),
            name: self.name.clone(),
            name_prefix: self.name_prefix.clone(),
            operation: self.operation,
            generation: self.generation,
            since: self.since,
        }
    }
}

/// Lists events: each exactly once, however late its transaction commits. A cursor of another database,
/// or of this one before it was restored, is refused (`cursor_foreign`).
#[utoipa::path(get, path = "/v1/events", tag = "events", params(ListEvents), responses((status = 200, body = Page<Event>)))]
pub(super) async fn list_events(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ListEvents>,
) -> Result<Json<Page<Event>>> {
    let tag = app.db.epoch_tag().await?;
    // Of both, the cursor is of the page that comes next, and thus further on.
    let from = query
        .cursor
        .as_deref()
        .or(query.after.as_deref())
        .map(|cursor| app.db.event_position(&tag, cursor))
        .transpose()?;
    let direction = if query.newest {
        Direction::Backward
    } else {
        Direction::Forward
    };
    Ok(Json(
        app.db
            .events(&tag, &query.filter(), from, direction, limit(query.limit)?)
            .await?,
    ))
}

/// Follows events live (server-sent events). Resumes behind `Last-Event-ID`, or behind `after`; without
/// either it begins now.
#[utoipa::path(get, path = "/v1/events/stream", tag = "events", params(ListEvents, ("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen")), responses((status = 200, content_type = "text/event-stream", body = Event)))]
pub(super) async fn follow_events(
    _: Reader,
    State(app): State<App>,
    headers: HeaderMap,
    Query(query): Query<ListEvents>,
) -> Result<impl IntoResponse> {
    if query.newest {
        return Err(invalid(
            "newest_invalid",
            "newest",
            "a stream goes forward in time",
        ));
    }
    let tag = app.db.epoch_tag().await?;
    let last_seen = headers
        .get("last-event-id")
        .map(|id| id.to_str().unwrap_or("?"));
    let from = match last_seen
        .or(query.cursor.as_deref())
        .or(query.after.as_deref())
    {
        Some(cursor) => Some(app.db.event_position(&tag, cursor)?),
        None if query.since.is_some() || query.generation.is_some() => None,
        None => Some(app.db.event_end().await?),
    };
    let follower = Follower {
        commits: app.commits.clone(),
        app,
        filter: query.filter(),
        tag,
        from,
        page: vec![].into_iter(),
    };
    let frames = futures::stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        let frame = Frame::default().id(&event.cursor).event("event");
        let frame = frame
            .json_data(&event)
            .unwrap_or_else(|_| Frame::default().comment("unreadable"));
        Some((Ok::<_, Infallible>(frame), follower))
    });
    Ok(Sse::new(frames).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

/// Reads on for one stream.
struct Follower {
    app: App,
    commits: tokio::sync::watch::Receiver<u64>,
    filter: Filter,
    tag: String,
    from: Option<Position>,
    page: std::vec::IntoIter<Event>,
}

impl Follower {
    /// The next event; none when the stream ends, and the reader connects anew.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.page.next() {
                self.from = self.app.db.event_position(&self.tag, &event.cursor).ok();
                return Some(event);
            }
            self.commits.mark_unchanged();
            // A restored database has other cursors: the reader is told so when it connects anew.
            match self.app.db.epoch_tag().await {
                Ok(tag) if tag == self.tag => {}
                _ => return None,
            }
            let end = self.app.db.event_end().await.ok()?;
            match self
                .app
                .db
                .events(
                    &self.tag,
                    &self.filter,
                    self.from,
                    Direction::Forward,
                    STREAM_PAGE,
                )
                .await
            {
                Ok(page) if !page.items.is_empty() => {
                    self.page = page.items.into_iter();
                    continue;
                }
                // Nothing up to `end` fits the filter, so it need not be read again.
                Ok(_) => self.from = self.from.max(Some(end)),
                Err(Error::Internal(cause)) => {
                    tracing::error!(cause = format!("{cause:#}"), "a stream of events ends");
                    return None;
                }
                Err(_) => return None,
            }
            tokio::select! {
                () = self.app.stop.cancelled() => return None,
                changed = self.commits.changed() => changed.ok()?,
            }
        }
    }
}
