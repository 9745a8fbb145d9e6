//! What a turn of a kernel pipeline's runs writes: decisions, runs, jobs, and the effects that follow, in one
//! transaction with the causes that it looked at.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::super::Db;
use super::super::merge::{Subject as Of, write_jobs};
use super::super::turn::{Made, NoteChange, Recorded, write_notes};
use super::{RunsStart, Subject};
use crate::error::Result;
use crate::plan::jobs::{Job, Verdict};
use crate::plan::runs::Run;

/// How long after the first time a wish that could not be started is tried again, in seconds; doubled with each
/// more. What failed may have been the machine.
const FIRST_PAUSE_S: f64 = 60.0;
/// And at most this long: one that is somebody else's to make is asked about that often.
const LONGEST_PAUSE_S: f64 = 3_600.0;
/// Seconds until a wish is asked about again that no policy here has jobs for.
const NOBODY_PAUSE_S: f64 = 86_400.0;
/// Why a wish is held that no policy here has jobs for.
pub const NOBODY: &str = "run.none";

/// Everything that a turn writes.
#[derive(Debug, Default)]
pub struct RunsEnd {
    /// The causes that were looked at.
    pub causes: Vec<i64>,
    /// What was asked and answered.
    pub decisions: Vec<Made>,
    /// Runs to begin.
    pub starts: Vec<Start>,
    /// Runs that went on: what they are now, and what they were before.
    pub runs: Vec<(Run, Run)>,
    /// Jobs by run, with what they were before.
    pub jobs: Vec<(i64, Vec<Job>, Vec<Job>)>,
    /// Wishes that cannot be started now.
    pub held: Vec<HeldWish>,
    /// When to look again though nothing happens.
    pub wakes: Vec<DateTime<Utc>>,
    /// What the policies remember from now on.
    pub notes: Vec<NoteChange>,
}

/// A run to begin.
#[derive(Debug)]
pub struct Start {
    /// What it is about.
    pub subject: Subject,
    /// What it is, or is already: one of which every job is skipped may have ended.
    pub run: Run,
    /// Its jobs.
    pub jobs: Vec<Job>,
}

/// A wish that cannot be started.
#[derive(Debug)]
pub struct HeldWish {
    /// What it is about.
    pub subject: Subject,
    /// Stable.
    pub code: String,
    /// For people.
    pub text: String,
    /// How often it was so before, in a row.
    pub tries: i32,
}

impl RunsEnd {
    /// Whether something of the record changes.
    fn journalled(&self) -> bool {
        !self.starts.is_empty()
            || !self.notes.is_empty()
            || self.runs.iter().any(|(now, before)| now != before)
            || self.jobs.iter().any(|(_, now, before)| now != before)
    }

