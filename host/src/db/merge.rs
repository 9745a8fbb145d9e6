//! What a turn of a merge pipeline begins with, and what its questions are made of. `write` is what comes
//! out of it, `attempts` and `effects` what is done outside the database, `branches` what git says.

mod attempts;
mod branches;
mod effects;
mod facts;
mod folders;
mod notes;
mod reactions;
pub(super) mod transfer;
mod write;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use super::Db;
use super::turn::{Bound, LOCK_SPACE};
use crate::error::{Error, Result};
use crate::plan::merge::{
    Approval, Attempt, Candidate, GIVEN_UP, Job, JobState, Landing, Lane, LaneState, Need, On,
    Verdict, Why,
};

pub use attempts::{Claim, Ended, Running};
pub use branches::{Head, NewHead, Watched};
pub use effects::{Built, Effect, EffectKind, Landed, LanePlan, PlanMember, Renewed};
pub use facts::{PullFacts, ReviewRow};
pub use folders::Folder;
pub use reactions::Reaction;
pub use write::{MergeEnd, Standing, StandingChange};
pub(super) use write::{Subject, write_jobs};

/// Causes that one turn looks at: bounds its memory, and the time until the next commit.
const CAUSES_PER_TURN: i64 = 500;
/// Open pull requests of one target branch that `select` is told of, as the contract says.
const MAX_CANDIDATES: i64 = 1_000;
/// Lanes that ended last, as the contract says.
pub const ENDED_LANES: usize = 50;
/// Lanes that were tried on one commit: more than there are pull requests and ways to put them together.
const TRIED_LANES: i64 = 5_000;
/// Runs of the bare target that `select` is told of.
const BRANCH_RUNS: i64 = 4;

/// A merge pipeline as a turn finds it.
#[derive(Debug, Clone)]
pub struct MergeStart {
    /// The pipeline.
    pub pipeline: i32,
    /// Its name.
    pub name: String,
    /// A person paused it.
    pub paused: bool,
    /// The repository's id.
    pub repository_id: i32,
    /// The repository's name.
    pub repository: String,
    /// The target branch.
    pub target: String,
    /// Lanes that may run at once.
    pub slots: i32,
    /// Why the tree is closed.
    pub frozen: Option<String>,
    /// What a command in a comment begins with.
    pub prefix: String,
    /// The commit that the target points at; none: nobody has looked yet.
    pub tip: Option<String>,
    /// Its tree.
    pub tip_tree: Option<String>,
    /// Its bindings, by hook and position.
    pub bindings: Vec<Bound>,
    /// Why to look.
    pub causes: Vec<Cause>,
    /// Something happened that `react` has not been asked about.
    pub reactions: bool,
    /// There are notes of it, or of its pull requests.
    pub notes: bool,
    /// What marks the repository's folder; none: no host has claimed it.
    pub mark: Option<String>,
}

/// A lane as a question about something else has it.
#[derive(Debug, Clone)]
pub struct PastRun {
    /// `merge`, `try`, ...
    pub purpose: String,
    /// What was tested; empty: it was not built.
    pub commit: String,
    /// What it stood on.
    pub base: String,
    /// When it ended; while it lives, when it began.
    pub at: DateTime<Utc>,
    /// As the record has it.
    pub state: String,
}

/// Why a pipeline looks again.
#[derive(Debug, Clone)]
pub struct Cause {
    /// Its row.
    pub id: i64,
    /// pull, lane, all.
    pub kind: String,
    /// The pull request.
    pub pull: Option<i64>,
    /// The lane.
    pub lane: Option<i64>,
}

/// The locks of the turns that one worker takes: they go with the connection.
pub struct TurnLocks {
    connection: PgConnection,
    space: i32,
}

impl TurnLocks {
    /// Takes the pipeline's lock, unless somebody else holds it.
    pub async fn take(&mut self, pipeline: i32) -> Result<bool> {
        Ok(sqlx::query_scalar!(
            r#"select pg_try_advisory_lock($1, $2) as "taken!""#,
            self.space,
            pipeline
        )
        .fetch_one(&mut self.connection)
        .await?)
    }

    /// Lets go of it.
    pub async fn let_go(&mut self, pipeline: i32) -> Result<()> {
        sqlx::query!("select pg_advisory_unlock($1, $2)", self.space, pipeline)
            .fetch_one(&mut self.connection)
            .await?;
        Ok(())
    }
}

