//! One turn of a kernel pipeline's runs.

use std::cell::RefCell;

use chrono::Utc;

use super::ask::{Asking, Said};
use super::{Runs, question};
use crate::db::runs::{HeldWish, Living, NOBODY, RunsEnd, Start, Subject, Wish};
use crate::error::Result;
use crate::plan::jobs::{self as plan, Job, JobState, Why};
use crate::plan::runs::{Run, free};
use crate::policy::wit::{run, triage, types};
use crate::turn::Stopped;
use crate::turn::answer::{refuse, why};
use crate::turn::jobs as asks;
use crate::turn::notes::Notes;

/// Wishes that one turn asks about: bounds its calls, where most of them are for somebody else to make.
const WISHES_PER_TURN: i64 = 32;
/// How long this host waits before it loads a plugin again that it could not load.
const LOAD_AGAIN: std::time::Duration = std::time::Duration::from_secs(60);
/// Runs that are held and asked about again in one turn, though nothing happened to them.
const HELD_PER_TURN: usize = 8;
/// How long a run whose policy cannot answer waits until it is asked again: what failed may have been the machine,
/// not the plugin.
const HOLD_RETRY: chrono::Duration = chrono::Duration::seconds(60);

impl Runs {
    /// One turn. Says whether there may be more to do at once.
    pub(super) async fn turn(&mut self, pipeline: i32) -> Result<bool> {
        let began = std::time::Instant::now();
        let Some(start) = self.db.runs_start(pipeline).await? else {
            return Ok(false);
        };
        if let Some((bindings, until)) = self.held.get(&pipeline)
            && *bindings == start.bindings
            && tokio::time::Instant::now() < *until
        {
            return Ok(false);
        }
        self.held.remove(&pipeline);
        let is_broken = match self.caller.load(&start.bindings).await {
            Ok(()) => false,
            Err(Stopped::Held(hold)) => {
                tracing::warn!(
                    pipeline = start.name,
                    code = hold.code,
                    "runs are held: {}",
                    hold.text
                );
                // Another host may be able to, and finds all that there is to do.
                let until = tokio::time::Instant::now() + LOAD_AGAIN;
                self.held.insert(pipeline, (start.bindings.clone(), until));
                true
            }
            Err(Stopped::Host(error)) => return Err(error),
        };
        let mut notes = Notes::default();
        if !start.bindings.is_empty() {
            notes.add(self.db.hook_notes_of(pipeline).await?);
        }
        let asking = Asking {
            start: &start,
            at: Utc::now(),
            notes: RefCell::new(notes),
        };
        let mut end = RunsEnd::default();
        if !is_broken {
            end.causes.clone_from(&start.causes);
        }
        let living = self.db.living_runs(pipeline).await?;
        let mut again = HELD_PER_TURN;
        for one in &living {
            let caused = start.all || start.caused.contains(&one.id);
            let held = one.held.is_some() && !caused && again > 0;
            again -= usize::from(held);
            if one.unwanted.is_some() || !is_broken && (caused || held) {
                self.go_on(&asking, one, &mut end).await?;
            }
        }
        for id in start.caused.iter().filter(|_| !is_broken) {
            if !living.iter().any(|one| one.id == *id) {
                self.stop_jobs(*id, &mut end).await?;
            }
        }
        let over = |id| {
            let ends = |(run, _): &(Run, Run)| run.id == Some(id) && run.verdict.is_some();
            end.runs.iter().any(ends)
        };
        // One that nobody can decide about, and for which nothing runs, keeps no other from its slot.
        let takes = |one: &&Living| (one.held.is_none() || one.busy) && !over(one.id);
        let free = free(start.slots, living.iter().filter(takes).count());
        let may_begin = !is_broken && start.bindings.iter().any(|bound| bound.hook == "run");
        if may_begin && free > 0 {
            self.begin(&asking, free, &mut end).await?;
        }
        end.notes = asking.notes.take().into_changes();
        let did = !end.causes.is_empty()
            || !end.starts.is_empty()
            || !end.runs.is_empty()
            || !end.held.is_empty();
        if !did {
            return Ok(false);
        }
        let written = self.db.runs_end(&start, end).await?;
        metrics::counter!("pointsman_turns_total", "kind" => "runs").increment(1);
        metrics::histogram!("pointsman_turn_seconds", "kind" => "runs")
            .record(began.elapsed().as_secs_f64());
        match written {
            None => tracing::debug!(pipeline = start.name, "another host took this turn"),
            Some(0) => {}
            Some(dropped) => tracing::debug!(
                pipeline = start.name,
                dropped,
                "runs were not begun: the wish went, or somebody else began"
            ),
        }
        Ok(!is_broken)
    }

    /// A run that goes on: should it, and did a job of it end?
    async fn go_on(&self, asking: &Asking<'_>, living: &Living, end: &mut RunsEnd) -> Result<()> {
        let before = self.db.run_jobs(living.id).await?;
        let mut jobs = before.clone();
        let mut run = Run {
            id: Some(living.id),
            name: living.subject.name(),
            why: Why::default(),
            verdict: None,
            held: living.held.clone(),
            called_off: false,
        };
        let was = run.clone();
        match &living.unwanted {
            Some(unwanted) => {
                plan::settle(&mut jobs);
                run.call_off(&mut jobs, unwanted);
            }
            None => {
                self.judge(asking, &living.subject, &mut run, &mut jobs, end)
                    .await?;
            }
        }
        if jobs != before {
            end.jobs.push((living.id, jobs, before));
        }
        if run != was {
            end.runs.push((run, was));
        }
        Ok(())
    }

