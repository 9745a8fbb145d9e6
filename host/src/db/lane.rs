//! Lanes as people see them, with jobs and attempts, and the commits that a branch pointed at.

use chrono::{DateTime, Utc};
use pointsman_api::generation::Written;
use pointsman_api::lane::{Attempt, Held, Job, Lane, Member, Tip};
use pointsman_api::page::Page;
use pointsman_api::pull::Merging;
use sqlx::{FromRow, QueryBuilder};

use super::distro::cut;
use super::{Batch, Db, batch::nothing, cursor};
use crate::error::{Kind, Refusal, Result, invalid};

/// Attempts that are told of as under way: the oldest ones of a pipeline, and more than any machine runs at once.
const MAX_UNDER_WAY: i64 = 10_000;

/// What a list of lanes is filtered by.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this pipeline.
    pub pipeline: Option<i32>,
    /// Those that have not ended.
    pub living: bool,
    /// In this state.
    pub state: Option<String>,
    /// With this pull request in it.
    pub number: Option<i32>,
    /// This one alone.
    pub id: Option<i64>,
}

/// An attempt that has not ended, of a lane that lives.
#[derive(Debug, Clone)]
pub struct UnderWay {
    /// The lane.
    pub lane: i64,
    /// The job.
    pub job: String,
    /// 1 is the first.
    pub number: i32,
    /// waiting or running.
    pub state: String,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// What its log is found by.
    pub key: String,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    pipeline: String,
    numbers: Vec<i32>,
    heads: Vec<String>,
    purpose: String,
    state: String,
    since: DateTime<Utc>,
    landing: String,
    base: Option<String>,
    on_lane: Option<i64>,
    commit: Option<String>,
    tree: Option<String>,
    reason_code: String,
    reason_text: String,
    decision_id: Option<i64>,
    held_code: Option<String>,
    held_text: Option<String>,
    blame: Vec<i32>,
    created_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    generation: i64,
}

impl Row {
    fn lane(self) -> Lane {
        let members = self.numbers.into_iter().zip(self.heads);
        Lane {
            id: self.id,
            pipeline: self.pipeline,
            members: members
                .map(|(number, head)| Member { number, head })
                .collect(),
            purpose: self.purpose,
            state: self.state,
            since: self.since,
            landing: self.landing,
            base: self.base,
            on: self.on_lane,
            commit: self.commit,
            tree: self.tree,
            reason: self.reason_text,
            reason_code: self.reason_code,
            decision: self.decision_id,
            held: held(self.held_code, self.held_text),
            blame: self.blame,
            created_at: self.created_at,
            ended_at: self.ended_at,
            jobs: None,
            generation: self.generation,
            link: None,
        }
    }
}

pub(super) fn held(code: Option<String>, text: Option<String>) -> Option<Held> {
    Some(Held {
        code: code?,
        text: text?,
    })
}

