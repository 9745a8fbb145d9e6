//! Attempts of jobs: what is to be started, what runs, and how it ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::postgres::types::PgInterval;

use super::super::batch::nothing;
use super::super::{Actor, Db};
use super::effects::{Effect, cause};
use crate::error::{Error, Result};

/// An attempt, with what it runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its row.
    pub id: i64,
    /// What the backend knows it by.
    pub key: String,
    /// 1 is the first.
    pub number: i32,
    /// The host that runs it.
    pub host: Option<String>,
    /// waiting, running, ended.
    pub state: String,
    /// Why it is to end, if it is.
    pub cancel: Option<String>,
    /// The job's name.
    pub job: String,
    /// What it does.
    pub spec: Value,
    /// Over the job's own.
    pub attrs: Value,
    /// The lane; none: it is of a kernel version's run.
    pub lane: Option<i64>,
    /// The run.
    pub run: Option<i64>,
    /// The lane's commit.
    pub commit: String,
    /// Its tree.
    pub tree: String,
    /// The distro of the run's version.
    pub distro: String,
    /// The run's version.
    pub version: String,
    /// What the run is for: fetch, build, test.
    pub purpose: String,
    /// The product release of the run.
    pub release: String,
    /// The pipeline.
    pub pipeline: i32,
    /// Its name.
    pub pipeline_name: String,
    /// Whether secrets are withheld: a member is a fork's, and nobody authorised its head.
    pub untrusted: bool,
    /// The lane or the run is over: nobody waits for this any more.
    pub over: bool,
}

impl Running {
    /// What it is a part of, for people: `lane 12`, `debian-12/6.1.0-49-amd64 build`.
    fn subject(&self) -> String {
        match self.lane {
            Some(lane) => format!("lane {lane}"),
            None => format!("{}/{} {}", self.distro, self.version, self.purpose),
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// exited, timed-out, cancelled, lost, setup-failed.
    pub ended: &'static str,
    /// Where it exited by itself.
    pub exit_code: Option<i32>,
    /// What went wrong, for people.
    pub detail: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// How many tests were reported.
    pub tests_total: i32,
    /// How many of them passed.
    pub tests_passed: i32,
    /// Those that did not.
    pub tests: Value,
    /// What the job wrote.
    pub outputs: Value,
    /// What was kept: path, bytes, sha256.
    pub artifacts: Value,
    /// Bytes of its log.
    pub log_bytes: i64,
}

impl Ended {
    /// One of which nothing is known but how it ended.
    pub fn without_report(ended: &'static str, detail: impl Into<String>) -> Self {
        Self {
            ended,
            exit_code: None,
            detail: Some(detail.into()),
            started_at: None,
            ended_at: Utc::now(),
            tests_total: 0,
            tests_passed: 0,
            tests: serde_json::json!([]),
            outputs: serde_json::json!({}),
            artifacts: serde_json::json!([]),
            log_bytes: 0,
        }
    }
}

/// What came of claiming an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This host runs it.
    Ours,
    /// Another one does, it has ended, or it is to end before it began.
    NotOurs,
}

impl Db {
    /// One attempt.
    pub async fn attempt(&self, id: i64) -> Result<Option<Running>> {
        Ok(sqlx::query_as!(
            Running,
            r#"select a.id, a.key::text as "key!", a.number, a.host, a.state, a.cancel_wanted as cancel, j.name as job, j.spec, a.attrs,
                 l.id as "lane?", u.id as "run?", coalesce(l.commit, '') as "commit!", coalesce(l.tree, '') as "tree!",
                 coalesce(d.name, '') as "distro!", coalesce(k.version, '') as "version!",
                 coalesce(u.purpose, '') as "purpose!", coalesce(u.release, '') as "release!",
                 p.id as pipeline, p.name as pipeline_name,
                 (l.ended_at is not null or u.verdict is not null or u.deleted_at is not null) as "over!",
                 -- What it stands on is in its commit, too.
                 exists (with recursive below (id, on_lane, members, heads) as (
                           select l.id, l.on_lane, l.members, l.heads
                           union all select w.id, w.on_lane, w.members, w.heads
                           from below b join lane w on w.id = b.on_lane)
                         select from below b cross join unnest(b.members, b.heads) u (id, head)
                         join pull_request q on q.id = u.id
                         where q.head_repository is not null and q.author_permission in ('none', 'read', 'triage')
                           and q.authorised_head is distinct from u.head) as "untrusted!"
               from attempt a join job j on j.id = a.job_id left join lane l on l.id = j.lane_id
               left join run u on u.id = j.run_id left join kernel_version k on k.id = u.kernel_version_id
               left join distro d on d.id = k.distro_id
               join pipeline p on p.id = coalesce(l.pipeline_id, u.pipeline_id) where a.id = $1"#,
            id,
        )
        .fetch_optional(&self.read)
        .await?)
    }

