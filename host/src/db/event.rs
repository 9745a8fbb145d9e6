//! Reading events, in an order in which nothing can appear behind a reader's back.
//!
//! Events are read in the order (epoch, tx, id), and only those whose transaction is older than every
//! transaction still running. A transaction that began early and commits late thus holds back what
//! came after it, and a reader who follows by cursor sees each event exactly once.

use chrono::{DateTime, Utc};
use pointsman_api::event::{Event, Operation};
use pointsman_api::page::Page;
use sqlx::{FromRow, QueryBuilder};

use super::Db;
use crate::error::{Error, Kind, Refusal, Result};

/// What events are filtered by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this table.
    pub kind: Option<String>,
    /// Of the object of this name.
    pub name: Option<String>,
    /// Of objects whose name begins so.
    pub name_prefix: Option<String>,
    /// Of this operation.
    pub operation: Option<Operation>,
    /// Of this generation.
    pub generation: Option<i64>,
    /// Not older than this.
    pub since: Option<DateTime<Utc>>,
}

/// Which way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first: what a follower reads.
    Forward,
    /// Newest first: what a person looks at.
    Backward,
}

/// A place in the order of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// The incarnation of the database.
    pub epoch: i32,
    /// The transaction.
    pub tx: u64,
    /// The event in it.
    pub id: i64,
}

#[derive(FromRow)]
struct Row {
    epoch: i32,
    tx: String,
    id: i64,
    generation: i64,
    at: DateTime<Utc>,
    kind: String,
    operation: String,
    name: String,
    changes: serde_json::Value,
    comment: String,
    username: String,
}

impl Row {
    fn position(&self) -> Result<Position> {
        let tx = self
            .tx
            .parse()
            .map_err(|_| Error::Internal(anyhow::anyhow!("xid `{}`", self.tx)))?;
        Ok(Position {
            epoch: self.epoch,
            tx,
            id: self.id,
        })
    }
}

impl Db {
    /// The tag of this database's incarnation: what its cursors begin with.
    pub async fn epoch_tag(&self) -> Result<String> {
        let row = sqlx::query!(
            r#"select tag, identity = database_identity() as "here!" from epoch order by id desc limit 1"#
        )
        .fetch_one(&self.read)
        .await?;
        if row.here {
            return Ok(row.tag);
        }
        sqlx::query!("select epoch_ensure()")
            .fetch_one(&self.write)
            .await?;
        Ok(
            sqlx::query_scalar!("select tag from epoch order by id desc limit 1")
                .fetch_one(&self.write)
                .await?,
        )
    }

