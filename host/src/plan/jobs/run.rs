//! The jobs of an answer, and what becomes of them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::{Attempt, Attrs, Job, JobState, Verdict, Why};
use crate::plan::{self, Refused};
use crate::policy::wit::{run, triage};

/// Jobs of one run, as the contract says.
const MAX_JOBS: usize = 256;
/// Bytes of a job's name, as the contract says.
const MAX_NAME: usize = 128;
/// Bytes of program and arguments, as the contract says.
const MAX_ARGV: usize = 64 << 10;
/// Attempts of one job, however often a policy wishes for another.
const MAX_ATTEMPTS: usize = 10;
/// Findings of one answer, as the contract says.
const MAX_FINDINGS: usize = 1_000;
/// How long another attempt may be put off.
const LONGEST_WAIT: chrono::Duration = chrono::Duration::days(7);
/// Why a job is skipped that comes after one that did not pass.
const AFTER_FAILED: &str = "after.failed";
/// The attr of a lane that tells another run of the same from the first.
pub const RETESTS: &str = "retests";

/// The jobs of an answer, or why it is refused.
pub fn jobs(answer: &run::Answer, decision: usize) -> Result<Vec<Job>, Refused> {
    read(answer).map_err(|(code, text)| Refused {
        code,
        text,
        decision: Some(decision),
    })
}

fn read(answer: &run::Answer) -> Result<Vec<Job>, (&'static str, String)> {
    if answer.jobs.is_empty() || answer.jobs.len() > MAX_JOBS {
        let text = format!("{} jobs: a run has 1 to {MAX_JOBS}", answer.jobs.len());
        return Err(("bad-jobs", text));
    }
    let mut names = HashSet::new();
    for job in &answer.jobs {
        let name = job.name.as_str();
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let text = format!("a job's name has 1 to {MAX_NAME} bytes and no control characters");
            return Err(("bad-job-name", text));
        }
        if !names.insert(name) {
            return Err(("job-twice", format!("the job `{name}` is there twice")));
        }
    }
    for job in &answer.jobs {
        let refuse = |code, text: &str| Err((code, format!("the job `{}`: {text}", job.name)));
        if job.argv.is_empty() && job.skip.is_none() {
            return refuse("no-command", "no program is given in `argv`");
        }
        if job.argv.iter().map(String::len).sum::<usize>() > MAX_ARGV {
            return refuse("command-too-long", "its command has more than 64 KiB");
        }
        let nul = |text: &String| text.contains('\0');
        if job.argv.iter().any(nul) || job.env.iter().any(|(k, v)| nul(k) || nul(v)) {
            return refuse("command-nul", "a NUL is in its command or its environment");
        }
        if !job.backend.is_empty() && job.backend != "local" {
            return refuse("unknown-backend", "the only job backend here is `local`");
        }
        if let Some(skip) = &job.skip
            && let Err(bad) = plan::reason(skip)
        {
            return refuse(bad.code, &bad.text);
        }
        if !job.image.is_empty() {
            return refuse("no-images", "the backend `local` runs programs, not images");
        }
        if let Some(after) = job.after.iter().find(|name| !names.contains(name.as_str())) {
            return refuse(
                "unknown-job",
                &format!("it comes after `{after}`, which is not there"),
            );
        }
    }
    if cyclic(answer) {
        return Err((
            "job-cycle",
            "jobs wait for each other in a circle".to_owned(),
        ));
    }
    Ok(answer.jobs.iter().map(job).collect())
}

fn cyclic(answer: &run::Answer) -> bool {
    let mut done: HashSet<&str> = HashSet::new();
    loop {
        let before = done.len();
        for job in &answer.jobs {
            if job.after.iter().all(|name| done.contains(name.as_str())) {
                done.insert(&job.name);
            }
        }
        if done.len() == before {
            return before < answer.jobs.len();
        }
    }
}

fn job(job: &run::Job) -> Job {
    let spec = serde_json::json!({
        "argv": job.argv,
        "env": job.env.iter().cloned().collect::<Attrs>(),
        "secrets": job.secrets,
        "capabilities": job.capabilities,
        "inputs": job.inputs,
        "artifacts": job.artifacts,
        "timeout_ms": job.timeout_ms,
        "attrs": job.attrs.iter().cloned().collect::<Attrs>(),
    });
    Job {
        id: None,
        name: job.name.clone(),
        digest: vec![],
        spec,
        required: job.weight == run::Weight::Required,
        after: job.after.clone(),
        state: match job.skip {
            Some(_) => JobState::Skipped,
            None => JobState::Waiting,
        },
        skipped: job.skip.as_ref().map(|r| (r.code.clone(), r.text.clone())),
        passed: None,
        reused_from: None,
        attempts: vec![],
    }
}

