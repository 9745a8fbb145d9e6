//! What a turn reads and writes. See `crate::turn` for what it does with it.

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection, QueryBuilder};

use super::event::Position;
use super::{Actor, Batch, Db};
use crate::error::{Error, Result};
use crate::plan;

/// Namespace of the advisory locks that say who holds a pipeline.
const LOCK_SPACE: i32 = 0x706d;

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

/// A decision to record.
#[derive(Debug, Clone)]
pub struct NewDecision {
    /// The binding that was asked.
    pub hook: &'static str,
    /// Its place in the chain.
    pub position: i32,
    /// The distro.
    pub subject: String,
    /// The time the plugin saw.
    pub at: DateTime<Utc>,
    /// The plugin version.
    pub plugin: i32,
    /// What it was given.
    pub settings: serde_json::Value,
    /// The chance it saw.
    pub seed: i64,
    /// The engine.
    pub engine: String,
    /// How many versions it was asked about.
    pub items: i32,
    /// The question, as JSON.
    pub input: Vec<u8>,
    /// The answer, as JSON.
    pub output: Option<Vec<u8>>,
    /// How the call ended.
    pub outcome: String,
    /// Why.
    pub reason_code: String,
    /// Why, for people.
    pub reason_text: String,
    /// Fuel used.
    pub fuel: i64,
    /// Microseconds.
    pub duration_us: i64,
}

/// Why the pipeline does not go on.
#[derive(Debug, Clone)]
pub struct NewHold {
    /// The hook.
    pub hook: &'static str,
    /// Stable.
    pub code: String,
    /// For people.
    pub text: String,
    /// Index of the decision that failed.
    pub decision: Option<usize>,
}

/// Everything that a turn writes, in one transaction.
#[derive(Debug, Default)]
pub struct TurnEnd {
    /// Where the events are read up to.
    pub position: Option<Position>,
    /// What was asked and answered.
    pub decisions: Vec<NewDecision>,
    /// Versions that are ignored from now on, or for another reason; the decision by index.
    pub ignored: Vec<plan::Ignored>,
    /// Versions that are not ignored any more.
    pub kept: Vec<i64>,
    /// Versions to move.
    pub moves: Vec<plan::Move>,
    /// Runs wanted, or no longer.
    pub wanted: Vec<plan::Wish>,
    /// Sweeps to begin.
    pub sweeps: Vec<NewSweep>,
    /// The sweep that was worked on, and up to where; none: it is done.
    pub swept: Option<(i64, Option<i64>)>,
    /// Why the pipeline holds; none: it does not.
    pub hold: Option<NewHold>,
    /// When an answer asked for another look.
    pub wake_at: Option<DateTime<Utc>>,
    /// Set if `ignore` answered: whether it depends on all rules.
    pub rules_scope_all: Option<bool>,
    /// Who proposed the moves: `kernel-ladder@0123456789ab`.
    pub mover: String,
}

