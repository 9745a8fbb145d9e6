//! What a turn writes: decisions, what is derived from them, moves, and how far it has read.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use pointsman_api::pipeline::Limits;
use sqlx::PgConnection;

use super::super::Db;
use super::super::event::Position;
use super::notes::{NoteChange, write_notes, write_tags};
use super::record::Recorded;
use super::{NewSweep, PipelineLock};
use crate::error::Result;
use crate::plan;
use crate::policy::wit::types::Attrs;

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
    /// What else it was given: notes, facts, attrs; none where there was nothing else.
    pub context: Option<serde_json::Value>,
    /// The chance it saw.
    pub seed: i64,
    /// The engine.
    pub engine: String,
    /// How many versions it was asked about.
    pub items: i32,
    /// The SHA-256 of the question.
    pub digest: Vec<u8>,
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
    /// When the answer asks for another look.
    pub wake_at: Option<DateTime<Utc>>,
    /// The limits of the call, where they were not the hook's own.
    pub limits: Option<Limits>,
    /// What the plugin printed, if anything.
    pub log: Option<String>,
}

/// A decision of a turn.
#[derive(Debug, Clone)]
pub enum Made {
    /// To record.
    New(Box<NewDecision>),
    /// The same question was answered before, and the answer holds still: nothing to record.
    Before(i64),
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
    pub decisions: Vec<Made>,
    /// Versions that are ignored from now on, or for another reason; the decision by index.
    pub ignored: Vec<plan::Ignored>,
    /// Versions that are not ignored any more.
    pub kept: Vec<i64>,
    /// Versions to move.
    pub moves: Vec<plan::Move>,
    /// Runs wanted, or no longer.
    pub wanted: Vec<plan::Wish>,
    /// Notes to write.
    pub notes: Vec<NoteChange>,
    /// The tags of distros that have other ones now.
    pub tags: HashMap<i32, Attrs>,
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
    /// Who proposed the moves, or the notes: `kernel-ladder@0123456789ab`.
    pub mover: String,
}

async fn insert_sweeps(
    conn: &mut PgConnection,
    pipeline: i32,
    sweeps: &[NewSweep],
    worked_on: Option<i64>,
) -> Result<()> {
    for sweep in sweeps {
        sqlx::query!(
            // The one that this turn worked on does not count: it was asked with what was bound before.
            "insert into sweep (pipeline_id, hook, distro_id, ignore_id)
             select $1, $2, $3, $4 where not exists (
               select from sweep where pipeline_id = $1 and hook = $2 and after_id = 0
                 and distro_id is not distinct from $3 and ignore_id is not distinct from $4
                 and id is distinct from $5)",
            pipeline,
            sweep.hook,
            sweep.distro,
            sweep.ignore,
            worked_on,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

impl Db {
    /// Begins sweeps, of which each waits for its first page; one that does already is not begun twice.
    pub async fn begin_sweeps(&self, pipeline: i32, sweeps: &[NewSweep]) -> Result<()> {
        let mut conn = self.write.acquire().await?;
        insert_sweeps(&mut conn, pipeline, sweeps, None).await
    }

    /// Writes what a turn decided: all or nothing. Returns how many moves and notes were dropped because
    /// the version or the note had changed meanwhile; its own event brings such a one back.
    pub async fn turn_end(&self, lock: &PipelineLock, end: TurnEnd) -> Result<u64> {
        let journalled = !end.moves.is_empty() || !end.notes.is_empty();
        let recorded = Recorded::new(&end.decisions)?;
        // Only what is journalled needs a generation; a turn that moves nothing leaves none.
        let user = format!("policy:{}", end.mover);
        let mut writing = self.writing(journalled, user, || comment(&end)).await?;
        let conn = writing.conn();
        let ids = recorded.write(conn, lock.pipeline).await?;
        write_ignored(conn, &end, &ids).await?;
        write_wanted(conn, &end, &ids).await?;
        write_tags(conn, lock.pipeline, &end.tags).await?;
        let moved = write_moves(conn, &end).await?;
        let noted = write_notes(conn, lock.pipeline, &end.notes, &ids).await?;
        insert_sweeps(
            conn,
            lock.pipeline,
            &end.sweeps,
            end.swept.map(|(id, _)| id),
        )
        .await?;
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
        if let Some(generation) = writing.generation() {
            let noting: Vec<i64> = end
                .notes
                .iter()
                .filter_map(|note| ids.get(note.decision).copied())
                .filter(|_| noted > 0)
                .collect();
            sqlx::query!(
                "update decision set generation = $2
                 where id = any($1) and generation is null and (hook = 'advance' and $3 or id = any($4))",
                &ids,
                generation,
                moved > 0,
                &noting,
            )
            .execute(writing.conn())
            .await?;
        }
        writing.commit().await?;
        Ok((end.moves.len() + end.notes.len()) as u64 - moved - noted)
    }
}

fn comment(end: &TurnEnd) -> String {
    let more = |count: usize, what: &str| match count {
        0 => String::new(),
        more => format!(", and {more} more {what}"),
    };
    let mut comment = match (end.moves.as_slice(), end.notes.as_slice()) {
        ([first, rest @ ..], _) => format!(
            "{} to {}: {}{}",
            first.name,
            first.stage,
            first.reason_text.trim_end_matches('.'),
            more(rest.len(), "moves")
        ),
        ([], [first, rest @ ..]) => format!(
            "{} `{}`{}",
            match first.value {
                Some(_) => "Note",
                None => "Forget",
            },
            first.key,
            more(rest.len(), "notes")
        ),
        ([], []) => "Policy".to_owned(),
    };
    comment.truncate(comment.floor_char_boundary(1_000));
    comment
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
        // What stays as it is is not written: a sweep looks at everything.
        "insert into kernel_ignored as w (kernel_version_id, distro_id, version, scope, ignore_id, reason_code,
           reason_text, decision_id)
         select k.id, k.distro_id, k.version, u.s, u.r, u.c, u.t, u.d
         from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
           u (id, s, r, c, t, d) join kernel_version k using (id)
         order by k.id
         on conflict (kernel_version_id) do update set
           scope = excluded.scope, ignore_id = excluded.ignore_id, reason_code = excluded.reason_code,
           reason_text = excluded.reason_text, decision_id = excluded.decision_id
         where (w.scope, w.ignore_id, w.reason_code, w.reason_text, w.decision_id) is distinct from
           (excluded.scope, excluded.ignore_id, excluded.reason_code, excluded.reason_text, excluded.decision_id)",
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
           since = case when w.purpose = excluded.purpose then w.since else now() end,
           -- What could not be started may be another matter now.
           held_code = null, held_text = null, held_tries = 0, not_before = null
         where (w.purpose, w.priority, w.reason_code, w.reason_text, w.decision_id) is distinct from
           (excluded.purpose, excluded.priority, excluded.reason_code, excluded.reason_text, excluded.decision_id)",
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