/// Names in a job's environment that begin so tell what it is tested on, and not what it does.
const SUBJECT_PREFIX: &str = "POINTSMAN_";

/// The attr in which a policy says what its job was before it was expanded.
const TEMPLATE: &str = "x-template";

/// What a job does, whatever it is tested on: with the tree, by what a pass is found again. `ids` are the
/// commits that it is given, which differ where the tree does not.
pub fn digest(job: &Job, ids: &[&str]) -> Vec<u8> {
    // A policy that expands a template knows best what it was before.
    if let Some(template) = job.spec["attrs"][TEMPLATE].as_str() {
        return Sha256::digest(format!("{}\0{template}", job.name)).to_vec();
    }
    let mut spec = job.spec.clone();
    if let Some(env) = spec
        .get_mut("env")
        .and_then(serde_json::Value::as_object_mut)
    {
        env.retain(|name, _| !name.starts_with(SUBJECT_PREFIX));
    }
    spec["name"] = job.name.clone().into();
    let mut text = crate::contract::text(&spec);
    for id in ids.iter().filter(|id| id.len() >= 40) {
        text = text.replace(id, "");
    }
    Sha256::digest(text).to_vec()
}

/// Whether a pass of this job counts on the same tree again.
pub fn reusable(job: &Job) -> bool {
    job.spec["attrs"]["reuse"] != "never"
}

/// Starts what may start now, and skips what never will. Returns the places of jobs that begin.
pub fn after(jobs: &mut [Job]) -> Vec<usize> {
    let mut begun = vec![];
    loop {
        let mut changed = false;
        for place in 0..jobs.len() {
            if jobs[place].state != JobState::Waiting || !jobs[place].attempts.is_empty() {
                continue;
            }
            let before: Vec<&Job> = jobs
                .iter()
                .filter(|j| jobs[place].after.contains(&j.name))
                .collect();
            let failed = before.iter().find(|j| {
                j.passed == Some(false)
                    || matches!(j.state, JobState::Skipped | JobState::Cancelled)
            });
            if let Some(failed) = failed {
                let why = (
                    AFTER_FAILED.to_owned(),
                    format!("`{}` did not pass", failed.name),
                );
                jobs[place].state = JobState::Skipped;
                jobs[place].skipped = Some(why);
                changed = true;
            } else if before.iter().all(|j| j.passed == Some(true)) {
                jobs[place].attempts.push(Attempt::planned(1));
                begun.push(place);
                changed = true;
            }
        }
        if !changed {
            return begun;
        }
    }
}

/// What `triage` wants.
#[derive(Debug, Default)]
pub struct Triaged {
    /// The verdict, if there is one.
    pub verdict: Option<(Verdict, Why)>,
    /// Numbers of members to try without.
    pub blame: Vec<i32>,
    /// Places of jobs that have another attempt now.
    pub retried: Vec<usize>,
    /// Places of jobs that need not go on.
    pub cancelled: Vec<usize>,
}

/// Brings the jobs to what an answer of `triage` wants; an answer that is refused changes none.
pub fn triage(
    jobs: &mut [Job],
    numbers: &[i32],
    answer: &triage::Answer,
    decision: usize,
    at: DateTime<Utc>,
) -> Result<Triaged, Refused> {
    let mut changed = jobs.to_vec();
    let triaged = bring(&mut changed, numbers, answer, decision, at)?;
    jobs.clone_from_slice(&changed);
    Ok(triaged)
}

