//! What happened and `react` has not been asked about, and what it does about that.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::Db;
use crate::error::Result;
use crate::plan::merge::Act;

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Reaction {
    /// Its row.
    pub id: i64,
    /// `opened`, `verdict`, ...
    pub event: String,
    /// The pull request that it is about.
    pub pull: Option<i64>,
    /// The lane that it is about.
    pub lane: Option<i64>,
    /// Who did it.
    pub by: String,
    /// What the event itself brings.
    pub attrs: Json<BTreeMap<String, String>>,
    /// When.
    pub at: DateTime<Utc>,
}

impl Db {
    /// The oldest things that happened in a pipeline and were not reacted to.
    pub async fn reactions(&self, pipeline: i32, limit: i64) -> Result<Vec<Reaction>> {
        Ok(sqlx::query_as!(
            Reaction,
            r#"select id, event, pull_request_id as pull, lane_id as lane, by,
                 attrs as "attrs: Json<BTreeMap<String, String>>", at
               from reaction where pipeline_id = $1 order by id limit $2"#,
            pipeline,
            limit,
        )
        .fetch_all(&self.read)
        .await?)
    }
}

/// Takes what was reacted to out of the queue; false: somebody else did.
pub(super) async fn reacted(conn: &mut PgConnection, ids: &[i64]) -> Result<bool> {
    if ids.is_empty() {
        return Ok(true);
    }
    let gone = sqlx::query!("delete from reaction where id = any($1)", ids)
        .execute(conn)
        .await?
        .rows_affected();
    Ok(gone == ids.len() as u64)
}

/// Does what `react` wants about a head; none: the present one.
pub(super) async fn act(
    conn: &mut PgConnection,
    pull: i64,
    head: Option<&str>,
    act: &Act,
) -> Result<()> {
    match act {
        Act::Comment { key, body } => {
            sqlx::query!(
                "insert into comment as c (pull_request_id, by, body, head, permission, key)
                 select id, 'pointsman', $2, coalesce($4, head), 'admin', coalesce($3, gen_random_uuid()::text)
                 from pull_request where id = $1
                 on conflict (pull_request_id, key) where key is not null do update set
                   body = excluded.body, head = excluded.head, at = now() where c.body <> excluded.body",
                pull,
                body,
                key.as_deref(),
                head,
            )
            .execute(conn)
            .await?;
        }
        Act::Status {
            context,
            state,
            text,
            link,
        } => {
            sqlx::query!(
                "insert into status as s (pull_request_id, head, context, state, text, link)
                 select id, coalesce($6, head), $2, $3, $4, $5 from pull_request where id = $1
                 on conflict on constraint status_once do update set state = excluded.state, text = excluded.text,
                   link = excluded.link, at = now()
                   where (s.state, s.text, s.link) is distinct from (excluded.state, excluded.text, excluded.link)",
                pull,
                context,
                state,
                text,
                link.as_deref(),
                head,
            )
            .execute(conn)
            .await?;
        }
        Act::Label { name, set } => {
            match set {
                true => sqlx::query!(
                    "insert into label as l (pull_request_id, name, by, head)
                     select id, $2, 'pointsman', head from pull_request where id = $1
                     on conflict on constraint label_once do update set deleted_at = null, by = excluded.by,
                       head = excluded.head, at = now() where l.deleted_at is not null",
                    pull,
                    name,
                )
                .execute(&mut *conn)
                .await?,
                false => sqlx::query!(
                    "update label set deleted_at = now()
                     where pull_request_id = $1 and name = $2 and deleted_at is null",
                    pull,
                    name,
                )
                .execute(&mut *conn)
                .await?,
            };
            // Other policies look at labels.
            sqlx::query!(
                "insert into cause (pipeline_id, kind, pull_request_id)
                 select m.id, 'pull', q.id from pull_request q
                 join merge_pipeline m on m.repository_id = q.repository_id and m.target = q.target where q.id = $1",
                pull,
            )
            .execute(conn)
            .await?;
        }
    }
    Ok(())
}