    /// A run that is over, by somebody else's word or by its own: what still runs of it need not go on.
    async fn stop_jobs(&self, run: i64, end: &mut RunsEnd) -> Result<()> {
        let before = self.db.run_jobs(run).await?;
        let mut jobs = before.clone();
        plan::settle(&mut jobs);
        for job in &mut jobs {
            plan::stop(job, "the run is over");
        }
        if jobs != before {
            end.jobs.push((run, jobs, before));
        }
        Ok(())
    }

    /// Starts what is wished for most, in as many slots as are free.
    async fn begin(&self, asking: &Asking<'_>, free: usize, end: &mut RunsEnd) -> Result<()> {
        let wishes = self
            .db
            .startable(asking.start.pipeline, WISHES_PER_TURN)
            .await?;
        for wish in wishes {
            if end.starts.len() >= free {
                break;
            }
            match self.jobs_of(asking, &wish, end).await? {
                Ok((jobs, why)) => self.begin_one(asking, wish, jobs, why, end).await?,
                Err((code, text)) => end.held.push(HeldWish {
                    subject: wish.subject,
                    code,
                    text,
                    tries: wish.tries,
                }),
            }
        }
        Ok(())
    }

    /// Which jobs make it, and why those; or why nobody says.
    async fn jobs_of(
        &self,
        asking: &Asking<'_>,
        wish: &Wish,
        end: &mut RunsEnd,
    ) -> Result<std::result::Result<(Vec<Job>, Why), (String, String)>> {
        let work = self.work(asking, &wish.subject, None).await?;
        let question = asks::run(work);
        let said: Said<run::Answer> = self.ask(asking, &wish.subject, 1, &question, end).await?;
        Ok(match said {
            Said::Answered(place, about, answer) => match plan::jobs(&answer, place) {
                Ok(jobs) => {
                    asking.remember(about, place, &answer.basis);
                    Ok((jobs, why(&answer.basis.reason, place)))
                }
                Err(refused) => {
                    refuse(&mut end.decisions, &refused);
                    Err((refused.code.to_owned(), refused.text))
                }
            },
            Said::Held(code, text) => Err((code, text)),
            Said::Abstained => {
                let text = "no policy says which jobs these are, so it is left to whoever makes runs outside";
                Err((NOBODY.to_owned(), text.to_owned()))
            }
        })
    }

    async fn begin_one(
        &self,
        asking: &Asking<'_>,
        wish: Wish,
        mut jobs: Vec<Job>,
        why: Why,
        end: &mut RunsEnd,
    ) -> Result<()> {
        for job in &mut jobs {
            job.digest = plan::digest(job, &[]);
        }
        let mut run = Run {
            id: None,
            name: wish.subject.name(),
            why,
            verdict: None,
            held: None,
            called_off: false,
        };
        // One of which every job is skipped has ended already.
        self.judge(asking, &wish.subject, &mut run, &mut jobs, end)
            .await?;
        end.starts.push(Start {
            subject: wish.subject,
            run,
            jobs,
        });
        Ok(())
    }

    /// Did it pass? What may start now does, too.
    async fn judge(
        &self,
        asking: &Asking<'_>,
        subject: &Subject,
        run: &mut Run,
        jobs: &mut [Job],
        end: &mut RunsEnd,
    ) -> Result<()> {
        plan::settle(jobs);
        plan::after(jobs);
        let something_ended = jobs.iter().any(|job| {
            job.state == JobState::Skipped || job.attempts.iter().any(|a| a.ended.is_some())
        });
        if !something_ended {
            return Ok(());
        }
        let work = self.work(asking, subject, run.id).await?;
        let question = asks::triage(work, jobs);
        let said: Said<triage::Answer> = self
            .ask(asking, subject, jobs.len(), &question, end)
            .await?;
        match said {
            Said::Abstained => {
                let verdict = plan::without_policy(jobs);
                run.judged(jobs, verdict);
            }
            Said::Held(code, text) => {
                run.hold(&code, &text);
                end.wakes.push(asking.at + HOLD_RETRY);
            }
            Said::Answered(place, about, answer) => {
                match plan::triage(jobs, &[], &answer, place, asking.at) {
                    Ok(triaged) => {
                        asking.remember(about, place, &answer.basis);
                        for cancelled in triaged.cancelled {
                            plan::stop(&mut jobs[cancelled], "`triage` does not need it any more");
                        }
                        run.judged(jobs, triaged.verdict);
                    }
                    Err(refused) => {
                        refuse(&mut end.decisions, &refused);
                        run.hold(refused.code, &refused.text);
                        end.wakes.push(asking.at + HOLD_RETRY);
                    }
                }
            }
        }
        Ok(())
    }

    async fn work(
        &self,
        asking: &Asking<'_>,
        subject: &Subject,
        run: Option<i64>,
    ) -> Result<types::Work> {
        let past = self.db.past_runs(subject, run).await?;
        Ok(question::work(&asking.start.name, subject, &past))
    }
}