fn bring(
    jobs: &mut [Job],
    numbers: &[i32],
    answer: &triage::Answer,
    decision: usize,
    at: DateTime<Utc>,
) -> Result<Triaged, Refused> {
    let refuse = |code: &'static str, text: String| Refused {
        code,
        text,
        decision: Some(decision),
    };
    let find = |jobs: &[Job], name: &str| {
        jobs.iter().position(|j| j.name == name).ok_or_else(|| {
            refuse(
                "unknown-job",
                format!("there is no job `{name}` in this run"),
            )
        })
    };
    if answer.verdict.is_some() && !answer.retry.is_empty() {
        let text = "an answer has a verdict or a retry, not both".to_owned();
        return Err(refuse("verdict-and-retry", text));
    }
    let mut triaged = Triaged::default();
    for number in &answer.blame {
        match numbers
            .iter()
            .find(|n| u64::from(n.unsigned_abs()) == *number)
        {
            Some(number) => triaged.blame.push(*number),
            None => {
                let text = format!("#{number} is no member, so it cannot be blamed");
                return Err(refuse("unknown-pull-request", text));
            }
        }
    }
    for retry in &answer.retry {
        let place = find(jobs, &retry.job)?;
        let job = &mut jobs[place];
        if job.attempts.last().is_none_or(|a| a.ended.is_none()) {
            let text = format!(
                "the job `{}` has not ended, so it cannot be tried again",
                job.name
            );
            return Err(refuse("job-running", text));
        }
        if job.attempts.len() >= MAX_ATTEMPTS {
            let text = format!(
                "the job `{}` had {MAX_ATTEMPTS} attempts: there are no more",
                job.name
            );
            return Err(refuse("too-many-attempts", text));
        }
        if job.reused_from.take().is_some() {
            // Those attempts are another job's.
            job.attempts.clear();
        }
        let number = job.attempts.len() as i32 + 1;
        let before = DateTime::from_timestamp_millis(retry.not_before.cast_signed());
        job.attempts.push(Attempt {
            attrs: retry.attrs.iter().cloned().collect(),
            // As `wake-at` is: a slot is not kept for ever.
            not_before: before.filter(|b| *b > at).map(|b| b.min(at + LONGEST_WAIT)),
            ..Attempt::planned(number)
        });
        job.state = JobState::Waiting;
        job.passed = None;
        triaged.retried.push(place);
    }
    if !triaged.retried.is_empty() {
        // What was skipped because one of these failed may go on when it passes.
        for job in jobs.iter_mut() {
            let hangs = job.state == JobState::Skipped
                && job.attempts.is_empty()
                && job.skipped.as_ref().is_some_and(|s| s.0 == AFTER_FAILED);
            if hangs {
                job.state = JobState::Waiting;
                job.skipped = None;
            }
        }
        after(jobs);
    }
    for name in &answer.cancel {
        triaged.cancelled.push(find(jobs, name)?);
    }
    let found = answer.findings.len();
    if found > MAX_FINDINGS {
        let text = format!("{found} findings, and {MAX_FINDINGS} may be");
        return Err(refuse("too-many-findings", text));
    }
    let passes = answer.verdict == Some(crate::policy::wit::types::Verdict::Pass);
    for finding in &answer.findings {
        let place = find(jobs, &finding.job)?;
        // Whatever its exit code says, nobody may take this for a pass on the same tree again.
        if finding.test.is_empty() && answer.verdict.is_some() && !passes {
            jobs[place].passed = jobs[place].passed.map(|_| false);
        }
    }
    if let Some(verdict) = answer.verdict {
        let verdict = match verdict {
            crate::policy::wit::types::Verdict::Pass => Verdict::Pass,
            crate::policy::wit::types::Verdict::Fail => Verdict::Fail,
            crate::policy::wit::types::Verdict::Inconclusive => Verdict::Inconclusive,
        };
        let why = Why {
            code: crate::plan::cut(&answer.basis.reason.code, crate::plan::MAX_REASON_CODE),
            text: crate::plan::cut(&answer.basis.reason.text, crate::plan::MAX_REASON_TEXT),
            decision: Some(decision),
        };
        triaged.verdict = Some((verdict, why));
    }
    Ok(triaged)
}

/// With nothing bound to `triage` the exit code decides: 0 passes; lost is inconclusive.
pub fn without_policy(jobs: &[Job]) -> Option<(Verdict, Why)> {
    let mut lost = None;
    for job in jobs.iter().filter(|j| j.required) {
        match job.state {
            JobState::Reused => {}
            JobState::Skipped
                if job.attempts.is_empty()
                    && job.skipped.as_ref().is_some_and(|s| s.0 != AFTER_FAILED) => {}
            JobState::Ended | JobState::Skipped | JobState::Cancelled => {
                let last = job.attempts.last();
                match last.and_then(|a| a.ended.as_deref()) {
                    Some("exited") if last.and_then(|a| a.exit_code) == Some(0) => {}
                    Some("lost" | "setup-failed") => lost = Some(&job.name),
                    Some("exited") => {
                        let code = last.and_then(|a| a.exit_code).unwrap_or(-1);
                        let text = format!("`{}` ended with exit code {code}", job.name);
                        return Some((Verdict::Fail, Why::host("job.failed", text)));
                    }
                    Some(other) => {
                        let text = format!("`{}` {other}", job.name);
                        return Some((Verdict::Fail, Why::host("job.failed", text)));
                    }
                    None => {
                        let text = format!("`{}` was not run", job.name);
                        return Some((Verdict::Fail, Why::host("job.failed", text)));
                    }
                }
            }
            JobState::Waiting | JobState::Running => {
                // One that failed decides; what others say is of no weight then.
                continue;
            }
        }
    }
    if jobs
        .iter()
        .any(|j| j.required && matches!(j.state, JobState::Waiting | JobState::Running))
    {
        return None;
    }
    Some(match lost {
        Some(name) => {
            let text = format!("`{name}` was lost: nobody knows what it would have said");
            (Verdict::Inconclusive, Why::host("job.lost", text))
        }
        None => (
            Verdict::Pass,
            Why::host("job.passed", "every required job passed"),
        ),
    })
}
