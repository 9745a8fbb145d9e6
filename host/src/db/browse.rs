//! What a link opens: one attempt, or one lane.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Db;
use crate::error::Result;

/// An attempt, as its page shows it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The pipeline, where it is of one's lane.
    pub pipeline: Option<String>,
    /// The lane.
    pub lane: Option<i64>,
    /// When that was planned.
    pub planned: Option<DateTime<Utc>>,
    /// The commit that was tested.
    pub commit: Option<String>,
    /// The job.
    pub job: String,
    /// 1 is the first.
    pub number: i32,
    /// waiting, running or ended.
    pub state: String,
    /// How it ended.
    pub ended: Option<String>,
    /// Where it exited by itself.
    pub exit_code: Option<i32>,
    /// What went wrong, for people.
    pub detail: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How many tests it reported.
    pub tests_total: i32,
    /// How many of those passed.
    pub tests_passed: i32,
    /// Those that did not: name, outcome, message.
    pub tests: Value,
    /// What was kept: path, bytes, sha256.
    pub artifacts: Value,
    /// Bytes of its log.
    pub log_bytes: i64,
    /// When its log and its files were removed.
    pub removed_at: Option<DateTime<Utc>>,
}

impl Db {
    /// One attempt by its key, of whatever pipeline.
    pub async fn shown_attempt(&self, key: &str) -> Result<Option<Shown>> {
        Ok(sqlx::query_as!(
            Shown,
            r#"select p.name as "pipeline?", l.id as "lane?", l.created_at as "planned?", l.commit as "commit?", j.name as job,
                 a.number, a.state, a.ended, a.exit_code, a.detail, a.started_at, a.ended_at, a.tests_total,
                 a.tests_passed, a.tests, a.artifacts, a.log_bytes, s.removed_at as "removed_at?"
               from attempt a join job j on j.id = a.job_id left join lane l on l.id = j.lane_id
               left join run u on u.id = j.run_id
               left join pipeline p on p.id = coalesce(l.pipeline_id, u.pipeline_id) left join attempt_store s on s.attempt_id = a.id
               where a.key = case when $1 ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then $1::text::uuid end"#,
            key,
        )
        .fetch_optional(&self.read)
        .await?)
    }

    /// When a lane was planned; none: there is no such lane.
    pub async fn lane_planned(&self, id: i64) -> Result<Option<DateTime<Utc>>> {
        Ok(
            sqlx::query_scalar!("select created_at from lane where id = $1", id)
                .fetch_optional(&self.read)
                .await?,
        )
    }
}
