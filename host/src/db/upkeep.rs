//! Upkeep: who does it, and what has been kept for long enough.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::types::PgInterval;

use super::Db;
use crate::error::{Error, Result};

/// An attempt whose log and files have been kept for long enough.
#[derive(Debug, Clone)]
pub struct Due {
    /// Its row.
    pub id: i64,
    /// What the store knows it by.
    pub key: String,
    /// When it ended: with its id, where the next page begins.
    pub ended_at: DateTime<Utc>,
}

/// What was deleted of the rows that nobody needs any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retired {
    /// What git said of heads.
    pub heads: u64,
    /// What did not merge with what.
    pub conflicts: u64,
    /// What `react` was never asked about.
    pub reactions: u64,
    /// Times at which to look at pull requests that ended.
    pub wakes: u64,
}

impl Retired {
    /// How many rows in all.
    pub fn total(&self) -> u64 {
        self.heads + self.conflicts + self.reactions + self.wakes
    }
}

impl Db {
    /// Takes a piece of upkeep for this host alone until the lease ends, unless another one has it or it was done
    /// within `every`.
    pub async fn claim_upkeep(
        &self,
        name: &str,
        host: &str,
        every: Duration,
        lease: Duration,
    ) -> Result<bool> {
        let claimed = sqlx::query_scalar!(
            r#"insert into upkeep as u (name, leased_by, leased_until) values ($1, $2, now() + $4)
               on conflict (name) do update set leased_by = excluded.leased_by, leased_until = excluded.leased_until
                 where u.leased_until < now() and (u.done_at is null or u.done_at < now() - $3::interval)
               returning true as "claimed!""#,
            name,
            host,
            interval(every)?,
            interval(lease)?,
        )
        .fetch_optional(&self.write)
        .await?;
        Ok(claimed.is_some())
    }

    /// It was done, whatever came of it, and is not due again for a while.
    pub async fn upkeep_done(&self, name: &str, host: &str) -> Result<()> {
        sqlx::query!(
            "update upkeep set done_at = now(), leased_until = '-infinity' where name = $1 and leased_by = $2",
            name,
            host,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Lets go of what this host was at when it died.
    pub async fn release_upkeep(&self, host: &str) -> Result<()> {
        sqlx::query!(
            "update upkeep set leased_until = '-infinity' where leased_by = $1 and leased_until > now()",
            host,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Attempts that ended more than `days` ago and whose log and files are still there, the oldest first. A pass
    /// that counts for a lane which lives, or ended since, is kept with that lane.
    pub async fn store_due(
        &self,
        days: i32,
        after: Option<(DateTime<Utc>, i64)>,
        limit: i64,
    ) -> Result<Vec<Due>> {
        let (at, id) = after.unwrap_or((DateTime::<Utc>::UNIX_EPOCH, 0));
        Ok(sqlx::query_as!(
            Due,
            r#"select s.attempt_id as id, a.key::text as "key!", s.ended_at
               from attempt_store s join attempt a on a.id = s.attempt_id
               where s.removed_at is null and s.ended_at < now() - make_interval(days => $1)
                 and (s.ended_at, s.attempt_id) > ($2, $3)
                 and not exists (
                   select from job r join lane l on l.id = r.lane_id where r.reused_from = a.job_id
                     and (l.ended_at is null or l.ended_at > now() - make_interval(days => $1)))
               order by s.ended_at, s.attempt_id limit $4"#,
            days,
            at,
            id,
            limit,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// The log and the files of an attempt are gone.
    pub async fn store_removed(&self, attempt: i64) -> Result<()> {
        sqlx::query!(
            "update attempt_store set removed_at = now() where attempt_id = $1 and removed_at is null",
            attempt,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// The repositories of the local forge.
    pub async fn local_repositories(&self) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            "select name from repository where forge = 'local' and deleted_at is null order by name"
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// The lanes of a repository whose commits are kept: those that live or still have an attempt that runs, and
    /// those that ended `days` ago at most.
    pub async fn lanes_to_keep(&self, repository: &str, days: i32) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar!(
            r#"with pipelines as (
                 select m.id from merge_pipeline m join repository g on g.id = m.repository_id where g.name = $1)
               select l.id as "id!" from lane l where l.pipeline_id in (select id from pipelines) and l.ended_at is null
               union select l.id from lane l where l.pipeline_id in (select id from pipelines)
                 and l.ended_at > now() - make_interval(days => $2)
               union select l.id from attempt a join job j on j.id = a.job_id join lane l on l.id = j.lane_id
                 where a.state <> 'ended' and l.pipeline_id in (select id from pipelines)"#,
            repository,
            days,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Deletes rows that can be derived again, or that nobody will ask for: what git said of pull requests that
    /// ended more than `days` ago, conflicts of that age which are not the last word about their pull request, and
    /// what `react` could not be asked about for as long. At most `limit` of each.
    pub async fn retire_pull_rows(&self, days: i32, limit: i64) -> Result<Retired> {
        let heads = sqlx::query!(
            "delete from head where ctid = any (array(
               select h.ctid from head h join pull_request q on q.id = h.pull_request_id
               where h.seen_at < now() - make_interval(days => $1)
                 and q.ended_at < now() - make_interval(days => $1) limit $2))",
            days,
            limit,
        )
        .execute(&self.write)
        .await?
        .rows_affected();
        let conflicts = sqlx::query!(
            "delete from conflict where ctid = any (array(
               select c.ctid from conflict c join pull_request q on q.id = c.pull_request_id
               where c.at < now() - make_interval(days => $1)
                 and (q.ended_at < now() - make_interval(days => $1)
                   or exists (select from conflict d where d.pull_request_id = c.pull_request_id and d.at > c.at))
               limit $2))",
            days,
            limit,
        )
        .execute(&self.write)
        .await?
        .rows_affected();
        let reactions = sqlx::query!(
            "delete from reaction where id in (
               select id from reaction where at < now() - make_interval(days => $1) order by at limit $2)",
            days,
            limit,
        )
        .execute(&self.write)
        .await?
        .rows_affected();
        let wakes = sqlx::query!(
            "delete from wake where ctid = any (array(
               select w.ctid from wake w join pull_request q on q.id = w.pull_request_id
               where q.ended_at < now() - make_interval(days => $1) limit $2))",
            days,
            limit,
        )
        .execute(&self.write)
        .await?
        .rows_affected();
        Ok(Retired {
            heads,
            conflicts,
            reactions,
            wakes,
        })
    }
}

fn interval(duration: Duration) -> Result<PgInterval> {
    PgInterval::try_from(duration).map_err(|e| Error::Internal(anyhow::anyhow!(e)))
}
