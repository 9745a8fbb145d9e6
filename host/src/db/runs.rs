//! What a turn of a kernel pipeline's runs begins with: its slots, the runs that go on, and the wishes that may
//! start. `write` is what comes out of it. See `crate::runs`.

mod request;
mod write;

use chrono::{DateTime, Utc};

use super::Db;
use super::merge::TurnLocks;
use super::turn::Bound;
use crate::error::Result;
use crate::plan::runs::Unwanted;
use crate::policy::wit::types::Attrs;

pub use write::{HeldWish, NOBODY, RunsEnd, Start};

/// Namespace of the advisory locks that say who looks after the runs of a pipeline: not the one of its turns, so
/// that a question about ten thousand versions keeps no job's end waiting.
const LOCK_SPACE: i32 = 0x706e;
/// Causes that one turn looks at.
const CAUSES_PER_TURN: i64 = 500;
/// Earlier runs in one question, as the contract says.
const MAX_RUNS: i64 = 4;
/// Runs that a kernel pipeline makes at once where nobody said otherwise; as in `migrations/0010`.
pub const DEFAULT_SLOTS: i32 = 2;

/// A kernel pipeline as a turn of its runs finds it.
#[derive(Debug, Clone)]
pub struct RunsStart {
    /// The pipeline.
    pub pipeline: i32,
    /// Its name.
    pub name: String,
    /// Runs that it makes at once.
    pub slots: i32,
    /// What is bound to `run` and `triage`, by hook and position.
    pub bindings: Vec<Bound>,
    /// Why to look: the rows.
    pub causes: Vec<i64>,
    /// The runs that they name.
    pub caused: Vec<i64>,
    /// Whether one of them names none: all are looked at.
    pub all: bool,
}

/// What a run is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The kernel version.
    pub kernel: i64,
    /// Its distro.
    pub distro_id: i32,
    /// The distro's name.
    pub distro: String,
    /// The distro's build variant.
    pub variant: String,
    /// The version.
    pub version: String,
    /// Its packages.
    pub packages: serde_json::Value,
    /// fetch, build, test.
    pub purpose: String,
    /// The product release; empty where there is only one.
    pub release: String,
    /// What `ignore` handed on about the distro.
    pub tags: Attrs,
}

impl Subject {
    /// For people: `debian-12/6.1.0-49-amd64 build`.
    pub fn name(&self) -> String {
        let release = match self.release.as_str() {
            "" => String::new(),
            release => format!(" {release}"),
        };
        format!("{}/{} {}{release}", self.distro, self.version, self.purpose)
    }
}

/// A run of ours that goes on.
#[derive(Debug, Clone)]
pub struct Living {
    /// Its row.
    pub id: i64,
    /// What it is about.
    pub subject: Subject,
    /// Why it does not go on.
    pub held: Option<(String, String)>,
    /// An attempt of one of its jobs has not ended.
    pub busy: bool,
    /// Why it should not.
    pub unwanted: Option<Unwanted>,
}

/// A wish that may start.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What it is about.
    pub subject: Subject,
    /// How often in a row it could not be started.
    pub tries: i32,
}

/// An earlier run of the same.
#[derive(Debug, Clone)]
pub struct Past {
    /// When it ended, or began.
    pub at: DateTime<Utc>,
    /// pass, fail, inconclusive; none: it goes on.
    pub verdict: Option<String>,
}

impl Db {
    /// A connection that takes the locks of runs.
    pub async fn run_locks(&self) -> Result<TurnLocks> {
        self.locks(LOCK_SPACE).await
    }

