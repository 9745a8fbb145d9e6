//! One turn of a merge pipeline.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use chrono::Utc;

use super::Engine;
use super::ask::{About, Asked, Asking, refused, said};
use super::dispatch::{Took, Work};
use super::notes::Memory;
use super::pulls::overlay;
use super::question;
use crate::db::merge::{ENDED_LANES, MergeEnd, MergeStart, PullFacts, TurnLocks};
use crate::db::turn::Bound;
use crate::error::Result;
use crate::plan::merge::{
    self as plan, Candidate, Job, JobState, Lane, LaneState, Need, Rails, Said, Verdict,
};
use crate::policy::wit::types;
use crate::policy::{CallLimits, Hook, Runtime};
use crate::turn::Stopped;
use crate::turn::call::Caller;

/// How long a pipeline that holds waits before it tries the same again: what failed may have been the
/// machine, not the plugin.
pub(super) const HOLD_RETRY: Duration = Duration::from_secs(60);

/// Takes turns of whatever pipeline has causes and is nobody else's.
pub(super) struct Turns {
    engine: Engine,
    caller: Caller,
    /// What pipelines hold with, and when to try that again.
    held: HashMap<i32, (Vec<Bound>, tokio::time::Instant)>,
}

impl Turns {
    pub(super) fn new(engine: Engine, runtime: Runtime, ceilings: CallLimits) -> Self {
        Self {
            caller: Caller::new(engine.db.clone(), runtime, ceilings),
            engine,
            held: HashMap::new(),
        }
    }

    /// Takes turns until told to stop. A failure costs time and nothing else.
    pub(super) async fn run(mut self, work: Work) {
        let stop = self.engine.stop.clone();
        let mut locks: Option<TurnLocks> = None;
        loop {
            let due = tokio::select! {
                () = stop.cancelled() => return,
                next = work.next() => match next {
                    Some(due) => due,
                    None => return,
                },
            };
            let took = self.take(&mut locks, due.pipeline).await;
            if let Err(error) = &took {
                locks = None;
                // The others go on.
                crate::turn::log(error);
            }
            due.done(took.unwrap_or(Took::Failed));
        }
    }

    /// A turn of this pipeline, unless another host is at it.
    async fn take(&mut self, locks: &mut Option<TurnLocks>, pipeline: i32) -> Result<Took> {
        let connection = match locks {
            Some(locks) => locks,
            None => locks.insert(self.engine.db.turn_locks().await?),
        };
        if !connection.take(pipeline).await? {
            return Ok(Took::Nothing);
        }
        let taken = self.turn(pipeline).await;
        connection.let_go(pipeline).await?;
        Ok(if taken? {
            Took::Something
        } else {
            Took::Nothing
        })
    }

    /// One turn, if there is anything to do.
    async fn turn(&mut self, pipeline: i32) -> Result<bool> {
        let began = std::time::Instant::now();
        let Some(start) = self.engine.db.merge_start(pipeline).await? else {
            return Ok(false);
        };
        let Some(tip) = start.tip.clone() else {
            // Nobody has looked where the branch points; that it is known is a cause.
            return Ok(false);
        };
        if start.paused || (start.causes.is_empty() && !start.reactions) {
            return Ok(false);
        }
        // Its jobs would be told of a folder that is not there.
        let mark = start.mark.as_deref();
        if !self.engine.sees(pipeline, &start.repository, mark) {
            return Ok(false);
        }
        if let Some((bindings, until)) = self.held.get(&pipeline)
            && *bindings == start.bindings
            && tokio::time::Instant::now() < *until
        {
            return Ok(false);
        }
        self.held.remove(&pipeline);
        let mut end = MergeEnd::default();
        match self.caller.load(&start.bindings).await {
            Ok(()) => end.causes = start.causes.iter().map(|c| c.id).collect(),
            Err(Stopped::Host(error)) => return Err(error),
            Err(Stopped::Held(hold)) => {
                tracing::warn!(
                    pipeline = start.name,
                    code = hold.code,
                    "the pipeline holds: {}",
                    hold.text
                );
                let until = tokio::time::Instant::now() + HOLD_RETRY;
                self.held.insert(pipeline, (start.bindings.clone(), until));
                end.selected = true;
                end.hold = Some((hold.code, hold.text, None));
                self.engine.db.merge_end(&start, end).await?;
                return Ok(false);
            }
        }
        let asking = Asking {
            caller: &self.caller,
            engine: &self.engine,
            start: &start,
            tip: &tip,
            at: Utc::now(),
            memory: RefCell::new(Memory::of_pipeline(&self.engine.db, &start).await?),
        };
        let place = self.engine.forge.place(&start.repository);
        let turn = Turn {
            engine: &self.engine,
            asking,
            place,
            tip: &tip,
        };
        turn.decide(&mut end).await?;
        end.notes = turn.asking.memory.take().into_changes();
        let written = self.engine.db.merge_end(&start, end).await?;
        metrics::counter!("pointsman_turns_total", "kind" => "merge").increment(1);
        metrics::histogram!("pointsman_turn_seconds", "kind" => "merge")
            .record(began.elapsed().as_secs_f64());
        if written.is_none() {
            tracing::debug!(pipeline = start.name, "another host took this turn");
        }
        Ok(true)
    }
}