impl Db {
    /// The merge pipelines that have something to look at, and whether anything was to be looked at again by now.
    pub async fn merge_work(&self) -> Result<(Vec<i32>, bool)> {
        let row = sqlx::query!(
            r#"select array(
                 select id from pipeline p where kind = 'merge' and deleted_at is null and paused is null
                   and (exists (select from cause c where c.pipeline_id = p.id)
                        -- What could not be told waits, and what comes after it.
                        or (select coalesce(r.not_before, '-infinity') <= now() from reaction r
                            where r.pipeline_id = p.id order by r.id limit 1))
                 order by id limit 1000) as "pipelines!",
               exists (select from wake where at <= now()) as "wakes!""#
        )
        .fetch_one(&self.read)
        .await?;
        Ok((row.pipelines, row.wakes))
    }

    /// What a turn begins with: one consistent set of bindings.
    pub async fn merge_start(&self, pipeline: i32) -> Result<Option<MergeStart>> {
        // First: what the turn then sees is never older than the causes that it takes for looked at.
        let causes = sqlx::query_as!(
            Cause,
            "select id, kind, pull_request_id as pull, lane_id as lane from cause
             where pipeline_id = $1 order by id limit $2",
            pipeline,
            CAUSES_PER_TURN,
        )
        .fetch_all(&self.read)
        .await?;
        let row = async {
            let row = sqlx::query!(
            r#"select p.name, p.paused is not null as "paused!", m.repository_id, g.name as repository, m.target,
                 m.slots, m.frozen, m.prefix, t.commit as "tip?", t.tree as "tree?",
                 coalesce((select coalesce(r.not_before, '-infinity') <= now() from reaction r
                           where r.pipeline_id = m.id order by r.id limit 1), false) as "reactions!",
                 exists (select from note n where n.pipeline_id = m.id and n.deleted_at is null) as "notes!",
                 (select f.mark from repository_folder f where f.repository_id = m.repository_id) as mark
               from merge_pipeline m join pipeline p on p.id = m.id join repository g on g.id = m.repository_id
               left join lateral (select commit, tree from tip where pipeline_id = m.id order by id desc limit 1) t
                 on true
               where m.id = $1 and p.deleted_at is null"#,
            pipeline,
        )
        .fetch_optional(&self.read)
            .await?;
            Ok(row)
        };
        let (row, bindings) = tokio::try_join!(row, self.bound(pipeline))?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(MergeStart {
            pipeline,
            name: row.name,
            paused: row.paused,
            repository_id: row.repository_id,
            repository: row.repository,
            target: row.target,
            slots: row.slots,
            frozen: row.frozen,
            prefix: row.prefix,
            tip: row.tip,
            tip_tree: row.tree,
            bindings,
            causes,
            reactions: row.reactions,
            notes: row.notes,
            mark: row.mark,
        }))
    }

    /// The open pull requests of a target branch, ascending by number.
    pub async fn candidates(&self, start: &MergeStart, tip: &str) -> Result<Vec<Candidate>> {
        let rows = sqlx::query!(
            r#"select q.id, q.number, q.head, q.author, q.opened_at, q.draft, q.head_gone, q.retests,
                 s.approval as "approval?", s.approved_at as "approved_at?", s.need as "need?",
                 s.tags as "tags?: Json<BTreeMap<String, String>>", s.verdict as "verdict?",
                 s.verdict_base as "verdict_base?", s.earlier as "earlier?", coalesce(s.runs, 0) as "runs!",
                 c.base is not null as "conflict!", coalesce(l.names, '{}') as "labels!"
               from pull_request q left join standing s on s.id = q.id and s.head = q.head
               left join conflict c on c.pull_request_id = q.id and c.head = q.head and c.base = $3
               left join (
                 select l.pull_request_id as id, array_agg(l.name order by l.name) as names
                 from label l join pull_request o on o.id = l.pull_request_id
                 where l.deleted_at is null and o.repository_id = $1 and o.target = $2 and o.state = 'open'
                 group by 1) l on l.id = q.id
               where q.repository_id = $1 and q.target = $2 and q.state = 'open'
               order by q.number limit $4"#,
            start.repository_id,
            start.target,
            tip,
            MAX_CANDIDATES,
        )
        .fetch_all(&self.read)
        .await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let mut depends = self.depends(start, &ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let here = row.verdict_base.as_deref() == Some(tip);
                let verdict = row.verdict.as_deref().and_then(verdict_of);
                let earlier = row.earlier.as_deref().and_then(verdict_of);
                Candidate {
                    id: row.id,
                    number: row.number,
                    head: row.head,
                    author: row.author,
                    labels: row.labels,
                    opened_at: row.opened_at,
                    draft: row.draft,
                    head_gone: row.head_gone,
                    retests: row.retests,
                    approval: row
                        .approval
                        .as_deref()
                        .map_or(Approval::Pending, approval_of),
                    approved_at: row.approved_at,
                    need: row.need.as_deref().and_then(need_of),
                    tags: row.tags.map(|tags| tags.0).unwrap_or_default(),
                    on_tip: verdict.filter(|_| here),
                    before: if here { earlier } else { verdict },
                    runs: row.runs,
                    conflict: row.conflict,
                    depends: depends.remove(&row.id).unwrap_or_default(),
                }
            })
            .collect())
    }

    /// The living lanes by id, then those that ended, the newest first.
    pub async fn lanes(&self, pipeline: i32) -> Result<(Vec<Lane>, Vec<Lane>)> {
        let rows = sqlx::query_as!(
            LaneRow,
            r#"select id, base, on_lane, members, numbers, heads, purpose, landing, priority,
                 attrs as "attrs: Json<BTreeMap<String, String>>", state, since, commit, tree, reason_code,
                 reason_text, held_code, held_text, blame, tags as "tags: Json<BTreeMap<String, String>>", ended_at,
                 ended_at is null and exists (select from job j join attempt a on a.job_id = j.id
                   where j.lane_id = lane.id and a.state <> 'ended') as "busy!"
               from lane where id in (
                 select id from lane where pipeline_id = $1 and ended_at is null
                 union all (select id from lane where pipeline_id = $1 and ended_at is not null
                            order by id desc limit $2))
               order by ended_at is not null, case when ended_at is null then id else -id end"#,
            pipeline,
            ENDED_LANES as i64,
        )
        .fetch_all(&self.read)
        .await?;
        let lanes: Vec<Lane> = rows.into_iter().map(LaneRow::lane).collect::<Result<_>>()?;
        Ok(lanes.into_iter().partition(|lane| !lane.ended))
    }

    /// Lanes that came to an end on this commit other than by being called off, the newest first.
    pub async fn tried_on(&self, pipeline: i32, base: &[&str]) -> Result<Vec<Lane>> {
        let rows = sqlx::query_as!(
            LaneRow,
            r#"select id, base, on_lane, members, numbers, heads, purpose, landing, priority,
                 attrs as "attrs: Json<BTreeMap<String, String>>", state, since, commit, tree, reason_code,
                 reason_text, held_code, held_text, blame, tags as "tags: Json<BTreeMap<String, String>>", ended_at,
                 false as "busy!"
               from lane where pipeline_id = $1 and base = any($2::text[]) and ended_at is not null
                 and (state in ('passed', 'failed', 'inconclusive', 'conflict') or reason_code = any($3))
               order by id desc limit $4"#,
            pipeline,
            base as _,
            &GIVEN_UP as _,
            TRIED_LANES,
        )
        .fetch_all(&self.read)
        .await?;
        rows.into_iter().map(LaneRow::lane).collect()
    }

    /// The paths that a lane changes on its base, one a line, and how many there are; none: that is not known.
    pub async fn lane_changed(&self, lane: i64) -> Result<Option<(String, i32)>> {
        let row = sqlx::query!(
            "select changed, changed_total from lane where id = $1",
            lane
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(row.and_then(|row| Some((row.changed?, row.changed_total?))))
    }

    /// The newest commit that the target is known to have pointed at.
    pub async fn tip(&self, pipeline: i32) -> Result<Option<String>> {
        Ok(sqlx::query_scalar!(
            "select commit from tip where pipeline_id = $1 order by id desc limit 1",
            pipeline,
        )
        .fetch_optional(&self.read)
        .await?)
    }

    /// The newest runs of the bare target, the newest first.
    pub async fn branch_runs(&self, pipeline: i32) -> Result<Vec<PastRun>> {
        Ok(sqlx::query_as!(
            PastRun,
            r#"select purpose, coalesce(commit, base, '') as "commit!", coalesce(base, '') as "base!",
                 coalesce(ended_at, created_at) as "at!", state
               from lane where pipeline_id = $1 and members = '{}' and state <> 'cancelled' order by id desc limit $2"#,
            pipeline,
            BRANCH_RUNS,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// One lane.
    pub async fn one_lane(&self, id: i64) -> Result<Option<Lane>> {
        sqlx::query_as!(
            LaneRow,
            r#"select id, base, on_lane, members, numbers, heads, purpose, landing, priority,
                 attrs as "attrs: Json<BTreeMap<String, String>>", state, since, commit, tree, reason_code,
                 reason_text, held_code, held_text, blame, tags as "tags: Json<BTreeMap<String, String>>", ended_at,
                 false as "busy!" from lane where id = $1"#,
            id,
        )
        .fetch_optional(&self.read)
        .await?
        .map(LaneRow::lane)
        .transpose()
    }

    /// The jobs of a lane, with their attempts.
    pub async fn lane_jobs(&self, lane: i64) -> Result<Vec<Job>> {
        self.jobs_of(Some(lane), None).await
    }

    /// The jobs of a kernel version's run, with their attempts.
    pub async fn run_jobs(&self, run: i64) -> Result<Vec<Job>> {
        self.jobs_of(None, Some(run)).await
    }

    async fn jobs_of(&self, lane: Option<i64>, run: Option<i64>) -> Result<Vec<Job>> {
        let jobs = sqlx::query!(
            "select id, name, spec, spec_digest, weight, after, state, skipped_code, skipped_text, passed, reused_from
             from job where lane_id = $1 or run_id = $2 order by id",
            lane,
            run,
        )
        .fetch_all(&self.read);
        let attempts = sqlx::query!(
            r#"select a.id, a.job_id, a.number, a.ended, a.exit_code, a.tests, a.tests_total, a.tests_passed,
                 a.outputs as "outputs: Json<BTreeMap<String, String>>",
                 a.attrs as "attrs: Json<BTreeMap<String, String>>", a.not_before, a.cancel_wanted
               from attempt a where a.job_id in (
                 -- Of a job that was not run again, those that it passed in.
                 select coalesce(reused_from, id) from job where lane_id = $1 or run_id = $2)
               order by a.job_id, a.number"#,
            lane,
            run,
        )
        .fetch_all(&self.read);
        let (jobs, attempts) = tokio::try_join!(jobs, attempts)?;
        jobs.into_iter()
            .map(|job| {
                let of = job.reused_from.unwrap_or(job.id);
                let attempts = attempts.iter().filter(|a| a.job_id == of);
                Ok(Job {
                    id: Some(job.id),
                    name: job.name,
                    spec: job.spec,
                    digest: job.spec_digest,
                    required: job.weight == "required",
                    after: job.after,
                    state: JobState::of(&job.state).ok_or_else(|| unknown(&job.state))?,
                    skipped: job.skipped_code.zip(job.skipped_text),
                    passed: job.passed,
                    reused_from: job.reused_from,
                    attempts: attempts
                        .map(|a| Attempt {
                            id: Some(a.id),
                            number: a.number,
                            ended: a.ended.clone(),
                            exit_code: a.exit_code,
                            tests: a.tests.clone(),
                            tests_total: a.tests_total,
                            tests_passed: a.tests_passed,
                            outputs: a.outputs.0.clone(),
                            attrs: a.attrs.0.clone(),
                            not_before: a.not_before,
                            cancel: a.cancel_wanted.clone(),
                        })
                        .collect(),
                })
            })
            .collect()
    }

    /// The job whose pass on this tree counts for one that does the same, with its lane. One that a person
    /// asked to run again (`retests`) is not found among those before.
    pub async fn passed_before(
        &self,
        repository: i32,
        tree: &str,
        digest: &[u8],
        retests: &str,
    ) -> Result<Option<(i64, i64)>> {
        let row = sqlx::query!(
            // By the tree first: of a job there are passes without end, of a tree a few.
            r#"with here as materialized (
               select l.id from lane l join merge_pipeline m on m.id = l.pipeline_id
               where l.tree = $2 and m.repository_id = $1 and coalesce(l.attrs ->> 'retests', '') = $4)
             select j.id, j.lane_id as "lane!" from here join job j on j.lane_id = here.id
             where j.spec_digest = $3 and j.passed and j.reused_from is null
               -- Without its secrets it may have left out what needs them.
               and not exists (select from attempt a where a.job_id = j.id and a.secrets_withheld)
             order by j.id limit 1"#,
            repository,
            tree,
            digest,
            retests,
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(row.map(|row| (row.id, row.lane)))
    }

    /// The open pull requests of a pipeline, ascending by number.
    pub async fn open_pulls(&self, start: &MergeStart) -> Result<Vec<i64>> {
        Ok(sqlx::query_scalar!(
            "select id from pull_request where repository_id = $1 and target = $2 and state = 'open'
             order by number limit $3",
            start.repository_id,
            start.target,
            MAX_CANDIDATES,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Makes causes of what is to be looked at again by now.
    pub async fn wakes_due(&self) -> Result<u64> {
        Ok(sqlx::query!(
            "with due as (delete from wake where at <= now() returning pipeline_id, pull_request_id)
             insert into cause (pipeline_id, kind, pull_request_id)
             select pipeline_id, case when pull_request_id is null then 'lane' else 'pull' end, pull_request_id from due"
        )
        .execute(&self.write)
        .await?
        .rows_affected())
    }

    /// A connection that takes the locks of turns.
    pub async fn turn_locks(&self) -> Result<TurnLocks> {
        self.locks(LOCK_SPACE).await
    }

    /// A connection that takes locks of that namespace.
    pub(super) async fn locks(&self, space: i32) -> Result<TurnLocks> {
        Ok(TurnLocks {
            connection: PgConnection::connect_with(&self.options).await?,
            space,
        })
    }
}

struct LaneRow {
    id: i64,
    base: Option<String>,
    on_lane: Option<i64>,
    members: Vec<i64>,
    numbers: Vec<i32>,
    heads: Vec<String>,
    purpose: String,
    landing: String,
    priority: i32,
    attrs: Json<BTreeMap<String, String>>,
    state: String,
    since: DateTime<Utc>,
    commit: Option<String>,
    tree: Option<String>,
    reason_code: String,
    reason_text: String,
    held_code: Option<String>,
    held_text: Option<String>,
    blame: Vec<i32>,
    tags: Json<BTreeMap<String, String>>,
    busy: bool,
    ended_at: Option<DateTime<Utc>>,
}

impl LaneRow {
    fn lane(self) -> Result<Lane> {
        Ok(Lane {
            id: Some(self.id),
            base: self.base,
            on: self.on_lane.map(On::Lane),
            members: self.members,
            numbers: self.numbers,
            heads: self.heads,
            purpose: self.purpose,
            landing: Landing::of(&self.landing).ok_or_else(|| unknown(&self.landing))?,
            priority: self.priority,
            attrs: self.attrs.0,
            state: LaneState::of(&self.state).ok_or_else(|| unknown(&self.state))?,
            since: self.since,
            commit: self.commit,
            tree: self.tree,
            why: Why::host(&self.reason_code, self.reason_text),
            held: self.held_code.zip(self.held_text),
            blame: self.blame,
            tags: self.tags.0,
            busy: self.busy,
            ended: self.ended_at.is_some(),
        })
    }
}

fn unknown(word: &str) -> Error {
    Error::Internal(anyhow::anyhow!("`{word}` is no state that this host knows"))
}

fn approval_of(name: &str) -> Approval {
    match name {
        "approved" => Approval::Approved,
        "rejected" => Approval::Rejected,
        _ => Approval::Pending,
    }
}

fn need_of(name: &str) -> Option<Need> {
    [Need::Pass, Need::Run, Need::Hold, Need::Fail]
        .into_iter()
        .find(|need| need.name() == name)
}

fn verdict_of(name: &str) -> Option<Verdict> {
    match name {
        "pass" => Some(Verdict::Pass),
        "fail" => Some(Verdict::Fail),
        "inconclusive" => Some(Verdict::Inconclusive),
        _ => None,
    }
}
