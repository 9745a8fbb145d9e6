//! The turn of the kernel pipeline: reads what changed, asks the policies, writes what follows.
//!
//! The journal is the queue: a turn reads the events behind its own cursor, so nothing that committed
//! is ever missed, and a cause costs no write of its own. Policies are asked with no transaction open;
//! one transaction then writes decisions, what is derived from them, moves, and the cursor. Whoever
//! holds the pipeline's advisory lock takes its turns; a host that dies lets go of it.
//!
//! What cannot be answered holds the pipeline with a reason: the cursor stays, so nothing is lost, and
//! the turn is taken again when a binding, a pattern or a note changes, or after a while.

pub(crate) mod answer;
mod ask;
pub(crate) mod call;
mod causes;
pub(crate) mod facts;
pub(crate) mod jobs;
pub(crate) mod notes;
pub(crate) mod question;

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::db::Db;
use crate::db::event::Position;
use crate::db::listen::POLL;
use crate::db::turn::{
    Bound, KERNEL_CHANGES, NewHold, PASSED_BY, PipelineLock, TurnEnd, TurnStart,
};
use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::policy::{CallLimits, Runtime};
use call::Caller;
use causes::{Causes, Remedy};

/// Changes that one turn looks at: bounds its memory and the time it holds others up.
const CHANGES_PER_TURN: i64 = 5_000;
/// Versions that one turn takes of a sweep: one question of `ignore`.
const SWEEP_PAGE: i64 = 10_000;
/// How long a pipeline that holds waits before it tries the same again: what failed may have been the
/// machine, not the plugin.
const HOLD_RETRY: Duration = Duration::from_secs(60);
/// How long a host that cannot load what is bound leaves the pipeline to others, which may be able to.
const AWAY: Duration = Duration::from_secs(10);
/// How long to wait after the database failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// How often old decisions are looked for.
const RETIRE_EVERY: Duration = Duration::from_secs(600);
/// Decisions that are deleted at once.
const RETIRE_PAGE: i64 = 1_000;

/// Takes the turns of the kernel pipeline until it is told to stop.
pub struct Worker {
    db: Db,
    caller: Caller,
    commits: watch::Receiver<u64>,
    stop: CancellationToken,
    decision_days: i32,
    /// What the pipeline holds with, and when to try that again.
    held: Option<(Vec<Bound>, Remedy, tokio::time::Instant)>,
    /// What it holds with is that this host cannot load what is bound.
    unable: bool,
    /// It left the pipeline to other hosts, until then.
    away: Option<tokio::time::Instant>,
    /// What was found when there was nothing to do.
    rest: Option<Rest>,
    retired_at: Option<tokio::time::Instant>,
}

/// Works on a thread of its own until it is done, or until `drain` after the end was asked for: what is still on its
/// way then is let go.
pub(crate) fn on_a_thread<F: Future<Output = ()>>(
    stop: CancellationToken,
    drain: Duration,
    work: impl FnOnce() -> F + Send + 'static,
) -> JoinHandle<()> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        runtime.block_on(async {
            tokio::select! {
                () = work() => {}
                () = late => {}
            }
        });
    })
}

/// A pipeline with nothing to do.
struct Rest {
    /// How far the changes were read; the record knows of this later.
    position: Position,
    /// How many changes that is ahead of the record.
    passed: usize,
    /// When to look even if nothing changes.
    until: Option<DateTime<Utc>>,
    /// When everything was looked at, and not the changes alone.
    looked: tokio::time::Instant,
}

/// What a turn did.
enum Took {
    /// There may be more.
    Something,
    /// Nothing to do until then, or until something commits.
    Nothing(Option<DateTime<Utc>>),
}

impl Worker {
    /// A worker on this database and this runtime.
    pub fn new(
        db: Db,
        runtime: Runtime,
        stop: CancellationToken,
        decision_days: u16,
        ceilings: CallLimits,
    ) -> Self {
        let commits = db.commits();
        Self {
            caller: Caller::new(db.clone(), runtime, ceilings),
            db,
            commits,
            stop,
            decision_days: i32::from(decision_days),
            held: None,
            unable: false,
            away: None,
            rest: None,
            retired_at: None,
        }
    }

    /// Works until told to stop, on a thread of its own: a turn's calls of plugins are made right there,
    /// one after the other. What is still on its way `drain` after the end was asked for is let go.
    pub fn start(self, drain: Duration) -> JoinHandle<()> {
        on_a_thread(self.stop.clone(), drain, || self.run())
    }