    fn comment(&self) -> String {
        let begun = self.starts.iter().map(|start| match start.run.verdict {
            None => format!("{} begins", start.run.name),
            Some(_) => ended(&start.run),
        });
        let changed = self.runs.iter().filter(|(now, before)| now != before);
        let changed = changed.map(|(now, _)| match (&now.verdict, &now.held) {
            (Some(_), _) => ended(now),
            (None, Some((_, text))) => format!("{} is held: {text}", now.name),
            (None, None) => format!("{} goes on", now.name),
        });
        let mut parts: Vec<String> = begun.chain(changed).collect();
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

fn ended(run: &Run) -> String {
    let verdict = run.verdict.map_or("", verdict_name);
    format!("{}: {verdict}: {}", run.name, run.why.text)
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "inconclusive",
    }
}

impl Db {
    /// Writes what a turn decided: all or nothing. Returns how many starts were dropped because the wish had gone
    /// or somebody else had begun meanwhile; none: another host has taken the turn, and nothing was written.
    pub async fn runs_end(&self, start: &RunsStart, end: RunsEnd) -> Result<Option<usize>> {
        let recorded = Recorded::new(&end.decisions)?;
        let user = format!("pipeline:{}", start.name);
        let mut writing = self
            .writing(end.journalled(), user, || end.comment())
            .await?;
        if !writing.take(&end.causes).await? {
            return Ok(None);
        }
        let conn = writing.conn();
        let decisions = recorded.write(conn, start.pipeline).await?;
        // Before all that others may wait for: it locks the pipeline, as people do who write notes.
        write_notes(conn, start.pipeline, &end.notes, &decisions).await?;
        let mut dropped = 0;
        for begin in &end.starts {
            match insert_run(conn, start, begin, &decisions).await? {
                Some(id) => {
                    write_jobs(conn, start.pipeline, Of::Run(id), &begin.jobs, &[]).await?;
                }
                None => dropped += 1,
            }
        }
        let mut overtaken = vec![];
        for (now, before) in &end.runs {
            if let Some(id) = now.id
                && now != before
                && !update_run(conn, id, now, &decisions).await?
            {
                // Somebody said meanwhile how it ended: that is a cause, and the next turn ends its jobs.
                overtaken.push(id);
            }
        }
        for (run, now, before) in &end.jobs {
            if !overtaken.contains(run) {
                write_jobs(conn, start.pipeline, Of::Run(*run), now, before).await?;
            }
        }
        for wish in &end.held {
            hold_wish(conn, start.pipeline, wish).await?;
        }
        if let Some(at) = end.wakes.iter().min() {
            sqlx::query!(
                "insert into wake (pipeline_id, pull_request_id, at) values ($1, null, $2)
                 on conflict (pipeline_id, coalesce(pull_request_id, 0)) do update
                   set at = least(wake.at, excluded.at)",
                start.pipeline,
                *at,
            )
            .execute(&mut *conn)
            .await?;
        }
        writing.carried_out(&decisions).await?;
        writing.commit().await?;
        Ok(Some(dropped))
    }
}

/// Begins a run, if its wish is still there and nobody else is at it.
async fn insert_run(
    conn: &mut PgConnection,
    start: &RunsStart,
    begin: &Start,
    decisions: &[i64],
) -> Result<Option<i64>> {
    let (subject, run) = (&begin.subject, &begin.run);
    // Locked, so that a turn that takes the wish back is waited for, or waits.
    sqlx::query!(
        "select from kernel_wanted where kernel_version_id = $1 and release = $2 for update",
        subject.kernel,
        subject.release,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let begun = sqlx::query_scalar!(
        "insert into run (kernel_version_id, purpose, release, verdict, comment, key, reported_by, pipeline_id,
           decision_id, held_code, held_text)
         select w.kernel_version_id, w.purpose, w.release, $4, $5, 'pipeline:' || $6 || ':' || gen_random_uuid(),
           'pipeline:' || $6, $7, $8, $9, $10
         from kernel_startable w where w.kernel_version_id = $1 and w.release = $2 and w.purpose = $3
         returning id",
        subject.kernel,
        subject.release,
        subject.purpose,
        run.verdict.map(verdict_name),
        comment_of(run),
        start.name,
        start.pipeline,
        decision_of(run, decisions),
        run.held.as_ref().map(|held| held.0.as_str()),
        run.held.as_ref().map(|held| held.1.as_str()),
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let (Some(id), Some(_)) = (begun, run.verdict) {
        serve(conn, id).await?;
    } else if begun.is_some() {
        // What kept it is over.
        sqlx::query!(
            "update kernel_wanted set held_code = null, held_text = null, held_tries = 0
             where kernel_version_id = $1 and release = $2 and purpose = $3 and held_code is not null",
            subject.kernel,
            subject.release,
            subject.purpose,
        )
        .execute(conn)
        .await?;
    }
    Ok(begun)
}

/// Says whether it still went on.
async fn update_run(
    conn: &mut PgConnection,
    id: i64,
    run: &Run,
    decisions: &[i64],
) -> Result<bool> {
    let living = sqlx::query!(
        "select id from run where id = $1 and verdict is null and deleted_at is null for no key update",
        id,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if living.is_none() {
        return Ok(false);
    }
    sqlx::query!(
        "update run set verdict = $2, comment = $3, decision_id = coalesce($4, decision_id), held_code = $5,
           held_text = $6, called_off = $7
         where id = $1",
        id,
        run.verdict.map(verdict_name),
        comment_of(run),
        decision_of(run, decisions),
        run.held.as_ref().map(|held| held.0.as_str()),
        run.held.as_ref().map(|held| held.1.as_str()),
        run.called_off,
    )
    .execute(&mut *conn)
    .await?;
    if run.verdict.is_some() {
        serve(conn, id).await?;
    }
    Ok(true)
}

/// The wish of a run that has ended is served. Whoever wants another run says so anew, since its end asks `advance`.
async fn serve(conn: &mut PgConnection, run: i64) -> Result<()> {
    sqlx::query!(
        "delete from kernel_wanted w using run r where r.id = $1 and w.kernel_version_id = r.kernel_version_id
           and w.release = r.release and w.purpose = r.purpose",
        run,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What people read of it: why it ended as it did; nothing before.
fn comment_of(run: &Run) -> &str {
    match run.verdict {
        Some(_) => &run.why.text,
        None => "",
    }
}

fn decision_of(run: &Run, decisions: &[i64]) -> Option<i64> {
    let place = run.why.decision?;
    decisions.get(place).copied()
}

async fn hold_wish(conn: &mut PgConnection, pipeline: i32, wish: &HeldWish) -> Result<()> {
    let pause = match wish.code.as_str() {
        // Somebody outside makes it: another policy, or another wish, is looked at at once in any case.
        NOBODY => NOBODY_PAUSE_S,
        _ => (FIRST_PAUSE_S * f64::from(wish.tries.clamp(0, 16)).exp2()).min(LONGEST_PAUSE_S),
    };
    sqlx::query!(
        "update kernel_wanted set held_code = $4, held_text = $5, held_tries = $6,
           not_before = now() + make_interval(secs => $7)
         where kernel_version_id = $1 and release = $2 and purpose = $3
           -- Another policy was bound meanwhile: it has not been asked.
           and not exists (select from cause c where c.pipeline_id = $8 and c.kind = 'all')",
        wish.subject.kernel,
        wish.subject.release,
        wish.subject.purpose,
        wish.code,
        wish.text,
        wish.tries.saturating_add(1),
        pause,
        pipeline,
    )
    .execute(conn)
    .await?;
    Ok(())
}