/// A turn that is being taken.
pub(super) struct Turn<'a> {
    pub(super) engine: &'a Engine,
    pub(super) asking: Asking<'a>,
    /// Where jobs fetch commits from.
    pub(super) place: String,
    pub(super) tip: &'a str,
}

impl Turn<'_> {
    pub(super) fn start(&self) -> &MergeStart {
        self.asking.start
    }

    /// Everything about these pull requests; what is remembered of them is at hand from here on.
    pub(super) async fn facts(&self, ids: &[i64]) -> Result<Vec<PullFacts>> {
        let (db, memory) = (&self.engine.db, &self.asking.memory);
        let (pulls, ()) = tokio::try_join!(
            db.pull_facts(self.start(), self.tip, ids),
            Memory::read(memory, db, self.start(), ids)
        )?;
        memory.borrow_mut().meet(&pulls);
        Ok(pulls)
    }

    async fn decide(&self, end: &mut MergeEnd) -> Result<()> {
        let start = self.start();
        if start.reactions {
            self.react(end).await?;
        }
        if start.causes.is_empty() {
            return Ok(());
        }
        let standings = self.look_at_pulls(end).await?;
        // Not beside the policies: a look-up of theirs parks this thread, and takes the wake-up of what else is awaited.
        let (mut candidates, (mut lanes, ended)) = tokio::try_join!(
            self.engine.db.candidates(start, self.tip),
            self.engine.db.lanes(start.pipeline),
        )?;
        for (standing, pull) in &standings {
            // One that has another head by now was not asked about.
            let same = |c: &&mut Candidate| c.id == pull.id && c.head == pull.head;
            if let Some(candidate) = candidates.iter_mut().find(same) {
                overlay(candidate, standing);
            }
        }
        if self.engine.db.tip(start.pipeline).await?.as_deref() != Some(self.tip) {
            // It moved since the turn began: lanes that landed meanwhile are gone from those that live, and what
            // stood on them would look left behind. The causes bring the next turn.
            end.causes.clear();
            return Ok(());
        }
        let before = lanes.clone();
        let rails = Rails {
            target: &start.target,
            tip: self.tip,
            slots: usize::try_from(start.slots).unwrap_or(1),
            frozen: start.frozen.as_deref(),
            at: self.asking.at,
        };
        based(&mut lanes);
        plan::stale(&rails, &mut lanes);
        plan::outdated(&rails, &candidates, &mut lanes);
        let mut jobs: HashMap<usize, (Vec<Job>, Vec<Job>)> = HashMap::new();
        for place in 0..lanes.len() {
            let may_begin = plan::may_begin(&rails, &lanes, place);
            let lane = &mut lanes[place];
            // What is of no one lane or pull request may be of all: a binding, a wish to be asked again.
            let caused = start.causes.iter().any(|c| match c.lane {
                Some(_) => c.lane == lane.id,
                None => c.kind != "pull",
            });
            match lane.state {
                LaneState::Built if may_begin => self.begin(place, lane, &mut jobs, end).await?,
                LaneState::Running if caused || lane.held.is_some() => {
                    self.judge(place, lane, &mut jobs, end).await?;
                }
                _ => {}
            }
        }
        end.selected = true;
        self.select(&rails, &candidates, &mut lanes, &ended, end)
            .await?;
        plan::promote(&rails, &mut lanes);
        plan::landable(&rails, &candidates, &mut lanes);
        self.stop_jobs(&lanes, &before, &mut jobs).await?;
        end.jobs = jobs
            .into_iter()
            .map(|(place, (now, before))| (place, now, before))
            .collect();
        end.jobs.sort_by_key(|(place, _, _)| *place);
        end.lanes = lanes
            .into_iter()
            .enumerate()
            .map(|(place, lane)| (lane, before.get(place).cloned()))
            .collect();
        Ok(())
    }

    /// A lane's commit is there: does it need a run, and which jobs are that?
    async fn begin(
        &self,
        place: usize,
        lane: &mut Lane,
        jobs: &mut HashMap<usize, (Vec<Job>, Vec<Job>)>,
        end: &mut MergeEnd,
    ) -> Result<()> {
        let start = self.start();
        let (mut members, changed) =
            tokio::try_join!(self.facts(&lane.members), self.changed(lane))?;
        members.sort_by_key(|m| lane.members.iter().position(|id| *id == m.id));
        let mut work = question::lane(start, lane, &members, changed.as_ref(), &self.place);
        let subject = format!("lane {}", lane.id.unwrap_or_default());
        let asked = crate::policy::wit::gate::Question(work.clone());
        // A lane has several members, or none: what a policy remembers of it is of the pipeline.
        let about = About {
            subject: &subject,
            items: 1,
            pull: None,
        };
        let mut gates: Vec<Said<Need>> = vec![];
        for bound in self.asking.bindings("gate") {
            match self.asking.one(bound, about, &asked, end).await? {
                Asked::Answered(place, answer) => {
                    self.asking.wake(None, &answer.basis, end);
                    self.asking
                        .remember(Hook::Gate, bound, about, place, &answer.basis);
                    gates.push(said(Need::from(answer.need), vec![], place, &answer.basis));
                }
                Asked::Abstained => {}
                Asked::Held(code, text, place) => {
                    self.asking.again(None, place, end);
                    lane.hold(&code, &text);
                    return Ok(());
                }
            }
        }
        lane.tags = gates.iter().flat_map(|said| said.tags.clone()).collect();
        let (need, why) = plan::need(&gates);
        match need {
            Need::Run => {}
            Need::Pass => {
                lane.pass(why, self.asking.at);
                return Ok(());
            }
            Need::Fail => {
                lane.end(LaneState::Failed, why, self.asking.at);
                return Ok(());
            }
            Need::Hold => {
                lane.hold(&why.code, &why.text);
                return Ok(());
            }
        }
        let mut tags: plan::Attrs = work.tags.into_iter().collect();
        tags.extend(lane.tags.clone());
        work.tags = tags.into_iter().collect();
        let Some(mut made) = self.run(lane, about, &work, end).await? else {
            return Ok(());
        };
        self.reuse(lane, &mut made).await?;
        plan::after(&mut made);
        lane.go(LaneState::Running, self.asking.at);
        jobs.insert(place, (made, vec![]));
        self.judge(place, lane, jobs, end).await
    }

    pub(super) async fn changed(&self, lane: &Lane) -> Result<Option<(String, i32)>> {
        match lane.id {
            Some(id) => self.engine.db.lane_changed(id).await,
            None => Ok(None),
        }
    }

    /// Asks which jobs test this; none: it holds.
    async fn run(
        &self,
        lane: &mut Lane,
        about: About<'_>,
        work: &types::Work,
        end: &mut MergeEnd,
    ) -> Result<Option<Vec<Job>>> {
        let asked = question::run(work.clone());
        for bound in self.asking.bindings("run") {
            match self.asking.one(bound, about, &asked, end).await? {
                Asked::Answered(place, answer) => match plan::jobs(&answer, place) {
                    Ok(jobs) => {
                        self.asking
                            .remember(Hook::Run, bound, about, place, &answer.basis);
                        return Ok(Some(jobs));
                    }
                    Err(refusal) => {
                        let _: Asked<()> = refused(&refusal, end);
                        lane.hold(refusal.code, &refusal.text);
                        return Ok(None);
                    }
                },
                Asked::Abstained => {}
                Asked::Held(code, text, place) => {
                    self.asking.again(None, place, end);
                    lane.hold(&code, &text);
                    return Ok(None);
                }
            }
        }
        let text = "no policy says which jobs test this: bind one to `run`";
        lane.hold("run.none", text);
        Ok(None)
    }

    /// Looks for passes of the same jobs on the same tree.
    async fn reuse(&self, lane: &Lane, jobs: &mut [Job]) -> Result<()> {
        let start = self.start();
        let mut ids: Vec<&str> = lane.heads.iter().map(String::as_str).collect();
        ids.extend(lane.commit.as_deref());
        ids.extend(lane.base.as_deref());
        let retests = lane.attrs.get(plan::RETESTS).map_or("", String::as_str);
        for job in jobs.iter_mut() {
            job.digest = plan::digest(job, &ids);
            if job.state != JobState::Waiting || !plan::reusable(job) {
                continue;
            }
            let tree = lane.tree.as_deref().unwrap_or_default();
            let found = self
                .engine
                .db
                .passed_before(start.repository_id, tree, &job.digest, retests)
                .await?;
            if let Some((id, of)) = found {
                let there = self.engine.db.lane_jobs(of).await?;
                let passed = there.into_iter().find(|j| j.id == Some(id));
                job.attempts = passed.map(|j| j.attempts).unwrap_or_default();
                job.state = JobState::Reused;
                job.reused_from = Some(id);
                job.passed = Some(true);
            }
        }
        Ok(())
    }

    /// Did it pass?
    async fn judge(
        &self,
        place: usize,
        lane: &mut Lane,
        all: &mut HashMap<usize, (Vec<Job>, Vec<Job>)>,
        end: &mut MergeEnd,
    ) -> Result<()> {
        let start = self.start();
        if let std::collections::hash_map::Entry::Vacant(entry) = all.entry(place) {
            let known = self
                .engine
                .db
                .lane_jobs(lane.id.unwrap_or_default())
                .await?;
            entry.insert((known.clone(), known));
        }
        let Some((jobs, _)) = all.get_mut(&place) else {
            return Ok(());
        };
        plan::settle(jobs);
        plan::after(jobs);
        let nothing_ended = !jobs.iter().any(|j| {
            j.reused_from.is_some()
                || j.state == JobState::Skipped
                || j.attempts.iter().any(|a| a.ended.is_some())
        });
        if nothing_ended {
            return Ok(());
        }
        let (mut members, changed) =
            tokio::try_join!(self.facts(&lane.members), self.changed(lane))?;
        members.sort_by_key(|m| lane.members.iter().position(|id| *id == m.id));
        let work = question::lane(start, lane, &members, changed.as_ref(), &self.place);
        let subject = format!("lane {}", lane.id.unwrap_or_default());
        let asked = question::triage(work, jobs);
        let about = About {
            subject: &subject,
            items: jobs.len(),
            pull: None,
        };
        let mut verdict = None;
        let mut answered = false;
        for bound in self.asking.bindings("triage") {
            match self.asking.one(bound, about, &asked, end).await? {
                Asked::Answered(decision, answer) => {
                    self.asking.wake(None, &answer.basis, end);
                    let at = self.asking.at;
                    match plan::triage(jobs, &lane.numbers, &answer, decision, at) {
                        Ok(triaged) => {
                            self.asking.remember(
                                Hook::Triage,
                                bound,
                                about,
                                decision,
                                &answer.basis,
                            );
                            for cancelled in triaged.cancelled {
                                plan::stop(
                                    &mut jobs[cancelled],
                                    "`triage` does not need it any more",
                                );
                            }
                            if triaged.verdict.is_some() {
                                lane.blame = triaged.blame;
                            }
                            verdict = triaged.verdict;
                        }
                        Err(refusal) => {
                            let _: Asked<()> = refused(&refusal, end);
                            lane.hold(refusal.code, &refusal.text);
                            return Ok(());
                        }
                    }
                    answered = true;
                    break;
                }
                Asked::Abstained => {}
                Asked::Held(code, text, place) => {
                    self.asking.again(None, place, end);
                    lane.hold(&code, &text);
                    return Ok(());
                }
            }
        }
        if !answered {
            verdict = plan::without_policy(jobs);
        }
        lane.held = None;
        let at = self.asking.at;
        match verdict {
            Some((Verdict::Pass, why)) => {
                lane.pass(why, at);
                // What has not begun would run for nobody.
                let unbegun = |job: &&mut Job| job.attempts.iter().all(|a| a.id.is_none());
                for job in jobs.iter_mut().filter(unbegun) {
                    plan::stop(job, "the run passed without it");
                }
            }
            Some((Verdict::Fail, why)) => lane.end(LaneState::Failed, why, at),
            Some((Verdict::Inconclusive, why)) => lane.end(LaneState::Inconclusive, why, at),
            None => {
                let goes_on = jobs
                    .iter()
                    .any(|j| matches!(j.state, JobState::Waiting | JobState::Running));
                if !goes_on {
                    lane.hold(
                        "triage.waits",
                        "every job has ended, and `triage` gives no verdict",
                    );
                }
            }
        }
        Ok(())
    }

    async fn select(
        &self,
        rails: &Rails<'_>,
        candidates: &[Candidate],
        lanes: &mut Vec<Lane>,
        ended: &[Lane],
        end: &mut MergeEnd,
    ) -> Result<()> {
        let start = self.start();
        let (living, over): (Vec<Lane>, Vec<Lane>) = lanes.iter().cloned().partition(|l| !l.ended);
        let mut tried = over.clone();
        // Whatever the memory of the policy: where a lane could stand now.
        let bases: Vec<&str> = living
            .iter()
            .filter_map(|lane| lane.commit.as_deref())
            .chain([self.tip])
            .collect();
        let (on_these, branch) = tokio::try_join!(
            self.engine.db.tried_on(start.pipeline, &bases),
            self.engine.db.branch_runs(start.pipeline),
        )?;
        tried.extend(on_these);
        // What was tried here first: a policy that knows it wishes for something else.
        let mut ended_now: Vec<Lane> = vec![];
        for lane in tried.iter().take(ENDED_LANES).chain(ended) {
            if ended_now.len() < ENDED_LANES && ended_now.iter().all(|l| l.id != lane.id) {
                ended_now.push(lane.clone());
            }
        }
        ended_now.sort_by_key(|lane| std::cmp::Reverse(lane.id));
        let asked = question::select(start, self.tip, candidates, &living, &ended_now, &branch);
        let about = About {
            subject: &start.target,
            items: asked.candidates.len(),
            pull: None,
        };
        for bound in self.asking.bindings("select") {
            match self.asking.one(bound, about, &asked, end).await? {
                Asked::Answered(place, answer) => {
                    self.asking.wake(None, &answer.basis, end);
                    match plan::lanes(rails, candidates, lanes, &tried, place, &answer) {
                        Ok(_) => {
                            self.asking
                                .remember(Hook::Select, bound, about, place, &answer.basis);
                        }
                        Err(refusal) => {
                            let _: Asked<()> = refused(&refusal, end);
                            end.hold = Some((refusal.code.to_owned(), refusal.text, Some(place)));
                        }
                    }
                    return Ok(());
                }
                Asked::Abstained => {}
                Asked::Held(code, text, place) => {
                    self.asking.again(None, place, end);
                    end.hold = Some((code, text, place));
                    return Ok(());
                }
            }
        }
        let answer = plan::oldest_approved(candidates, &living);
        // The host's own answer: there is no decision behind it.
        if let Err(refusal) = plan::lanes(rails, candidates, lanes, &tried, usize::MAX, &answer) {
            end.hold = Some((refusal.code.to_owned(), refusal.text, None));
        }
        Ok(())
    }

    /// Ends the jobs of lanes that are over.
    async fn stop_jobs(
        &self,
        lanes: &[Lane],
        before: &[Lane],
        jobs: &mut HashMap<usize, (Vec<Job>, Vec<Job>)>,
    ) -> Result<()> {
        for (place, was) in before.iter().enumerate() {
            let lane = &lanes[place];
            let has_jobs = matches!(
                was.state,
                LaneState::Built | LaneState::Running | LaneState::Passed
            );
            if !lane.ended || was.ended || !has_jobs {
                continue;
            }
            if let std::collections::hash_map::Entry::Vacant(entry) = jobs.entry(place) {
                let known = self
                    .engine
                    .db
                    .lane_jobs(lane.id.unwrap_or_default())
                    .await?;
                entry.insert((known.clone(), known));
            }
            if let Some((jobs, _)) = jobs.get_mut(&place) {
                for job in jobs {
                    plan::stop(job, &lane.why.text);
                }
            }
        }
        Ok(())
    }
}

/// Gives lanes their base that stand on one that was being built when they were planned.
fn based(lanes: &mut [Lane]) {
    for place in 0..lanes.len() {
        let below = match (&lanes[place].base, lanes[place].on) {
            (None, Some(plan::On::Lane(id))) => lanes.iter().find(|l| l.id == Some(id)),
            _ => None,
        };
        if let Some(commit) = below.and_then(|below| below.commit.clone()) {
            lanes[place].base = Some(commit);
        }
    }
}
