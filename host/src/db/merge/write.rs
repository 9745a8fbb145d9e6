//! What a turn of a merge pipeline writes: decisions, standings, lanes, jobs, and the effects that follow,
//! in one transaction with the causes that it looked at.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::super::Db;
use super::super::turn::{Made, NoteChange, Recorded, write_notes};
use super::reactions::{act, reacted};
use crate::error::Result;
use crate::plan::merge::{
    Act, Approval, Attempt, Attrs, Job, Landing, Lane, LaneState, Need, On, Why,
};

/// Where a pull request stands, for one head.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The pull request.
    pub id: i64,
    /// Its head.
    pub head: String,
    /// What `review` said.
    pub approval: Approval,
    /// Since when it is approved.
    pub approved_at: Option<DateTime<Utc>>,
    /// Why.
    pub review: Why,
    /// Whose review is missing.
    pub wanted: Vec<String>,
    /// What `gate` said; none: it could not.
    pub need: Option<Need>,
    /// Why.
    pub gate: Why,
    /// The hook that could not answer, with code and text.
    pub held: Option<(&'static str, String, String)>,
    /// What both hand on.
    pub tags: Attrs,
}

/// A standing that differs from the record's, and how it is called: `repository#12`.
#[derive(Debug, Clone)]
pub struct StandingChange {
    /// What it is now.
    pub standing: Standing,
    /// For the generation's comment.
    pub name: String,
}

/// Everything that a turn writes.
#[derive(Debug, Default)]
pub struct MergeEnd {
    /// The causes that were looked at.
    pub causes: Vec<i64>,
    /// What was asked and answered.
    pub decisions: Vec<Made>,
    /// Standings that differ.
    pub standings: Vec<StandingChange>,
    /// The lanes at the end of the turn, and what they were before; none: a new one.
    pub lanes: Vec<(Lane, Option<Lane>)>,
    /// Jobs by the place of their lane, with what they were before.
    pub jobs: Vec<(usize, Vec<Job>, Vec<Job>)>,
    /// What the policies remember from now on.
    pub notes: Vec<NoteChange>,
    /// What `react` was asked about.
    pub reacted: Vec<i64>,
    /// What it could not be asked about now.
    pub postponed: Option<i64>,
    /// What it does: the pull request, the head that it is about (none: the present one), the act.
    pub acts: Vec<(i64, Option<String>, Act)>,
    /// Pull requests to look at in later turns.
    pub later: Vec<i64>,
    /// When to look again: at a pull request, or at the pipeline.
    pub wakes: Vec<(Option<i64>, DateTime<Utc>)>,
    /// Whether `select` was asked, or could not be.
    pub selected: bool,
    /// Why it could not answer, with the place of the decision; none: it did.
    pub hold: Option<(String, String, Option<usize>)>,
}

impl MergeEnd {
    /// Whether something of the record changes, unless people were faster with the notes.
    fn journalled(&self) -> bool {
        self.changes() || !self.notes.is_empty()
    }

    /// Whether something else than notes does.
    fn changes(&self) -> bool {
        !self.standings.is_empty()
            || !self.acts.is_empty()
            || self
                .lanes
                .iter()
                .any(|(now, before)| before.as_ref() != Some(now))
            || self.jobs.iter().any(|(_, now, before)| now != before)
    }

    fn comment(&self, target: &str) -> String {
        if let ([(_, _, act), ..], true) = (
            self.acts.as_slice(),
            self.lanes.is_empty() && self.standings.is_empty(),
        ) {
            return match act {
                Act::Comment { .. } => "Say what happened".to_owned(),
                Act::Status { context, state, .. } => format!("Status {context}: {state}"),
                Act::Label { name, .. } => format!("Label {name}"),
            };
        }
        let lanes = self.lanes.iter().filter_map(|(now, before)| {
            let was = before.as_ref().map(|b| b.state);
            (was != Some(now.state)).then(|| {
                format!(
                    "{}: {}: {}",
                    now.name(target),
                    now.state.name(),
                    now.why.text
                )
            })
        });
        let standings = self.standings.iter().map(|s| {
            let need = s.standing.need.map_or("held", Need::name);
            format!("{}: {}, gate {need}", s.name, s.standing.approval.name())
        });
        let mut parts: Vec<String> = lanes.chain(standings).collect();
        let more = parts.len().saturating_sub(3);
        parts.truncate(3);
        let mut comment = parts.join("; ");
        if more > 0 {
            comment.push_str(&format!("; and {more} more"));
        }
        if let ([first, ..], true) = (self.notes.as_slice(), comment.is_empty()) {
            comment = format!("Note `{}`", first.key);
        }
        if comment.is_empty() {
            "Jobs go on".clone_into(&mut comment);
        }
        comment.truncate(comment.floor_char_boundary(1_000));
        comment
    }
}