    /// The kernel pipelines that have something to do about their runs.
    pub async fn runs_work(&self) -> Result<Vec<i32>> {
        let pipelines = sqlx::query!(
            r#"select p.id, (exists (select from cause c where c.pipeline_id = p.id)
                 or exists (select from kernel_living r where r.pipeline_id = p.id and r.unwanted is not null))
                 as "due!",
               (exists (select from binding b where b.pipeline_id = p.id and b.hook = 'run' and b.deleted_at is null)
                 -- One that nobody can decide about, and for which nothing runs, keeps no other from its slot.
                 and (select count(*) from run r where r.pipeline_id = p.id and r.verdict is null
                      and r.deleted_at is null and (r.held_code is null
                        or exists (select from job j join attempt a on a.job_id = j.id
                                   where j.run_id = r.id and a.state <> 'ended'))) < coalesce(s.slots, $1)) as "free!"
               from pipeline p left join kernel_pipeline s on s.id = p.id
               where p.kind = 'kernel' and p.deleted_at is null and p.paused is null"#,
            DEFAULT_SLOTS,
        )
        .fetch_all(&self.read)
        .await?;
        let mut work = vec![];
        for pipeline in pipelines {
            if pipeline.due || pipeline.free && self.something_starts().await? {
                work.push(pipeline.id);
            }
        }
        Ok(work)
    }

    /// Whether all slots of a kernel pipeline are taken, as [`Db::runs_work`] counts them.
    pub async fn slots_are_taken(&self, pipeline: &str) -> Result<bool> {
        let full = sqlx::query_scalar!(
            r#"select (select count(*) from run r where r.pipeline_id = p.id and r.verdict is null
                   and r.deleted_at is null and (r.held_code is null
                     or exists (select from job j join attempt a on a.job_id = j.id
                                where j.run_id = r.id and a.state <> 'ended'))) >= coalesce(s.slots, $2) as "full!"
               from pipeline p left join kernel_pipeline s on s.id = p.id where p.name = $1"#,
            pipeline,
            DEFAULT_SLOTS,
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(full.unwrap_or(false))
    }

    /// Whether there is a wish to start. In their order, so that the first one ends the search.
    async fn something_starts(&self) -> Result<bool> {
        let first = sqlx::query_scalar!(
            "select kernel_version_id from kernel_startable
             order by priority desc, since, kernel_version_id limit 1"
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(first.is_some())
    }

    /// Wishes that could not be started may be tried again by now.
    pub async fn wishes_due(&self) -> Result<u64> {
        let due = sqlx::query_scalar!(
            r#"select exists (select from kernel_wanted where not_before <= now()) as "due!""#
        )
        .fetch_one(&self.read)
        .await?;
        if !due {
            return Ok(0);
        }
        Ok(
            sqlx::query!("update kernel_wanted set not_before = null where not_before <= now()")
                .execute(&self.write)
                .await?
                .rows_affected(),
        )
    }

    /// What a turn begins with: one consistent set of bindings.
    pub async fn runs_start(&self, pipeline: i32) -> Result<Option<RunsStart>> {
        // First: what the turn then sees is never older than the causes that it takes for looked at.
        let causes = sqlx::query!(
            "select id, run_id from cause where pipeline_id = $1 order by id limit $2",
            pipeline,
            CAUSES_PER_TURN,
        )
        .fetch_all(&self.read)
        .await?;
        let Some(row) = sqlx::query!(
            r#"select p.name, coalesce(s.slots, $2) as "slots!"
               from pipeline p left join kernel_pipeline s on s.id = p.id
               where p.id = $1 and p.deleted_at is null and p.paused is null"#,
            pipeline,
            DEFAULT_SLOTS,
        )
        .fetch_optional(&self.read)
        .await?
        else {
            return Ok(None);
        };
        let mut bindings = self.bound(pipeline).await?;
        // The others are the turn's of the pipeline itself.
        bindings.retain(|bound| matches!(bound.hook.as_str(), "run" | "triage"));
        Ok(Some(RunsStart {
            pipeline,
            name: row.name,
            slots: row.slots,
            bindings,
            all: causes.iter().any(|cause| cause.run_id.is_none()),
            caused: causes.iter().filter_map(|cause| cause.run_id).collect(),
            causes: causes.into_iter().map(|cause| cause.id).collect(),
        }))
    }

    /// The runs of a pipeline that go on, the oldest first.
    pub async fn living_runs(&self, pipeline: i32) -> Result<Vec<Living>> {
        let rows = sqlx::query!(
            r#"select r.id as "id!", r.kernel_version_id as "kernel!", k.distro_id, d.name as distro, d.variant,
                 k.version, k.packages, r.purpose as "purpose!", r.release as "release!", r.held_code, r.held_text,
                 r.unwanted, r.ignored, r.ignored_text, coalesce(t.tags, '{}') as "tags!",
                 exists (select from job j join attempt a on a.job_id = j.id
                         where j.run_id = r.id and a.state <> 'ended') as "busy!"
               from kernel_living r join kernel_version k on k.id = r.kernel_version_id
               join distro d on d.id = k.distro_id
               left join distro_tags t on t.pipeline_id = r.pipeline_id and t.distro_id = d.id
               where r.pipeline_id = $1 order by r.id"#,
            pipeline,
        )
        .fetch_all(&self.read)
        .await?;
        Ok(rows
            .into_iter()
            .map(|r| Living {
                id: r.id,
                held: r.held_code.zip(r.held_text),
                busy: r.busy,
                unwanted: match r.unwanted.as_deref() {
                    None => None,
                    Some("version.deleted") => Some(Unwanted::Deleted),
                    Some("version.ignored") => Some(Unwanted::Ignored(
                        r.ignored.unwrap_or_default(),
                        r.ignored_text.unwrap_or_default(),
                    )),
                    Some(_) => Some(Unwanted::NotWished),
                },
                subject: Subject {
                    kernel: r.kernel,
                    distro_id: r.distro_id,
                    distro: r.distro,
                    variant: r.variant,
                    version: r.version,
                    packages: r.packages,
                    purpose: r.purpose,
                    release: r.release,
                    tags: tags(&r.tags),
                },
            })
            .collect())
    }

    /// The next wishes to start: highest priority first, then the oldest.
    pub async fn startable(&self, pipeline: i32, limit: i64) -> Result<Vec<Wish>> {
        let rows = sqlx::query!(
            r#"select w.kernel_version_id as "kernel!", k.distro_id, d.name as distro, d.variant, k.version, k.packages,
                 w.purpose as "purpose!", w.release as "release!", w.held_tries as "tries!",
                 coalesce(t.tags, '{}') as "tags!"
               from (select * from kernel_startable order by priority desc, since, kernel_version_id limit $2) w
               join kernel_version k on k.id = w.kernel_version_id join distro d on d.id = k.distro_id
               left join distro_tags t on t.pipeline_id = $1 and t.distro_id = d.id
               order by w.priority desc, w.since, w.kernel_version_id"#,
            pipeline,
            limit,
        )
        .fetch_all(&self.read)
        .await?;
        Ok(rows
            .into_iter()
            .map(|r| Wish {
                tries: r.tries,
                subject: Subject {
                    kernel: r.kernel,
                    distro_id: r.distro_id,
                    distro: r.distro,
                    variant: r.variant,
                    version: r.version,
                    packages: r.packages,
                    purpose: r.purpose,
                    release: r.release,
                    tags: tags(&r.tags),
                },
            })
            .collect())
    }

    /// Earlier runs of the same version and purpose, the newest first; `before`: than this one.
    pub async fn past_runs(&self, subject: &Subject, before: Option<i64>) -> Result<Vec<Past>> {
        Ok(sqlx::query_as!(
            Past,
            r#"select coalesce(ended_at, at) as "at!", verdict from run
               where kernel_version_id = $1 and purpose = $2 and release = $3 and deleted_at is null
                 and ($4::bigint is null or id < $4) order by id desc limit $5"#,
            subject.kernel,
            subject.purpose,
            subject.release,
            before,
            MAX_RUNS,
        )
        .fetch_all(&self.read)
        .await?)
    }
}

fn tags(tags: &serde_json::Value) -> Attrs {
    let tags = tags.as_object().into_iter().flatten();
    tags.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}
