//! What a turn begins with: its pipeline, its lock, its bindings, and what changed. See `crate::turn`
//! for what it does with them; `facts` is what the questions are made of, `write` what comes out.

mod facts;
mod notes;
pub(super) mod record;
mod retire;
mod reuse;
mod write;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use pointsman_api::pipeline::Limits;
use sqlx::{Connection as _, PgConnection, QueryBuilder};

use super::Db;
use super::event::Position;
use crate::error::{Error, Result};
use crate::policy::wit::types::Attrs;

pub(super) use notes::write_notes;
pub use notes::{NoteChange, NoteRow, Remembered};
pub(super) use record::{Recorded, unpack, unpack_text};
pub use reuse::{Known, Same};
pub use write::{Made, NewDecision, NewHold, TurnEnd};

/// Namespace of the advisory locks that say who holds a pipeline.
pub(super) const LOCK_SPACE: i32 = 0x706d;

/// The right to take turns of one pipeline: it can only be had while the lock is held, and the lock
/// goes with the connection, so a host that dies lets go.
pub struct PipelineLock {
    connection: PgConnection,
    /// The pipeline.
    pub pipeline: i32,
}

impl PipelineLock {
    /// Whether the connection, and with it the lock, is still there.
    pub async fn still_held(&mut self) -> bool {
        self.connection.ping().await.is_ok()
    }
}

/// What a kernel pipeline looks at among the changes of the record; it passes all others by.
pub const KERNEL_CHANGES: [&str; 10] = [
    "binding",
    "distro",
    "host_kernel",
    "kernel_ignore",
    "kernel_request",
    "kernel_state",
    "kernel_version",
    "note",
    "pipeline",
    "run",
];
/// Changes that are none of a pipeline's own, and that it may have passed by without writing down how far it has read;
/// it does that at half of them.
pub const PASSED_BY: usize = 2_000;

/// A pipeline as a turn finds it.
#[derive(Debug, Clone)]
pub struct TurnStart {
    /// The pipeline.
    pub pipeline: i32,
    /// Its name.
    pub name: String,
    /// A person paused it.
    pub paused: bool,
    /// How far it has read the events.
    pub position: Position,
    /// It holds.
    pub held: bool,
    /// When an answer asked for another look.
    pub wake_at: Option<DateTime<Utc>>,
    /// The newest `ignore` answer depends on all rules.
    pub rules_scope_all: bool,
    /// There are notes of it, or of kernel versions.
    pub notes: bool,
    /// The tags that `ignore` last gave each distro.
    pub tags: HashMap<i32, Attrs>,
    /// Its bindings, by hook and position.
    pub bindings: Vec<Bound>,
}

/// One binding.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The hook.
    pub hook: String,
    /// The place in its chain.
    pub position: i32,
    /// The plugin version's id.
    pub plugin: i32,
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// What it is given.
    pub settings: serde_json::Value,
    /// What one call may use.
    pub limits: sqlx::types::Json<Limits>,
}

impl Bound {
    /// How the plugin version is called in the record: `kernel-ladder@0123456789ab`.
    pub fn version(&self) -> String {
        let digest = self.digest.get(..12).unwrap_or(&self.digest);
        format!("{}@{digest}", self.name)
    }
}

/// A journalled change that a turn looks at.
#[derive(Debug, Clone)]
pub struct Change {
    /// Where it stands.
    pub position: Position,
    /// The table.
    pub kind: String,
    /// The object.
    pub name: String,
    /// It came or went; otherwise only fields of it changed.
    pub existence: bool,
    /// A note that a decision asked for; otherwise people's, or no note.
    pub by_policy: bool,
}

/// Versions to look at again.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// The row.
    pub id: i64,
    /// The hook to ask.
    pub hook: String,
    /// Of this distro alone.
    pub distro: Option<i32>,
    /// Only those that this pattern can match or had ignored.
    pub ignore: Option<i64>,
    /// Up to this version it is done.
    pub after: i64,
}

/// A sweep to begin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NewSweep {
    /// The hook to ask.
    pub hook: &'static str,
    /// Of this distro alone.
    pub distro: Option<i32>,
    /// Only those that this pattern can match or had ignored.
    pub ignore: Option<i64>,
}