impl Db {
    /// Writes what a turn decided: all or nothing. None: another host has taken the turn meanwhile, and
    /// nothing was written.
    pub async fn merge_end(&self, start: &super::MergeStart, end: MergeEnd) -> Result<Option<()>> {
        let recorded = Recorded::new(&end.decisions)?;
        let user = format!("pipeline:{}", start.name);
        let comment = || end.comment(&start.target);
        let mut writing = self.writing(end.journalled(), user, comment).await?;
        if !writing.take(&end.causes).await? || !reacted(writing.conn(), &end.reacted).await? {
            return Ok(None);
        }
        let conn = writing.conn();
        if let Some(reaction) = end.postponed {
            sqlx::query!(
                "update reaction set not_before = now() + interval '1 minute' where id = $1",
                reaction,
            )
            .execute(&mut *conn)
            .await?;
        }
        let decisions = recorded.write(conn, start.pipeline).await?;
        // Before all that others may wait for: it locks the pipeline, as people do who write notes.
        let noted = write_notes(conn, start.pipeline, &end.notes, &decisions).await?;
        // Before the lanes: what was not looked at yet forbids landing, like what came meanwhile.
        if !end.later.is_empty() {
            sqlx::query!(
                "insert into cause (pipeline_id, kind, pull_request_id)
                 select $1, 'pull', id from unnest($2::bigint[]) u (id)",
                start.pipeline,
                &end.later,
            )
            .execute(&mut *conn)
            .await?;
        }
        write_standings(conn, &end.standings, &decisions).await?;
        let overtaken = overtaken(conn, &end.lanes).await?;
        let lanes = write_lanes(
            conn,
            (start.pipeline, start.tip.as_deref()),
            &end,
            &overtaken,
            &decisions,
        )
        .await?;
        for (place, now, before) in &end.jobs {
            if let Some(lane) = lanes.get(*place)
                && !overtaken.contains(lane)
            {
                write_jobs(conn, start.pipeline, Subject::Lane(*lane), now, before).await?;
            }
        }
        for (pull, head, wanted) in &end.acts {
            act(conn, *pull, head.as_deref(), wanted).await?;
        }
        write_wakes(conn, start.pipeline, &end.wakes).await?;
        if end.selected {
            write_hold(conn, start.pipeline, &end, &decisions).await?;
        }
        if noted > 0 || end.changes() {
            writing.carried_out(&decisions).await?;
        }
        writing.commit().await?;
        Ok(Some(()))
    }
}

fn decision(why: &Why, decisions: &[i64]) -> Option<i64> {
    why.decision.and_then(|place| decisions.get(place)).copied()
}