    /// Works until told to stop. A failure costs time and nothing else.
    async fn run(mut self) {
        let mut lock: Option<PipelineLock> = None;
        while !self.stop.is_cancelled() {
            let until = match self.step(&mut lock).await {
                Ok(Took::Something) => continue,
                Ok(Took::Nothing(until)) => until,
                Err(error) => {
                    lock = None;
                    log(&error);
                    self.pause(FAILURE_PAUSE).await;
                    continue;
                }
            };
            let wait = until.map_or(POLL, |at| {
                (at - Utc::now()).to_std().unwrap_or_default().min(POLL)
            });
            let stop = self.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                _ = self.commits.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn pause(&self, how_long: Duration) {
        let _ = tokio::time::timeout(how_long, self.stop.cancelled()).await;
    }

    async fn step(&mut self, held: &mut Option<PipelineLock>) -> Result<Took> {
        // Read first: a commit that comes while we work then wakes us again.
        self.commits.mark_unchanged();
        if self.nothing_new().await? {
            return Ok(Took::Nothing(
                self.rest.as_ref().and_then(|rest| rest.until),
            ));
        }
        if let Some(until) = self.away {
            *held = None;
            if tokio::time::Instant::now() < until {
                return Ok(Took::Nothing(None));
            }
            self.away = None;
        }
        let here = match held {
            Some(lock) => lock.still_held().await,
            None => false,
        };
        let lock = match held {
            Some(lock) if here => lock,
            _ => {
                self.rest = None;
                let Some(pipeline) = self.db.kernel_pipeline().await? else {
                    return Ok(Took::Nothing(None));
                };
                match self.db.lock_pipeline(pipeline).await? {
                    Some(lock) => held.insert(lock),
                    None => return Ok(Took::Nothing(None)),
                }
            }
        };
        self.retire().await?;
        let Some(start) = self.db.turn_start(lock).await? else {
            *held = None;
            return Ok(Took::Nothing(None));
        };
        if start.paused {
            return Ok(Took::Nothing(None));
        }
        self.turn(lock, &start).await
    }

    /// Whether all that was committed since the last look is none of this pipeline's: one query, for what happens
    /// most.
    async fn nothing_new(&mut self) -> Result<bool> {
        let Some(rest) = &mut self.rest else {
            return Ok(false);
        };
        let due = rest.until.is_some_and(|until| until <= Utc::now());
        if due || rest.looked.elapsed() >= POLL {
            return Ok(false);
        }
        let changes = self.db.changes(rest.position, CHANGES_PER_TURN).await?;
        if changes
            .iter()
            .any(|change| KERNEL_CHANGES.contains(&change.kind.as_str()))
        {
            return Ok(false);
        }
        if let Some(last) = changes.last() {
            rest.position = last.position;
            rest.passed += changes.len();
        }
        Ok(changes.len() < CHANGES_PER_TURN as usize)
    }

    /// One turn, if there is anything to do.
    async fn turn(&mut self, lock: &PipelineLock, start: &TurnStart) -> Result<Took> {
        let began = std::time::Instant::now();
        let rested = self.rest.take();
        let passed_by = rested.as_ref().map(|rest| rest.position);
        let from = passed_by.map_or(start.position, |passed| passed.max(start.position));
        let changes = self.db.changes(from, CHANGES_PER_TURN).await?;
        let at = Utc::now();
        // What the record says of a batch that was read in parts (`kernel_turn_has_seen`) must come to its end.
        let in_mid_batch = changes.first().is_some_and(|change| {
            (change.position.epoch, change.position.tx) == (start.position.epoch, start.position.tx)
        });
        let causes = Causes::read(&self.db, start, &changes, at).await?;
        if let Some((bindings, remedy, retry_at)) = &self.held
            && *bindings == start.bindings
            && *remedy == causes.remedy
            && tokio::time::Instant::now() < *retry_at
        {
            if self.unable {
                self.away = Some(tokio::time::Instant::now() + AWAY);
            }
            return Ok(Took::Nothing(None));
        }
        let mut end = TurnEnd {
            position: changes.last().map(|c| c.position).or(passed_by),
            wake_at: start.wake_at.filter(|wake| *wake > at),
            ..TurnEnd::default()
        };
        let mut ids = causes.clone();
        // Begun before anything is asked, so that this turn takes the first page: should it come to nothing, the same
        // changes are read again, and what is begun is not begun twice. What is bound is read again: it may be older
        // than the changes, and a sweep is for what they bound.
        let mut fresh = None;
        if !causes.sweeps.is_empty() {
            self.db.begin_sweeps(start.pipeline, &causes.sweeps).await?;
            match self.db.turn_start(lock).await? {
                Some(start) if !start.paused => fresh = Some(start),
                _ => return Ok(Took::Nothing(None)),
            }
        }
        // So is the clock: a decision was made by what was bound at its time, and not by what was bound thereafter.
        let at = fresh.as_ref().map_or(at, |_| Utc::now());
        let start = fresh.as_ref().unwrap_or(start);
        // A page of the oldest sweep goes along with what changed, so that neither starves the other.
        match self.db.next_sweep(start.pipeline).await? {
            Some(sweep) => {
                let page = ids.take_sweep(&self.db, &sweep, SWEEP_PAGE).await?;
                let done = (page.len() as i64) < SWEEP_PAGE;
                end.swept = Some((sweep.id, page.last().copied().filter(|_| !done)));
            }
            None if causes.is_empty()
                && !start.held
                && !in_mid_batch
                && !changes
                    .iter()
                    .any(|change| KERNEL_CHANGES.contains(&change.kind.as_str())) =>
            {
                let passed = rested.map_or(0, |rest| rest.passed) + changes.len();
                if passed < PASSED_BY / 2 {
                    // Nothing of this is ours, so nothing is written, not even how far we have read.
                    self.rest = Some(Rest {
                        position: end.position.unwrap_or(from),
                        passed,
                        until: causes.next_look,
                        looked: tokio::time::Instant::now(),
                    });
                    return Ok(if changes.len() < CHANGES_PER_TURN as usize {
                        Took::Nothing(causes.next_look)
                    } else {
                        Took::Something
                    });
                }
            }
            None if changes.is_empty() && causes.sweeps.is_empty() => {
                return Ok(Took::Nothing(causes.next_look));
            }
            None => {}
        }
        match self.ask_all(start, &ids, at, &mut end).await {
            Ok(()) => self.held = None,
            Err(Stopped::Host(error)) => return Err(error),
            Err(Stopped::Held(hold)) => {
                tracing::warn!(hook = hold.hook, code = %hold.code, "the pipeline holds: {}", hold.text);
                self.unable = hold.code == "plugin.host-failed";
                if self.unable {
                    self.away = Some(tokio::time::Instant::now() + AWAY);
                }
                // What was asked is on record; what it was asked about waits.
                end = TurnEnd {
                    decisions: end.decisions,
                    hold: Some(hold),
                    wake_at: start.wake_at,
                    ..TurnEnd::default()
                };
                self.held = Some((
                    start.bindings.clone(),
                    causes.remedy.clone(),
                    tokio::time::Instant::now() + HOLD_RETRY,
                ));
            }
        }
        let held = end.hold.is_some();
        failpoint("turn-asked");
        let dropped = self.db.turn_end(lock, end).await?;
        failpoint("turn-written");
        metrics::counter!("pointsman_turns_total", "kind" => "kernel").increment(1);
        metrics::histogram!("pointsman_turn_seconds", "kind" => "kernel")
            .record(began.elapsed().as_secs_f64());
        if dropped > 0 {
            tracing::info!(
                dropped,
                "moves or notes dropped: what they were about changed meanwhile and is looked at again"
            );
        }
        Ok(if held {
            Took::Nothing(None)
        } else {
            Took::Something
        })
    }

    /// Deletes decisions past their retention, now and then.
    async fn retire(&mut self) -> Result<()> {
        let now = tokio::time::Instant::now();
        if self.retired_at.is_some_and(|at| now - at < RETIRE_EVERY) {
            return Ok(());
        }
        self.retired_at = Some(now);
        let gone = self
            .db
            .retire_decisions(self.decision_days, RETIRE_PAGE)
            .await?;
        if gone > 0 {
            tracing::info!(gone, "deleted decisions past their retention");
        }
        if gone == RETIRE_PAGE as u64 {
            self.retired_at = None;
        }
        Ok(())
    }
}

/// Why a turn could not be finished.
pub(crate) enum Stopped {
    /// A policy could not answer: the pipeline holds.
    Held(NewHold),
    /// The host failed.
    Host(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

pub(crate) fn log(error: &Error) {
    match error {
        Error::Unavailable(cause) => {
            tracing::warn!(%cause, "the database does not answer; turns wait for it");
        }
        Error::Internal(cause) => tracing::error!(
            cause = format!("{cause:#}"),
            "a turn failed and is taken again"
        ),
        Error::Refused(refusal) => {
            tracing::warn!(code = %refusal.code, "a turn failed and is taken again: {refusal}");
        }
    }
}