impl Db {
    /// What is bound to a pipeline, by hook and place: one consistent set.
    pub(in crate::db) async fn bound(&self, pipeline: i32) -> Result<Vec<Bound>> {
        Ok(sqlx::query_as!(
            Bound,
            r#"select b.hook, b.position, b.plugin_id as plugin, g.name, g.digest, b.settings,
               b.limits as "limits: sqlx::types::Json<Limits>"
             from binding b join plugin g on g.id = b.plugin_id
             where b.pipeline_id = $1 and b.deleted_at is null order by b.hook, b.position"#,
            pipeline,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// The pipeline of kernel versions, if there is one.
    pub async fn kernel_pipeline(&self) -> Result<Option<i32>> {
        Ok(sqlx::query_scalar!(
            "select id from pipeline where kind = 'kernel' and deleted_at is null"
        )
        .fetch_optional(&self.read)
        .await?)
    }

    /// Takes the pipeline's lock, unless another host holds it.
    pub async fn lock_pipeline(&self, pipeline: i32) -> Result<Option<PipelineLock>> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let taken = sqlx::query_scalar!(
            r#"select pg_try_advisory_lock($1, $2) as "taken!""#,
            LOCK_SPACE,
            pipeline
        )
        .fetch_one(&mut connection)
        .await?;
        Ok(taken.then_some(PipelineLock {
            connection,
            pipeline,
        }))
    }

    /// What a turn begins with: one consistent set of bindings.
    pub async fn turn_start(&self, lock: &PipelineLock) -> Result<Option<TurnStart>> {
        let Some(row) = sqlx::query!(
            r#"select p.name, p.paused is not null as "paused!", r.epoch as "epoch?", r.tx::text as "tx?",
                 r.event_id as "event_id?", r.held_hook is not null as "held!", r.wake_at as "wake_at?",
                 coalesce(r.rules_scope_all, false) as "rules_scope_all!",
                 exists (select from note n where n.pipeline_id = p.id and n.deleted_at is null) as "notes!",
                 coalesce((select jsonb_object_agg(t.distro_id, t.tags) from distro_tags t
                           where t.pipeline_id = p.id), '{}') as "tags!"
               from pipeline p left join pipeline_progress r on r.pipeline_id = p.id
               where p.id = $1 and p.deleted_at is null"#,
            lock.pipeline,
        )
        .fetch_optional(&self.read)
        .await?
        else {
            return Ok(None);
        };
        let bindings = self.bound(lock.pipeline).await?;
        let tags: HashMap<i32, BTreeMap<String, String>> =
            serde_json::from_value(row.tags).map_err(|e| Error::Internal(e.into()))?;
        Ok(Some(TurnStart {
            pipeline: lock.pipeline,
            name: row.name,
            paused: row.paused,
            position: Position {
                epoch: row.epoch.unwrap_or(0),
                tx: row
                    .tx
                    .as_deref()
                    .and_then(|tx| tx.parse().ok())
                    .unwrap_or(0),
                id: row.event_id.unwrap_or(0),
            },
            held: row.held,
            wake_at: row.wake_at,
            rules_scope_all: row.rules_scope_all,
            notes: row.notes,
            tags: tags
                .into_iter()
                .map(|(distro, tags)| (distro, tags.into_iter().collect()))
                .collect(),
            bindings,
        }))
    }

    /// The next changes behind `from`, in their order, each seen once.
    pub async fn changes(&self, from: Position, limit: i64) -> Result<Vec<Change>> {
        let rows = sqlx::query!(
            r#"select e.epoch, e.tx::text as "tx!", e.id, e.kind, e.name,
                 (e.operation <> 'update' or e.changes ? 'deleted') as "existence!",
                 (e.kind = 'note' and case e.operation when 'create' then e.changes ? 'decision'
                    else coalesce(e.changes -> 'decision' ->> 1, '') <> '' end) as "by_policy!"
               from event e
               where (e.epoch, e.tx, e.id) > ((select $1::int), (select $2::text::xid8), (select $3::bigint))
                 and (e.epoch < (select max(id) from epoch) or e.tx < pg_snapshot_xmin(pg_current_snapshot()))
               order by e.epoch, e.tx, e.id limit $4"#,
            from.epoch,
            from.tx.to_string(),
            from.id,
            limit,
        )
        .fetch_all(&self.read)
        .await?;
        rows.into_iter()
            .map(|r| {
                let tx =
                    r.tx.parse()
                        .map_err(|_| Error::Internal(anyhow::anyhow!("xid `{}`", r.tx)))?;
                Ok(Change {
                    position: Position {
                        epoch: r.epoch,
                        tx,
                        id: r.id,
                    },
                    kind: r.kind,
                    name: r.name,
                    existence: r.existence,
                    by_policy: r.by_policy,
                })
            })
            .collect()
    }

    /// The oldest sweep of a pipeline.
    pub async fn next_sweep(&self, pipeline: i32) -> Result<Option<Sweep>> {
        Ok(sqlx::query_as!(
            Sweep,
            r#"select id, hook, distro_id as distro, ignore_id as ignore, after_id as after
               from sweep where pipeline_id = $1 order by id limit 1"#,
            pipeline,
        )
        .fetch_optional(&self.read)
        .await?)
    }

    /// The next versions of a sweep, by id. `clauses` narrow it to what a pattern can match: of each
    /// inner list one text is contained (AND of ORs); `like` is the pattern itself where it is LIKE.
    pub async fn sweep_page(
        &self,
        sweep: &Sweep,
        like: Option<&str>,
        clauses: &[Vec<String>],
        limit: i64,
    ) -> Result<Vec<i64>> {
        let mut sql = QueryBuilder::new(
            "select id from (select k.id from kernel_version k where k.deleted_at is null and k.id > ",
        );
        sql.push_bind(sweep.after);
        if let Some(distro) = sweep.distro {
            sql.push(" and k.distro_id = ").push_bind(distro);
        }
        if let Some(like) = like {
            sql.push(" and k.version like ").push_bind(like.to_owned());
        }
        for any in clauses {
            let any: Vec<String> = any
                .iter()
                .map(|text| format!("%{}%", escape_like(text)))
                .collect();
            sql.push(" and k.version like any(")
                .push_bind(any)
                .push(")");
        }
        if sweep.hook == "advance" {
            // Settled versions have nothing to advance.
            sql.push(" and k.state_id in (select id from kernel_state where rank < (select max(rank) from kernel_state where moved_by = 'policy'))");
        }
        sql.push(" order by k.id limit ")
            .push_bind(limit)
            .push(") matching");
        if let Some(ignore) = sweep.ignore {
            sql.push(" union select kernel_version_id from kernel_ignored where ignore_id = ")
                .push_bind(ignore)
                .push(" and kernel_version_id > ")
                .push_bind(sweep.after);
        }
        sql.push(" order by 1 limit ").push_bind(limit);
        let mut connection = self.write.acquire().await?;
        Ok(sql
            .build_query_scalar()
            .persistent(false)
            .fetch_all(&mut *connection)
            .await?)
    }

    /// The ids of kernel versions by name.
    ///
    /// Here as wherever many are found by name, `offset 0` makes the search one of its own, by both halves of the name.
    /// Joined plainly, a table that is newly filled and not yet analysed was searched by the distro alone: all its
    /// versions read for each.
    pub async fn kernel_ids(&self, names: &[(String, String)]) -> Result<Vec<i64>> {
        let distros: Vec<String> = names.iter().map(|n| n.0.clone()).collect();
        let versions: Vec<String> = names.iter().map(|n| n.1.clone()).collect();
        Ok(sqlx::query_scalar!(
            "select k.id from unnest($1::text[], $2::text[]) u (d, v)
             join distro d on d.name = u.d
             join lateral (select k.id from kernel_version k
                            where k.distro_id = d.id and k.version = u.v offset 0) k on true",
            &distros,
            &versions,
        )
        .fetch_all(&self.read)
        .await?)
    }
}

/// A text as it stands in a LIKE pattern.
fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}