async fn write_standings(
    conn: &mut PgConnection,
    changes: &[StandingChange],
    decisions: &[i64],
) -> Result<()> {
    let mut changes: Vec<&Standing> = changes.iter().map(|c| &c.standing).collect();
    changes.sort_by_key(|s| s.id);
    for s in changes {
        let held = s.held.as_ref();
        // A verdict is of a head: another head begins without one.
        sqlx::query!(
            "insert into standing as w (id, head, approval, approved_at, review_code, review_text, review_decision,
               wanted, need, gate_code, gate_text, gate_decision, held_hook, held_code, held_text, tags)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
             on conflict (id) do update set head = excluded.head, approval = excluded.approval,
               approved_at = excluded.approved_at, review_code = excluded.review_code,
               review_text = excluded.review_text, review_decision = excluded.review_decision,
               wanted = excluded.wanted, need = excluded.need, gate_code = excluded.gate_code,
               gate_text = excluded.gate_text, gate_decision = excluded.gate_decision,
               held_hook = excluded.held_hook, held_code = excluded.held_code, held_text = excluded.held_text,
               tags = excluded.tags,
               verdict = case when w.head = excluded.head then w.verdict end,
               verdict_base = case when w.head = excluded.head then w.verdict_base end,
               earlier = case when w.head = excluded.head then w.earlier end,
               runs = case when w.head = excluded.head then w.runs else 0 end",
            s.id,
            s.head,
            s.approval.name(),
            s.approved_at,
            s.review.code,
            s.review.text,
            decision(&s.review, decisions),
            &s.wanted,
            s.need.map(Need::name),
            s.gate.code,
            s.gate.text,
            decision(&s.gate, decisions),
            held.map(|h| h.0),
            held.map(|h| h.1.as_str()),
            held.map(|h| h.2.as_str()),
            Json(&s.tags) as _,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The lanes that an effect moved on while the turn decided: what the turn makes of them is dropped, and
/// the effect's own cause brings the next turn to them.
async fn overtaken(
    conn: &mut PgConnection,
    lanes: &[(Lane, Option<Lane>)],
) -> Result<HashSet<i64>> {
    let differ = lanes.iter().filter_map(|(now, before)| {
        let before = before.as_ref()?;
        Some((now.id?, before.state)).filter(|_| now != before)
    });
    let seen: HashMap<i64, LaneState> = differ.collect();
    if seen.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<i64> = seen.keys().copied().collect();
    let rows = sqlx::query!(
        "select id, state from lane where id = any($1) order by id for no key update",
        &ids
    )
    .fetch_all(conn)
    .await?;
    let moved = rows.into_iter().filter(|row| {
        seen.get(&row.id)
            .is_some_and(|state| state.name() != row.state)
    });
    Ok(moved.map(|row| row.id).collect())
}

/// Writes the lanes that differ, and the effects of their new states. Returns the ids of all.
async fn write_lanes(
    conn: &mut PgConnection,
    (pipeline, tip): (i32, Option<&str>),
    end: &MergeEnd,
    overtaken: &HashSet<i64>,
    decisions: &[i64],
) -> Result<Vec<i64>> {
    let mut ids: Vec<i64> = vec![];
    for (lane, before) in &end.lanes {
        let id = match (lane.id, before) {
            (Some(id), Some(before)) if before == lane || overtaken.contains(&id) => {
                ids.push(id);
                continue;
            }
            (Some(id), _) => {
                update_lane(conn, id, lane, before.as_ref(), decisions).await?;
                id
            }
            (None, _) => insert_lane(conn, pipeline, lane, &ids, decisions).await?,
        };
        ids.push(id);
        let was = before.as_ref().map(|b| b.state);
        if was == Some(lane.state) {
            continue;
        }
        match lane.state {
            LaneState::Building => effect(conn, pipeline, "build", Some(id), None, None).await?,
            LaneState::Landing => effect(conn, pipeline, "land", Some(id), None, None).await?,
            _ => {}
        }
        if let Some(verdict) = verdict(lane, was) {
            write_verdict(conn, tip, lane, verdict).await?;
        }
    }
    Ok(ids)
}

fn verdict(lane: &Lane, was: Option<LaneState>) -> Option<&'static str> {
    match lane.state {
        LaneState::Passed => Some("pass"),
        // It passed and may land in the same turn.
        LaneState::Landing if was != Some(LaneState::Passed) => Some("pass"),
        LaneState::Failed => Some("fail"),
        LaneState::Inconclusive => Some("inconclusive"),
        _ => None,
    }
}

async fn insert_lane(
    conn: &mut PgConnection,
    pipeline: i32,
    lane: &Lane,
    ids: &[i64],
    decisions: &[i64],
) -> Result<i64> {
    let on = match lane.on {
        Some(On::Lane(id)) => Some(id),
        Some(On::Place(place)) => ids.get(place).copied(),
        None => None,
    };
    Ok(sqlx::query_scalar!(
        "insert into lane (pipeline_id, base, on_lane, members, numbers, heads, purpose, landing, priority, attrs,
           state, reason_code, reason_text, decision_id, held_code, held_text, ended_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
           case when $17 then now() end) returning id",
        pipeline,
        lane.base,
        on,
        &lane.members,
        &lane.numbers,
        &lane.heads,
        lane.purpose,
        lane.landing.name(),
        lane.priority,
        Json(&lane.attrs) as _,
        lane.state.name(),
        lane.why.code,
        lane.why.text,
        decision(&lane.why, decisions),
        lane.held.as_ref().map(|h| h.0.as_str()),
        lane.held.as_ref().map(|h| h.1.as_str()),
        lane.ended,
    )
    .fetch_one(conn)
    .await?)
}