    /// This host runs it from now on, and no other one ever will. It is written before anything is run, so
    /// that a host that dies in between leaves no doubt.
    pub async fn claim_attempt(
        &self,
        effect: &Effect,
        attempt: &Running,
        host: &str,
        lease: Duration,
    ) -> Result<Claim> {
        let mut batch = self
            .begin_effect(effect, || {
                format!(
                    "Start {} of {}, attempt {}",
                    attempt.job,
                    attempt.subject(),
                    attempt.number
                )
            })
            .await?;
        let conn = batch.conn();
        // Locked, so that of two hosts one finds what the other wrote.
        let found = sqlx::query!(
            r#"select state, host, cancel_wanted is not null as "cancelled!" from attempt where id = $1 for update"#,
            attempt.id,
        )
        .fetch_one(&mut *conn)
        .await?;
        match (found.state.as_str(), found.host.as_deref()) {
            ("running", Some(other)) if other == host => {}
            ("waiting", None) if !found.cancelled => {
                sqlx::query!(
                    "update attempt set state = 'running', host = $2, started_at = now(), secrets_withheld = $3
                     where id = $1",
                    attempt.id,
                    host,
                    attempt.untrusted && attempt.spec["secrets"].as_array().is_some_and(|s| !s.is_empty()),
                )
                .execute(&mut *conn)
                .await?;
            }
            _ => return Ok(Claim::NotOurs),
        }
        sqlx::query!(
            "update job set state = 'running' where state = 'waiting'
               and id = (select job_id from attempt where id = $1)",
            attempt.id,
        )
        .execute(&mut *conn)
        .await?;
        sqlx::query!(
            "insert into lease (attempt_id, host, until) values ($1, $2, now() + $3)
             on conflict (attempt_id) do update set host = excluded.host, until = excluded.until",
            attempt.id,
            host,
            interval(lease)?,
        )
        .execute(&mut *conn)
        .await?;
        batch.commit(nothing()).await?;
        Ok(Claim::Ours)
    }

    /// Whether it is still to be begun: then that nothing is known of it where it is to run is no loss.
    pub async fn is_to_start(&self, attempt: i64) -> Result<bool> {
        Ok(sqlx::query_scalar!(
            r#"select exists (select from effect where attempt_id = $1 and kind = 'start' and done_at is null)
               as "pending!""#,
            attempt,
        )
        .fetch_one(&self.read)
        .await?)
    }

    /// The attempts that this host runs: id and key.
    pub async fn attempts_of(&self, host: &str) -> Result<Vec<(i64, String)>> {
        Ok(sqlx::query!(
            r#"select id, key::text as "key!" from attempt where host = $1 and state <> 'ended' order by id limit 10000"#,
            host,
        )
        .fetch_all(&self.read)
        .await?
        .into_iter()
        .map(|row| (row.id, row.key))
        .collect())
    }

    /// Vouches for the attempts that this host runs.
    pub async fn renew_leases(&self, host: &str, lease: Duration) -> Result<()> {
        sqlx::query!(
            "update lease set until = now() + $2 where host = $1",
            host,
            interval(lease)?,
        )
        .execute(&self.write)
        .await?;
        Ok(())
    }