impl Db {
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
                 coalesce(r.rules_scope_all, false) as "rules_scope_all!"
               from pipeline p left join pipeline_progress r on r.pipeline_id = p.id
               where p.id = $1 and p.deleted_at is null"#,
            lock.pipeline,
        )
        .fetch_optional(&self.read)
        .await?
        else {
            return Ok(None);
        };
        let bindings = sqlx::query_as!(
            Bound,
            "select b.hook, b.position, b.plugin_id as plugin, g.name, g.digest, b.settings
             from binding b join plugin g on g.id = b.plugin_id
             where b.pipeline_id = $1 and b.deleted_at is null order by b.hook, b.position",
            lock.pipeline,
        )
        .fetch_all(&self.read)
        .await?;
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
            bindings,
        }))
    }

    /// The next changes behind `from`, in their order, each seen once.
    pub async fn changes(&self, from: Position, limit: i64) -> Result<Vec<Change>> {
        let rows = sqlx::query!(
            r#"select e.epoch, e.tx::text as "tx!", e.id, e.kind, e.name,
                 (e.operation <> 'update' or e.changes ? 'deleted') as "existence!"
               from event e
               where (e.epoch, e.tx, e.id) > ($1, $2::text::xid8, $3)
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
    pub async fn kernel_ids(&self, names: &[(String, String)]) -> Result<Vec<i64>> {
        let distros: Vec<String> = names.iter().map(|n| n.0.clone()).collect();
        let versions: Vec<String> = names.iter().map(|n| n.1.clone()).collect();
        Ok(sqlx::query_scalar!(
            "select k.id from unnest($1::text[], $2::text[]) u (d, v)
             join distro d on d.name = u.d
             join kernel_version k on k.distro_id = d.id and k.version = u.v",
            &distros,
            &versions,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// What the `ignore` hook is told about versions, by distro and id.
    pub async fn ignore_subjects(&self, ids: &[i64]) -> Result<Vec<plan::Version>> {
        Ok(sqlx::query_as!(
            plan::Version,
            r#"select k.id, k.distro_id as distro, k.version as name, k.first_seen,
                 (select count(distinct (h.cluster_id, h.host)) from host_kernel h
                  where h.kernel_version_id = k.id and h.deleted_at is null) as "hosts!",
                 k.deleted_at is not null as "deleted!",
                 i.scope as "scope?", i.ignore_id as "ignore?", i.reason_text as "reason?"
               from unnest($1::bigint[]) u (id) join kernel_version k using (id)
               left join kernel_ignored i on i.kernel_version_id = k.id
               order by k.distro_id, k.id"#,
            ids,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// What the `advance` hook is told about versions, by distro and id.
    pub async fn advance_subjects(&self, ids: &[i64]) -> Result<Vec<plan::Kernel>> {
        let rows = sqlx::query!(
            r#"select k.id, k.distro_id as distro, k.version, s.name as stage, k.state_id, k.state_since,
                 k.state_by_person, k.missing, i.scope as "scope?",
                 w.purpose as "wanted?", w.priority as "priority?"
               from unnest($1::bigint[]) u (id) join kernel_version k using (id)
               join kernel_state s on s.id = k.state_id
               left join kernel_ignored i on i.kernel_version_id = k.id
               left join kernel_wanted w on w.kernel_version_id = k.id and w.release = ''
               where k.deleted_at is null
               order by k.distro_id, k.id"#,
            ids,
        )
        .fetch_all(&self.read)
        .await?;
        let runs = sqlx::query!(
            r#"select u.id as "id!", r.purpose, r.release, r.verdict, r.at, r.n as "n!"
               from unnest($1::bigint[]) u (id) cross join lateral (
                 select distinct on (purpose) purpose, release, verdict, at,
                   count(*) over (partition by purpose) as n
                 from run where kernel_version_id = u.id and deleted_at is null
                 order by purpose, run.id desc) r"#,
            ids,
        )
        .fetch_all(&self.read)
        .await?;
        let hosts = sqlx::query!(
            r#"select h.kernel_version_id as id, t.name as kind, count(distinct (h.cluster_id, h.host)) as "hosts!"
               from host_kernel h join cluster c on c.id = h.cluster_id join cluster_type t on t.id = c.type_id
               where h.kernel_version_id = any($1) and h.deleted_at is null
               group by 1, 2 order by 1, 2"#,
            ids,
        )
        .fetch_all(&self.read)
        .await?;
        let mut kernels: Vec<plan::Kernel> = rows
            .into_iter()
            .map(|r| plan::Kernel {
                id: r.id,
                distro: r.distro,
                version: r.version,
                stage: r.stage,
                state: r.state_id,
                since: r.state_since,
                by_person: r.state_by_person,
                missing: r.missing,
                ignored: r.scope,
                wanted: r.wanted.zip(r.priority),
                tried: vec![],
                hosts: vec![],
            })
            .collect();
        let by_id: std::collections::HashMap<i64, usize> =
            kernels.iter().enumerate().map(|(n, k)| (k.id, n)).collect();
        for run in runs {
            if let Some(n) = by_id.get(&run.id) {
                kernels[*n].tried.push(plan::Tried {
                    purpose: run.purpose,
                    release: run.release,
                    verdict: run.verdict,
                    at: run.at,
                    runs: run.n,
                });
            }
        }
        for host in hosts {
            if let Some(n) = by_id.get(&host.id) {
                kernels[*n].hosts.push((host.kind, host.hosts));
            }
        }
        Ok(kernels)
    }

    /// Patterns in force at `at`, by id. `distro` takes those of that distro and those for all.
    pub async fn rules(&self, distro: i32, at: DateTime<Utc>) -> Result<Vec<plan::Rule>> {
        Ok(sqlx::query_as!(
            plan::Rule,
            "select id, kind, pattern, reason, expires from kernel_ignore
             where deleted_at is null and (distro_id is null or distro_id = $1)
               and (expires is null or expires > $2)
             order by id",
            distro,
            at,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Patterns that have expired and still ignore something, and when the next one expires.
    pub async fn expired_rules(&self) -> Result<(Vec<i64>, Option<DateTime<Utc>>)> {
        let expired = sqlx::query_scalar!(
            "select id from kernel_ignore r
             where expires <= now() and exists (select from kernel_ignored i where i.ignore_id = r.id)
               and not exists (select from sweep s where s.ignore_id = r.id)"
        )
        .fetch_all(&self.read)
        .await?;
        let next = sqlx::query_scalar!(
            "select min(expires) from kernel_ignore where deleted_at is null and expires > now()"
        )
        .fetch_one(&self.read)
        .await?;
        Ok((expired, next))
    }

    /// One pattern by its event's name (`all like 6.5.%`), or by id.
    pub async fn rule_by_name(&self, name: &str) -> Result<Option<(i64, Option<i32>)>> {
        let mut parts = name.splitn(3, ' ');
        let (Some(distro), Some(kind), Some(pattern)) = (parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let row = sqlx::query!(
            "select r.id, r.distro_id from kernel_ignore r left join distro d on d.id = r.distro_id
             where coalesce(d.name, 'all') = $1 and r.kind = $2 and r.pattern = $3",
            distro,
            kind,
            pattern,
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(row.map(|r| (r.id, r.distro_id)))
    }

    /// Kind, pattern and distro of a rule, whether it is in force or not.
    pub async fn rule(&self, id: i64) -> Result<Option<(String, String, Option<i32>)>> {
        let row = sqlx::query!(
            "select kind, pattern, distro_id from kernel_ignore where id = $1",
            id
        )
        .fetch_optional(&self.read)
        .await?;
        Ok(row.map(|r| (r.kind, r.pattern, r.distro_id)))
    }

    /// What the hooks are told about a distro.
    pub async fn distro_attrs(&self, id: i32) -> Result<(String, String, bool)> {
        let row = sqlx::query!(
            r#"select name, variant, supported and deleted_at is null as "supported!" from distro where id = $1"#,
            id
        )
        .fetch_one(&self.read)
        .await?;
        Ok((row.name, row.variant, row.supported))
    }

    /// The stages of a kernel version, by rank.
    pub async fn stages(&self) -> Result<Vec<plan::Stage>> {
        Ok(sqlx::query_as!(
            plan::Stage,
            "select id, name, rank, moved_by from kernel_state order by rank"
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Names of a distro's versions that nothing is open about, at most `limit`, newest first.
    pub async fn settled(&self, distro: i32, limit: i64) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar!(
            "select k.version from kernel_version k
             where k.distro_id = $1 and k.deleted_at is null and k.state_id in (
               select id from kernel_state
               where rank >= (select max(rank) from kernel_state where moved_by = 'policy'))
             order by k.version desc limit $2",
            distro,
            limit,
        )
        .fetch_all(&self.read)
        .await?)
    }

    /// Writes what a turn decided: all or nothing. Returns how many moves were dropped because the
    /// version had changed meanwhile; its own event brings such a version back.
    pub async fn turn_end(&self, lock: &PipelineLock, end: TurnEnd) -> Result<u64> {
        let moves = !end.moves.is_empty();
        let mut packed = Vec::with_capacity(end.decisions.len());
        for decision in &end.decisions {
            packed.push((
                pack(&decision.input)?,
                decision.output.as_deref().map(pack).transpose()?,
            ));
        }
        let actor = Actor {
            user: format!("policy:{}", end.mover),
            address: None,
        };
        // Only what is journalled needs a generation; a turn that moves nothing leaves none.
        let (mut batch, mut plain) = match moves {
            true => (
                Some(self.begin(&actor, None, || move_comment(&end)).await?),
                None,
            ),
            false => (None, Some(self.write.begin().await?)),
        };
        let conn: &mut PgConnection = match (&mut batch, &mut plain) {
            (Some(batch), _) => batch.conn(),
            (None, Some(plain)) => plain,
            (None, None) => return Ok(0),
        };
        let mut ids = Vec::with_capacity(end.decisions.len());
        for (decision, (input, output)) in end.decisions.iter().zip(&packed) {
            ids.push(write_decision(conn, lock.pipeline, decision, input, output.as_ref()).await?);
        }
        write_ignored(conn, &end, &ids).await?;
        write_wanted(conn, &end, &ids).await?;
        let moved = write_moves(conn, &end).await?;
        for sweep in &end.sweeps {
            sqlx::query!(
                "insert into sweep (pipeline_id, hook, distro_id, ignore_id)
                 select $1, $2, $3, $4 where not exists (
                   select from sweep where pipeline_id = $1 and hook = $2 and after_id = 0
                     and distro_id is not distinct from $3 and ignore_id is not distinct from $4)",
                lock.pipeline,
                sweep.hook,
                sweep.distro,
                sweep.ignore,
            )
            .execute(&mut *conn)
            .await?;
        }
        match end.swept {
            Some((id, Some(after))) => {
                sqlx::query!("update sweep set after_id = $2 where id = $1", id, after)
                    .execute(&mut *conn)
                    .await?;
            }
            Some((id, None)) => {
                sqlx::query!("delete from sweep where id = $1", id)
                    .execute(&mut *conn)
                    .await?;
            }
            None => {}
        }
        let hold_decision = end
            .hold
            .as_ref()
            .and_then(|h| h.decision)
            .and_then(|n| ids.get(n))
            .copied();
        sqlx::query!(
            "insert into pipeline_progress as r (pipeline_id, epoch, tx, event_id, wake_at,
               held_hook, held_code, held_text, held_since, held_decision_id, rules_scope_all, turns)
             values ($1, coalesce($2::int, 0), coalesce($3::text, '0')::xid8, coalesce($4::bigint, 0), $5, $6, $7, $8,
               case when $6::text is not null then now() end, $9, coalesce($10, false), 1)
             on conflict (pipeline_id) do update set
               epoch = coalesce($2, r.epoch), tx = coalesce($3::text::xid8, r.tx),
               event_id = coalesce($4, r.event_id), wake_at = $5,
               held_hook = $6, held_code = $7, held_text = $8,
               held_since = case when $6::text is not null then coalesce(r.held_since, now()) end,
               held_decision_id = $9, rules_scope_all = coalesce($10, r.rules_scope_all), turns = r.turns + 1, updated_at = now()",
            lock.pipeline,
            end.position.map(|p| p.epoch),
            end.position.map(|p| p.tx.to_string()),
            end.position.map(|p| p.id),
            end.wake_at,
            end.hold.as_ref().map(|h| h.hook),
            end.hold.as_ref().map(|h| h.code.as_str()),
            end.hold.as_ref().map(|h| h.text.as_str()),
            hold_decision,
            end.rules_scope_all,
        )
        .execute(&mut *conn)
        .await?;
        if let Some(batch) = &mut batch {
            let generation = batch.generation();
            sqlx::query!(
                "update decision set generation = $2 where id = any($1) and hook = 'advance'",
                &ids,
                generation
            )
            .execute(batch.conn())
            .await?;
        }
        match (batch, plain) {
            (Some(batch), _) => {
                finish(batch).await?;
            }
            (None, Some(plain)) => plain.commit().await?,
            (None, None) => {}
        }
        Ok(end.moves.len() as u64 - moved)
    }

    /// Deletes decisions older than `days`, and the blobs that nothing refers to any more; a page at a
    /// time. Returns how many decisions went.
    pub async fn retire_decisions(&self, days: i32, limit: i64) -> Result<u64> {
        let mut tx = self.write.begin().await?;
        let gone = sqlx::query!(
            "delete from decision where id in (
               select id from decision x where at < now() - make_interval(days => $1)
                 and not exists (select from kernel_ignored i where i.decision_id = x.id)
                 and not exists (select from kernel_wanted w where w.decision_id = x.id)
                 and not exists (select from pipeline_progress r where r.held_decision_id = x.id)
               order by at limit $2)",
            days,
            limit,
        )
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if gone > 0 {
            sqlx::query!(
                "delete from blob b where created_at < now() - make_interval(days => $1)
                   and not exists (select from decision where input = b.digest)
                   and not exists (select from decision where output = b.digest)",
                days,
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(gone)
    }
}

async fn finish(batch: Batch) -> Result<()> {
    batch.commit(super::batch::nothing()).await.map(drop)
}

fn move_comment(end: &TurnEnd) -> String {
    let [first, rest @ ..] = end.moves.as_slice() else {
        return "Policy".to_owned();
    };
    let first = format!("{}: {} to {}", first.reason_text, first.name, first.stage);
    let mut comment = match rest.len() {
        0 => first,
        more => format!("{first}, and {more} more"),
    };
    comment.truncate(comment.floor_char_boundary(1_000));
    comment
}

/// zstd's own default: three times smaller for a tenth of the time of an insert.
const ZSTD_LEVEL: i32 = 3;

fn pack(json: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(json).to_vec();
    let bytes = zstd::bulk::compress(json, ZSTD_LEVEL).map_err(|e| Error::Internal(e.into()))?;
    Ok((digest, bytes))
}

async fn write_decision(
    conn: &mut PgConnection,
    pipeline: i32,
    decision: &NewDecision,
    input: &(Vec<u8>, Vec<u8>),
    output: Option<&(Vec<u8>, Vec<u8>)>,
) -> Result<i64> {
    for (digest, bytes) in [Some(input), output].into_iter().flatten() {
        sqlx::query!(
            "insert into blob (digest, bytes) values ($1, $2) on conflict do nothing",
            digest,
            bytes
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(sqlx::query_scalar!(
        "insert into decision (pipeline_id, hook, position, subject, at, plugin_id, settings, seed, engine,
           items, input, output, outcome, reason_code, reason_text, fuel, duration_us)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) returning id",
        pipeline,
        decision.hook,
        decision.position,
        decision.subject,
        decision.at,
        decision.plugin,
        decision.settings,
        decision.seed,
        decision.engine,
        decision.items,
        input.0,
        output.map(|o| &o.0[..]),
        decision.outcome,
        decision.reason_code,
        decision.reason_text,
        decision.fuel,
        decision.duration_us,
    )
    .fetch_one(conn)
    .await?)
}

async fn write_ignored(conn: &mut PgConnection, end: &TurnEnd, ids: &[i64]) -> Result<()> {
    if !end.kept.is_empty() {
        sqlx::query!(
            "delete from kernel_ignored where kernel_version_id = any($1)",
            &end.kept
        )
        .execute(&mut *conn)
        .await?;
    }
    if end.ignored.is_empty() {
        return Ok(());
    }
    let column =
        |f: fn(&plan::Ignored) -> String| end.ignored.iter().map(f).collect::<Vec<String>>();
    let kernels: Vec<i64> = end.ignored.iter().map(|i| i.id).collect();
    let rules: Vec<Option<i64>> = end.ignored.iter().map(|i| i.rule).collect();
    let decisions: Vec<i64> = end
        .ignored
        .iter()
        .map(|i| ids.get(i.decision).copied().unwrap_or_default())
        .collect();
    sqlx::query!(
        "insert into kernel_ignored (kernel_version_id, distro_id, version, scope, ignore_id, reason_code,
           reason_text, decision_id)
         select k.id, k.distro_id, k.version, u.s, u.r, u.c, u.t, u.d
         from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
           u (id, s, r, c, t, d) join kernel_version k using (id)
         order by k.id
         on conflict (kernel_version_id) do update set
           scope = excluded.scope, ignore_id = excluded.ignore_id, reason_code = excluded.reason_code,
           reason_text = excluded.reason_text, decision_id = excluded.decision_id",
        &kernels,
        &column(|i| i.scope.clone()),
        &rules as &[Option<i64>],
        &column(|i| i.reason_code.clone()),
        &column(|i| i.reason_text.clone()),
        &decisions,
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

async fn write_wanted(conn: &mut PgConnection, end: &TurnEnd, ids: &[i64]) -> Result<()> {
    let dropped: Vec<i64> = end
        .wanted
        .iter()
        .filter(|w| w.run.is_none())
        .map(|w| w.id)
        .collect();
    if !dropped.is_empty() {
        sqlx::query!(
            "delete from kernel_wanted where kernel_version_id = any($1) and release = ''",
            &dropped
        )
        .execute(&mut *conn)
        .await?;
    }
    let mut kept: Vec<(&plan::Wish, &plan::WantedRun)> = end
        .wanted
        .iter()
        .filter_map(|w| Some((w, w.run.as_ref()?)))
        .collect();
    if kept.is_empty() {
        return Ok(());
    }
    kept.sort_by_key(|(wish, _)| wish.id);
    let text = |f: fn(&(&plan::Wish, &plan::WantedRun)) -> String| {
        kept.iter().map(f).collect::<Vec<String>>()
    };
    let kernels: Vec<i64> = kept.iter().map(|k| k.0.id).collect();
    let priorities: Vec<i32> = kept.iter().map(|k| k.1.priority).collect();
    let decisions: Vec<i64> = kept
        .iter()
        .map(|k| ids.get(k.0.decision).copied().unwrap_or_default())
        .collect();
    sqlx::query!(
        "insert into kernel_wanted as w (kernel_version_id, purpose, priority, reason_code, reason_text, decision_id)
         select * from unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::text[], $6::bigint[])
         on conflict (kernel_version_id, release) do update set
           purpose = excluded.purpose, priority = excluded.priority, reason_code = excluded.reason_code,
           reason_text = excluded.reason_text, decision_id = excluded.decision_id,
           since = case when w.purpose = excluded.purpose then w.since else now() end",
        &kernels,
        &text(|k| k.1.purpose.clone()),
        &priorities,
        &text(|k| k.0.reason_code.clone()),
        &text(|k| k.0.reason_text.clone()),
        &decisions,
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Moves those versions that are still where the policy saw them.
async fn write_moves(conn: &mut PgConnection, end: &TurnEnd) -> Result<u64> {
    if end.moves.is_empty() {
        return Ok(0);
    }
    let mut moves: Vec<&plan::Move> = end.moves.iter().collect();
    moves.sort_by_key(|m| m.id);
    let ids: Vec<i64> = moves.iter().map(|m| m.id).collect();
    let from: Vec<i32> = moves.iter().map(|m| m.from).collect();
    let to: Vec<i32> = moves.iter().map(|m| m.to).collect();
    sqlx::query!(
        // In the order in which people's batches lock them; runs and hosts that refer to them may go on.
        "select id from kernel_version where id = any($1) order by distro_id, version for no key update",
        &ids
    )
    .fetch_all(&mut *conn)
    .await?;
    Ok(sqlx::query!(
        "update kernel_version k set state_id = u.t
         from unnest($1::bigint[], $2::int[], $3::int[]) u (id, f, t)
         where k.id = u.id and k.state_id = u.f and k.deleted_at is null",
        &ids,
        &from,
        &to,
    )
    .execute(conn)
    .await?
    .rows_affected())
}

/// A text as it stands in a LIKE pattern.
fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}