impl Db {
    /// One page of lanes, the newest first.
    pub async fn lane_page(
        &self,
        filter: &Filter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Page<Lane>> {
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        let mut sql = QueryBuilder::new(
            "select l.id, p.name as pipeline, l.numbers, l.heads, l.purpose, l.state, l.since, l.landing, l.base, \
             l.on_lane, l.commit, l.tree, l.reason_code, l.reason_text, l.decision_id, l.held_code, l.held_text, \
             l.blame, l.created_at, l.ended_at, l.generation from lane l join pipeline p on p.id = l.pipeline_id \
             where true",
        );
        if let Some(pipeline) = filter.pipeline {
            sql.push(" and l.pipeline_id = ").push_bind(pipeline);
        }
        if filter.living {
            sql.push(" and l.ended_at is null");
        }
        if let Some(state) = &filter.state {
            sql.push(" and l.state = ").push_bind(state);
        }
        if let Some(number) = filter.number {
            sql.push(
                " and l.members && (select array_agg(q.id) from pull_request q join merge_pipeline m \
                 on m.repository_id = q.repository_id where m.id = l.pipeline_id and q.number = ",
            )
            .push_bind(number)
            .push(")");
        }
        if let Some(id) = filter.id {
            sql.push(" and l.id = ").push_bind(id);
        }
        if let Some(after) = after {
            sql.push(" and l.id < ").push_bind(after);
        }
        sql.push(" order by l.id desc limit ")
            .push_bind(i64::from(limit) + 1);
        let mut rows: Vec<Row> = sql.build_query_as().fetch_all(&self.read).await?;
        let next = cut(&mut rows, limit, |row| cursor::encode(&row.id));
        Ok(Page {
            items: rows.into_iter().map(Row::lane).collect(),
            next,
        })
    }

    /// One lane, with its jobs and their attempts.
    pub async fn lane(&self, id: i64) -> Result<Lane> {
        let filter = Filter {
            id: Some(id),
            ..Filter::default()
        };
        let page = self.lane_page(&filter, None, 1).await?;
        let Some(mut lane) = page.items.into_iter().next() else {
            let text = format!("there is no lane {id}");
            return Err(Refusal::new(Kind::NotFound, "lane_unknown", text)
                .hint("`pointsman lane list` shows those there are.")
                .into());
        };
        lane.jobs = Some(self.shown_jobs(Some(id), None).await?);
        Ok(lane)
    }

    /// The jobs of a lane or of a run as people see them, with their attempts.
    pub(super) async fn shown_jobs(&self, lane: Option<i64>, run: Option<i64>) -> Result<Vec<Job>> {
        let jobs = sqlx::query!(
            r#"select j.id, j.name, j.state, j.weight, j.after, j.spec, j.skipped_code, j.skipped_text,
                 r.lane_id as "reused_from?"
               from job j left join job r on r.id = j.reused_from where j.lane_id = $1 or j.run_id = $2
               order by j.id"#,
            lane,
            run,
        )
        .fetch_all(&self.read)
        .await?;
        let attempts = sqlx::query!(
            r#"select a.job_id, a.key::text as "key!", a.number, a.state, a.ended, a.exit_code, a.detail, a.started_at,
                 a.ended_at, a.tests_total, a.tests_passed, a.tests, a.outputs, a.artifacts, a.log_bytes,
                 s.removed_at as "removed_at?"
               from attempt a join job j on j.id = a.job_id left join attempt_store s on s.attempt_id = a.id
               where j.lane_id = $1 or j.run_id = $2
               order by a.job_id, a.number"#,
            lane,
            run,
        )
        .fetch_all(&self.read)
        .await?;
        let of = |job: i64| {
            attempts
                .iter()
                .filter(|a| a.job_id == job)
                .map(|a| Attempt {
                    key: a.key.clone(),
                    number: a.number,
                    state: a.state.clone(),
                    ended: a.ended.clone(),
                    exit_code: a.exit_code,
                    detail: a.detail.clone(),
                    started_at: a.started_at,
                    ended_at: a.ended_at,
                    tests_total: a.tests_total,
                    tests_passed: a.tests_passed,
                    tests: a.tests.clone(),
                    outputs: a.outputs.clone(),
                    artifacts: a.artifacts.clone(),
                    log_bytes: a.log_bytes,
                    link: None,
                    kept_until: None,
                    removed_at: a.removed_at,
                })
                .collect()
        };
        Ok(jobs
            .into_iter()
            .map(|j| Job {
                attempts: of(j.id),
                name: j.name,
                state: j.state,
                weight: j.weight,
                after: j.after,
                spec: j.spec,
                skipped: held(j.skipped_code, j.skipped_text),
                reused_from: j.reused_from,
            })
            .collect())
    }

    /// The attempts of a pipeline's living lanes that have not ended, the oldest first.
    pub async fn under_way(&self, pipeline: i32) -> Result<Vec<UnderWay>> {
        Ok(sqlx::query_as!(
            UnderWay,
            r#"select l.id as lane, j.name as job, a.number, a.state, a.started_at, a.key::text as "key!"
               from lane l join job j on j.lane_id = l.id join attempt a on a.job_id = j.id
               where l.pipeline_id = $1 and l.ended_at is null and a.state <> 'ended'
               order by a.id limit $2"#,
            pipeline,
            MAX_UNDER_WAY,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// The commits that a pipeline's branch pointed at, the newest first, each with what vouches for it.
    pub async fn tips(&self, pipeline: i32, after: Option<&str>, limit: u32) -> Result<Page<Tip>> {
        let after: Option<i64> = after.map(cursor::decode).transpose()?;
        let mut rows = sqlx::query!(
            r#"select t.id, t.commit, t.tree, t.how, t.lane_id, t.at, exists (
                 -- Jobs ran on exactly this commit (or on another with its tree), and `triage` called that a pass.
                 select from lane l join job j on j.lane_id = l.id and j.weight = 'required'
                 where l.id = t.lane_id and l.tree = t.tree and l.commit = t.commit
                 having count(*) filter (where j.state in ('ended', 'reused')) > 0
                   and count(*) filter (where j.state in ('waiting', 'running')) = 0
               ) as "tested!"
               from tip t where t.pipeline_id = $1 and ($2::bigint is null or t.id < $2)
               order by t.id desc limit $3"#,
            pipeline,
            after,
            i64::from(limit) + 1,
        )
        .fetch_all(&self.read)
        .await?;
        let next = cut(&mut rows, limit, |row| cursor::encode(&row.id));
        Ok(Page {
            items: rows
                .into_iter()
                .map(|t| Tip {
                    commit: t.commit,
                    tree: t.tree,
                    how: t.how,
                    lane: t.lane_id,
                    tested: t.tested,
                    at: t.at,
                })
                .collect(),
            next,
        })
    }

    /// What a merge pipeline lands where, with its id.
    pub async fn merging(&self, pipeline: &str) -> Result<(i32, Merging)> {
        let row = sqlx::query!(
            r#"select m.id, g.name as repository, m.target, m.slots, m.frozen, m.frozen_by, m.prefix,
                 (select commit from tip where pipeline_id = m.id order by id desc limit 1) as tip,
                 -- Hosts say that they see it four times as often.
                 (select f.seen_at from repository_folder f
                  where f.repository_id = g.id and f.seen_at < now() - interval '1 minute') as folder_missing_since
               from merge_pipeline m join pipeline p on p.id = m.id join repository g on g.id = m.repository_id
               where p.name = $1 and p.deleted_at is null"#,
            pipeline,
        )
        .fetch_optional(&self.read)
        .await?;
        let Some(row) = row else {
            self.pipeline(pipeline).await?;
            let text = format!("`{pipeline}` is no pipeline of pull requests");
            return Err(Refusal::new(Kind::Conflict, "pipeline_kind", text)
                .hint("`pointsman pipeline list` shows of which kind each is.")
                .into());
        };
        let merging = Merging {
            repository: row.repository,
            target: row.target,
            tip: row.tip,
            slots: row.slots,
            frozen: row.frozen,
            frozen_by: row.frozen_by,
            prefix: row.prefix,
            folder_missing_since: row.folder_missing_since,
        };
        Ok((row.id, merging))
    }

    /// The pipeline that lands on a branch, if one does.
    pub async fn pipeline_of(&self, repository: &str, target: &str) -> Result<Option<String>> {
        Ok(sqlx::query_scalar!(
            "select p.name from merge_pipeline m join pipeline p on p.id = m.id
             join repository g on g.id = m.repository_id
             where g.name = $1 and m.target = $2 and p.deleted_at is null",
            repository,
            target,
        )
        .fetch_optional(&self.read)
        .await?)
    }

    /// Closes the tree with a reason, opens it with an empty one, or sets the slots.
    pub async fn update_merging(
        &self,
        batch: &mut Batch,
        pipeline: &str,
        frozen: Option<&str>,
        slots: Option<i32>,
        by: &str,
    ) -> Result<Written> {
        let (id, _) = self.merging(pipeline).await?;
        if slots.is_some_and(|slots| !(1..=64).contains(&slots)) {
            return Err(invalid(
                "slots_invalid",
                "/slots",
                "1 to 64 lanes may run at once",
            ));
        }
        if frozen.is_some_and(|frozen| frozen.len() > 1_024) {
            return Err(invalid(
                "reason_too_long",
                "/frozen",
                "a reason has at most 1,024 bytes",
            ));
        }
        let frozen = frozen.map(str::trim);
        let updated = sqlx::query!(
            "update merge_pipeline set
               frozen = case when $2::text is null then frozen when $2 = '' then null else $2 end,
               frozen_by = case when $2::text is null then frozen_by when $2 = '' then null else $3 end,
               slots = coalesce($4, slots) where id = $1",
            id,
            frozen,
            by,
            slots,
        )
        .execute(batch.conn())
        .await?
        .rows_affected();
        Ok(Written {
            updated,
            unchanged: 1 - updated,
            ..nothing()
        })
    }

    /// The state of one attempt, by its key: its id and whether it has ended.
    pub async fn attempt_by_key(&self, key: &str) -> Result<Option<bool>> {
        Ok(sqlx::query_scalar!(
            // What is no key finds nothing, and the index is used.
            r#"select state = 'ended' as "ended!" from attempt
               where key = case when $1 ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then $1::text::uuid end"#,
            key,
        )
        .fetch_optional(&self.read)
        .await?)
    }
}