    /// Attempts whose host has not vouched for them since `grace`: their own shim has ended them by then. Of its
    /// own a host knows how they ended.
    pub async fn lapsed(&self, host: &str, grace: Duration) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar!(
            "select l.attempt_id from lease l where l.until < now() - $1::interval and l.host <> $2
             order by l.until limit 100",
            interval(grace)?,
            host,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Says on an attempt why it cannot be started, or its end not be written down; none: it goes on.
    pub async fn attempt_says(&self, id: i64, text: Option<&str>) -> Result<()> {
        let Some(attempt) = self.attempt(id).await? else {
            return Ok(());
        };
        let text = text.map(|text| text.replace('\0', "\u{fffd}"));
        let goes = match text {
            Some(_) => "waits",
            None => "goes on",
        };
        let actor = Actor {
            user: format!("pipeline:{}", attempt.pipeline_name),
            address: None,
        };
        let mut batch = self
            .begin(&actor, None, || {
                format!(
                    "{} of {}, attempt {} {goes}",
                    attempt.job,
                    attempt.subject(),
                    attempt.number
                )
            })
            .await?;
        sqlx::query!(
            "update attempt set detail = left($2, 4096)
             where id = $1 and state <> 'ended' and detail is distinct from left($2, 4096)",
            id,
            text,
        )
        .execute(batch.conn())
        .await?;
        batch.commit(nothing()).await?;
        Ok(())
    }

    /// Writes how an attempt ended. What has ended stays as it ended.
    pub async fn attempt_ended(&self, id: i64, ended: &Ended) -> Result<()> {
        let ended = &Ended {
            detail: ended
                .detail
                .as_ref()
                .map(|text| text.replace('\0', "\u{fffd}")),
            tests: without_nul(ended.tests.clone()),
            outputs: without_nul(ended.outputs.clone()),
            artifacts: without_nul(ended.artifacts.clone()),
            ..ended.clone()
        };
        let Some(attempt) = self.attempt(id).await? else {
            return Ok(());
        };
        let actor = Actor {
            user: format!("pipeline:{}", attempt.pipeline_name),
            address: None,
        };
        let mut batch = self
            .begin(&actor, None, || {
                format!(
                    "{} of {}, attempt {}: {}{}",
                    attempt.job,
                    attempt.subject(),
                    attempt.number,
                    ended.ended,
                    ended
                        .exit_code
                        .map_or(String::new(), |code| format!(" {code}")),
                )
            })
            .await?;
        let conn = batch.conn();
        let written = sqlx::query!(
            "update attempt set state = 'ended', ended = $2, exit_code = $3, detail = left($4, 4096),
               started_at = coalesce($5, started_at), ended_at = $6, tests_total = $7, tests_passed = $8, tests = $9,
               outputs = $10, artifacts = $11, log_bytes = $12
             where id = $1 and state <> 'ended'",
            id,
            ended.ended,
            ended.exit_code,
            ended.detail,
            ended.started_at,
            ended.ended_at,
            ended.tests_total,
            ended.tests_passed,
            ended.tests,
            ended.outputs,
            ended.artifacts,
            ended.log_bytes,
        )
        .execute(&mut *conn)
        .await?
        .rows_affected();
        sqlx::query!("delete from lease where attempt_id = $1", id)
            .execute(&mut *conn)
            .await?;
        if written > 0 {
            // Of a lane or a run that has its verdict nobody judges the jobs that still ran.
            sqlx::query!(
                "update job j set state = 'ended', passed = $2 from attempt a
                 where a.id = $1 and j.id = a.job_id and j.state in ('waiting', 'running')
                   and (exists (select from lane l where l.id = j.lane_id and l.state <> 'running')
                     or exists (select from run r where r.id = j.run_id and r.verdict is not null))",
                id,
                ended.ended == "exited" && ended.exit_code == Some(0),
            )
            .execute(&mut *conn)
            .await?;
            cause(conn, attempt.pipeline, attempt.lane, attempt.run).await?;
        }
        batch.commit(nothing()).await?;
        Ok(())
    }
}

fn interval(duration: Duration) -> Result<PgInterval> {
    PgInterval::try_from(duration).map_err(|e| Error::Internal(anyhow::anyhow!(e)))
}

/// What a job wrote may have a NUL anywhere, which PostgreSQL keeps nowhere.
fn without_nul(value: Value) -> Value {
    let text = |text: String| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(string) => Value::String(text(string)),
        Value::Array(values) => values.into_iter().map(without_nul).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (text(name), without_nul(value)))
            .collect(),
        other => other,
    }
}