async fn update_lane(
    conn: &mut PgConnection,
    id: i64,
    lane: &Lane,
    before: Option<&Lane>,
    decisions: &[i64],
) -> Result<()> {
    // What happened to a member since the turn looked forbids landing until it has been looked at, and so does
    // another tip. The lane has passed then, and waits for the turn that the cause brings; the effect of its
    // landing finds that it does not land.
    let landing = lane.state == LaneState::Landing && before.is_some_and(|b| b.state != lane.state);
    if landing {
        // Whoever closes the tree or takes an approval back at this moment either comes before this, and is
        // heeded, or waits until the lane is marked.
        sqlx::query!(
            "select p.id from lane l join merge_pipeline m on m.id = l.pipeline_id join pipeline p on p.id = m.id
             where l.id = $1 for share of p, m",
            id,
        )
        .fetch_all(&mut *conn)
        .await?;
        sqlx::query!(
            "select id from pull_request where id = any($1) order by id for share",
            &lane.members,
        )
        .fetch_all(&mut *conn)
        .await?;
    }
    sqlx::query!(
        "update lane l set
           state = case when $13 and (exists (
               select from cause c where c.pipeline_id = l.pipeline_id
                 and (c.kind = 'all' or c.pull_request_id = any(l.members)))
             or $3 is distinct from (
               select t.commit from tip t where t.pipeline_id = l.pipeline_id order by t.id desc limit 1))
             then 'passed' else $2 end,
           -- An effect may have set it since the turn looked.
           base = coalesce(l.base, $3), landing = $4, priority = $5,
           reason_code = $6, reason_text = $7, decision_id = coalesce($8, decision_id),
           held_code = $9, held_text = $10, blame = $11, tags = $14,
           since = case when state = $2 then since else now() end,
           ended_at = case when $12 then coalesce(ended_at, now()) end
         where id = $1",
        id,
        lane.state.name(),
        lane.base,
        lane.landing.name(),
        lane.priority,
        lane.why.code,
        lane.why.text,
        decision(&lane.why, decisions),
        lane.held.as_ref().map(|h| h.0.as_str()),
        lane.held.as_ref().map(|h| h.1.as_str()),
        &lane.blame,
        lane.ended,
        landing,
        Json(&lane.tags) as _,
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// What a lane of one pull request says of that head; other lanes count as runs alone, and so does a try,
/// which may run other jobs than what lands.
async fn write_verdict(
    conn: &mut PgConnection,
    tip: Option<&str>,
    lane: &Lane,
    verdict: &str,
) -> Result<()> {
    // What it stood on may have landed.
    let is_on_target = lane.on.is_none() || lane.base.as_deref() == tip;
    let alone = lane.members.len() == 1 && is_on_target && lane.landing != Landing::Never;
    sqlx::query!(
        "update standing s set runs = s.runs + 1,
           earlier = case when $3 and s.verdict_base is distinct from $5 then s.verdict else s.earlier end,
           verdict = case when $3 then $4 else s.verdict end,
           verdict_base = case when $3 then $5 else s.verdict_base end
         from unnest($1::bigint[], $2::text[]) u (id, head) where s.id = u.id and s.head = u.head",
        &lane.members,
        &lane.heads,
        alone,
        verdict,
        lane.base,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn effect(
    conn: &mut PgConnection,
    pipeline: i32,
    kind: &str,
    lane: Option<i64>,
    attempt: Option<i64>,
    not_before: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query!(
        "insert into effect (pipeline_id, kind, lane_id, attempt_id, not_before)
         values ($1, $2, $3, $4, coalesce($5, now()))",
        pipeline,
        kind,
        lane,
        attempt,
        not_before,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What jobs are of.
#[derive(Debug, Clone, Copy)]
pub(in crate::db) enum Subject {
    /// A lane.
    Lane(i64),
    /// A kernel version's run.
    Run(i64),
}

pub(in crate::db) async fn write_jobs(
    conn: &mut PgConnection,
    pipeline: i32,
    subject: Subject,
    now: &[Job],
    before: &[Job],
) -> Result<()> {
    for job in now {
        let old = job
            .id
            .and_then(|id| before.iter().find(|b| b.id == Some(id)));
        if old == Some(job) {
            continue;
        }
        let id = match job.id {
            Some(id) => {
                sqlx::query!(
                    "update job set state = $2, skipped_code = $3, skipped_text = $4, reused_from = $5, passed = $6
                     where id = $1",
                    id,
                    job.state.name(),
                    job.skipped.as_ref().map(|s| s.0.as_str()),
                    job.skipped.as_ref().map(|s| s.1.as_str()),
                    job.reused_from,
                    job.passed,
                )
                .execute(&mut *conn)
                .await?;
                id
            }
            None => insert_job(conn, subject, job).await?,
        };
        for attempt in &job.attempts {
            let known = attempt
                .id
                .and_then(|id| old.and_then(|old| old.attempts.iter().find(|a| a.id == Some(id))));
            write_attempt(conn, pipeline, id, attempt, known).await?;
        }
    }
    Ok(())
}

async fn insert_job(conn: &mut PgConnection, subject: Subject, job: &Job) -> Result<i64> {
    let (lane, run) = match subject {
        Subject::Lane(id) => (Some(id), None),
        Subject::Run(id) => (None, Some(id)),
    };
    Ok(sqlx::query_scalar!(
        "insert into job (lane_id, run_id, name, spec, spec_digest, weight, after, state, skipped_code, skipped_text,
           reused_from, passed)
         values ($1, $12, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning id",
        lane,
        job.name,
        job.spec,
        job.digest,
        if job.required { "required" } else { "informative" },
        &job.after,
        job.state.name(),
        job.skipped.as_ref().map(|s| s.0.as_str()),
        job.skipped.as_ref().map(|s| s.1.as_str()),
        job.reused_from,
        job.passed,
        run,
    )
    .fetch_one(conn)
    .await?)
}

async fn write_attempt(
    conn: &mut PgConnection,
    pipeline: i32,
    job: i64,
    attempt: &Attempt,
    known: Option<&Attempt>,
) -> Result<()> {
    match attempt.id {
        None => {
            let id = sqlx::query_scalar!(
                "insert into attempt (job_id, number, attrs, not_before) values ($1, $2, $3, $4) returning id",
                job,
                attempt.number,
                Json(&attempt.attrs) as _,
                attempt.not_before,
            )
            .fetch_one(&mut *conn)
            .await?;
            effect(conn, pipeline, "start", None, Some(id), attempt.not_before).await
        }
        Some(id) if attempt.cancel.is_some() && known.is_none_or(|k| k.cancel.is_none()) => {
            let wanted = sqlx::query!(
                "update attempt set cancel_wanted = $2 where id = $1 and state <> 'ended'",
                id,
                attempt.cancel,
            )
            .execute(&mut *conn)
            .await?
            .rows_affected();
            if wanted > 0 {
                effect(conn, pipeline, "cancel", None, Some(id), None).await?;
            }
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

async fn write_wakes(
    conn: &mut PgConnection,
    pipeline: i32,
    wakes: &[(Option<i64>, DateTime<Utc>)],
) -> Result<()> {
    for (pull, at) in wakes {
        sqlx::query!(
            "insert into wake (pipeline_id, pull_request_id, at) values ($1, $2, $3)
             on conflict (pipeline_id, coalesce(pull_request_id, 0)) do update set at = least(wake.at, excluded.at)",
            pipeline,
            *pull,
            *at,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

async fn write_hold(
    conn: &mut PgConnection,
    pipeline: i32,
    end: &MergeEnd,
    decisions: &[i64],
) -> Result<()> {
    let hold = end.hold.as_ref();
    let decision = hold
        .and_then(|h| h.2)
        .and_then(|place| decisions.get(place));
    sqlx::query!(
        "insert into pipeline_progress as p (pipeline_id, epoch, tx, event_id, turns, held_hook, held_code, held_text,
           held_since, held_decision_id)
         values ($1, 0, '0', 0, 1, case when $2::text is not null then 'select' end, $2, $3,
           case when $2::text is not null then now() end, $4)
         on conflict (pipeline_id) do update set turns = p.turns + 1, held_hook = excluded.held_hook,
           held_code = excluded.held_code, held_text = excluded.held_text,
           held_since = case when excluded.held_hook is null then null else coalesce(p.held_since, now()) end,
           held_decision_id = excluded.held_decision_id, updated_at = now()",
        pipeline,
        hold.map(|h| h.0.as_str()),
        hold.map(|h| h.1.as_str()),
        decision.copied(),
    )
    .execute(conn)
    .await?;
    Ok(())
}