    /// Reads a cursor. One that another incarnation of the database issued is refused: transaction
    /// ids started anew there, and reading on would skip or repeat events unseen.
    pub fn event_position(&self, tag: &str, cursor: &str) -> Result<Position> {
        let mut parts = cursor.splitn(4, '.');
        let (Some(theirs), Some(epoch), Some(tx), Some(id)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        if theirs != tag {
            return Err(Refusal::new(
                Kind::Gone,
                "cursor_foreign",
                "this cursor was issued by another database, or by this one before it was restored or promoted",
            )
            .field("after")
            .hint("Read the state anew, then follow from there: leave `after` out, or use `since`.")
            .into());
        }
        match (epoch.parse(), tx.parse(), id.parse()) {
            (Ok(epoch), Ok(tx), Ok(id)) => Ok(Position { epoch, tx, id }),
            _ => Err(malformed()),
        }
    }

    /// Where a reader who wants only what comes next begins.
    pub async fn event_end(&self) -> Result<Position> {
        let row = sqlx::query!(
            r#"select max(id) as "epoch!", pg_snapshot_xmin(pg_current_snapshot())::text as "xmin!" from epoch"#
        )
        .fetch_one(&self.read)
        .await?;
        let xmin: u64 = row.xmin.parse().unwrap_or(0);
        Ok(Position {
            epoch: row.epoch,
            tx: xmin.saturating_sub(1),
            id: i64::MAX,
        })
    }

    /// One page of events from `from` on.
    pub async fn events(
        &self,
        tag: &str,
        filter: &Filter,
        from: Option<Position>,
        direction: Direction,
        limit: u32,
    ) -> Result<Page<Event>> {
        let mut sql = QueryBuilder::new(
            "select e.epoch, e.tx::text as tx, e.id, e.generation, e.at, e.kind, e.operation, e.name, \
             e.changes, g.comment, g.username from event e join generation g on g.id = e.generation \
             where (e.epoch < (select max(id) from epoch) or e.tx < pg_snapshot_xmin(pg_current_snapshot()))",
        );
        if let Some(kind) = &filter.kind {
            sql.push(" and e.kind = ").push_bind(kind.clone());
        }
        if let Some(name) = &filter.name {
            sql.push(" and e.name = ").push_bind(name.clone());
        }
        if let Some(prefix) = &filter.name_prefix {
            sql.push(" and e.name >= ").push_bind(prefix.clone());
            if let Some(end) = after_prefix(prefix) {
                sql.push(" and e.name < ").push_bind(end);
            }
        }
        if let Some(operation) = filter.operation {
            sql.push(" and e.operation = ")
                .push_bind(operation_name(operation));
        }
        if let Some(generation) = filter.generation {
            sql.push(" and (e.epoch, e.tx) = (select epoch, tx from generation where id = ")
                .push_bind(generation)
                .push(")");
        }
        if let Some(since) = filter.since {
            // An event is as old as its generation, so reading begins at the first generation that
            // is young enough, by the index on its time.
            sql.push(" and e.at >= ")
                .push_bind(since)
                .push(" and (e.epoch, e.tx) >= (select epoch, tx from generation where at >= ")
                .push_bind(since)
                .push(" order by epoch, tx limit 1)");
        }
        if let Some(from) = from {
            // The planner would guess from the epoch alone, which is the same for all events, that no
            // event follows, and then read and sort all that do. In a sub-select it sees no number, and
            // walks the index.
            sql.push(match direction {
                Direction::Forward => " and (e.epoch, e.tx, e.id) > (",
                Direction::Backward => " and (e.epoch, e.tx, e.id) < (",
            })
            .push("(select ")
            .push_bind(from.epoch)
            .push("), (select ")
            .push_bind(from.tx.to_string())
            .push("::text::xid8), (select ")
            .push_bind(from.id)
            .push("))");
        }
        sql.push(match direction {
            Direction::Forward => " order by e.epoch, e.tx, e.id limit ",
            Direction::Backward => " order by e.epoch desc, e.tx desc, e.id desc limit ",
        })
        .push_bind(i64::from(limit));
        let rows: Vec<Row> = sql.build_query_as().fetch_all(&self.read).await?;
        let full = rows.len() == limit as usize;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            let Position { epoch, tx, id } = row.position()?;
            items.push(Event {
                cursor: format!("{tag}.{epoch}.{tx}.{id}"),
                generation: row.generation,
                at: row.at,
                kind: row.kind,
                operation: match row.operation.as_str() {
                    "create" => Operation::Create,
                    "delete" => Operation::Delete,
                    _ => Operation::Update,
                },
                name: row.name,
                changes: row.changes,
                comment: row.comment,
                user: row.username,
            });
        }
        let next = full
            .then(|| items.last().map(|e: &Event| e.cursor.clone()))
            .flatten();
        Ok(Page { items, next })
    }
}

fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
    }
}

/// The first text, in the order of bytes, that is behind all those with this prefix.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn malformed() -> Error {
    Refusal::new(
        Kind::Invalid,
        "cursor_invalid",
        "this is not a cursor of events",
    )
    .field("after")
    .hint("Pass the `cursor` of the last event you have seen, unchanged.")
    .into()
}
