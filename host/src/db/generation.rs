//! Reading generations.

use chrono::{DateTime, Utc};
use pointsman_api::generation::Generation;
use pointsman_api::page::Page;

use super::{Db, cursor, distro::cut};
use crate::error::{Result, not_found};

impl Db {
    /// One page of generations, newest first.
    pub async fn generations(
        &self,
        user: Option<&str>,
        since: Option<DateTime<Utc>>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Generation>> {
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        let mut items = sqlx::query_as!(
            Generation,
            r#"select g.id, g.comment, g.username as "user", host(g.address) as address, g.at,
                 (select count(*) from event e where e.epoch = g.epoch and e.tx = g.tx) as "events!"
               from generation g
               where ($1::text is null or g.username = $1)
                 and ($2::timestamptz is null or g.at >= $2)
                 and ($3::bigint is null or g.id < $3)
               order by g.id desc limit $4"#,
            user,
            since,
            after,
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut items, limit, |g: &Generation| cursor::encode(&g.id));
        Ok(Page { items, next })
    }

    /// One generation.
    pub async fn generation(&self, id: i64) -> Result<Generation> {
        sqlx::query_as!(
            Generation,
            r#"select g.id, g.comment, g.username as "user", host(g.address) as address, g.at,
                 (select count(*) from event e where e.epoch = g.epoch and e.tx = g.tx) as "events!"
               from generation g where g.id = $1"#,
            id,
        )
        .fetch_optional(&self.read)
        .await?
        .ok_or_else(|| not_found("generation_unknown", format!("there is no generation {id}")))
    }
}
