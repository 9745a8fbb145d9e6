//! The jobs of a lane or of a kernel version's run, and what becomes of them: pure, without I/O.
//!
//! `run` reads the answers of the hooks `run` and `triage`, and says which job may start.

mod run;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

pub use run::{RETESTS, Triaged, after, digest, jobs, reusable, triage, without_policy};

/// Attrs of a lane or of a job, tags of a pull request.
pub type Attrs = BTreeMap<String, String>;

/// Why, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Why {
    /// Stable.
    pub code: String,
    /// For people.
    pub text: String,
    /// The decision, by its place among those of the turn; none: the host's own.
    pub decision: Option<usize>,
}

impl Why {
    /// The host's own reason.
    pub fn host(code: &str, text: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            text: text.into(),
            decision: None,
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All that is required passed.
    Pass,
    /// Something that is required did not.
    Fail,
    /// Nobody can say.
    Inconclusive,
}

/// A job of a lane or of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id; none while it is only planned.
    pub id: Option<i64>,
    /// Unique among those that are run together.
    pub name: String,
    /// What it does, as the policy gave it.
    pub spec: serde_json::Value,
    /// What it does, for finding it again.
    pub digest: Vec<u8>,
    /// The run passes only if it does.
    pub required: bool,
    /// Names of jobs that must have passed before it starts.
    pub after: Vec<String>,
    /// Where it is.
    pub state: JobState,
    /// Why it is skipped.
    pub skipped: Option<(String, String)>,
    /// Whether it passed.
    pub passed: Option<bool>,
    /// The job whose pass counts for this one.
    pub reused_from: Option<i64>,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// For others, or for its attempt.
    Waiting,
    /// An attempt runs.
    Running,
    /// It has ended.
    Ended,
    /// It is not run.
    Skipped,
    /// It need not go on.
    Cancelled,
    /// A pass of the same job on the same tree counts.
    Reused,
}

impl JobState {
    const NAMES: [(JobState, &'static str); 6] = [
        (Self::Waiting, "waiting"),
        (Self::Running, "running"),
        (Self::Ended, "ended"),
        (Self::Skipped, "skipped"),
        (Self::Cancelled, "cancelled"),
        (Self::Reused, "reused"),
    ];

    /// As the record has it.
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(state, _)| *state == self);
        found.map_or("", |(_, name)| name)
    }

    /// By its name in the record.
    pub fn of(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(_, known)| *known == name);
        found.map(|(state, _)| *state)
    }
}

/// One attempt of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Its id; none while it is only planned.
    pub id: Option<i64>,
    /// 1 is the first.
    pub number: i32,
    /// How it ended; none: it has not.
    pub ended: Option<String>,
    /// Where it exited by itself.
    pub exit_code: Option<i32>,
    /// Tests that did not pass.
    pub tests: serde_json::Value,
    /// How many there were.
    pub tests_total: i32,
    /// How many passed.
    pub tests_passed: i32,
    /// What the job wrote.
    pub outputs: Attrs,
    /// Over the job's own.
    pub attrs: Attrs,
    /// Not earlier than this.
    pub not_before: Option<DateTime<Utc>>,
    /// Why it is to end, if it is.
    pub cancel: Option<String>,
}

impl Attempt {
    /// One that is to be made.
    pub fn planned(number: i32) -> Self {
        Self {
            id: None,
            number,
            ended: None,
            exit_code: None,
            tests: serde_json::json!([]),
            tests_total: 0,
            tests_passed: 0,
            outputs: Attrs::new(),
            attrs: Attrs::new(),
            not_before: None,
            cancel: None,
        }
    }
}

/// Takes over how attempts ended.
pub fn settle(jobs: &mut [Job]) {
    for job in jobs {
        if !matches!(job.state, JobState::Waiting | JobState::Running) {
            continue;
        }
        if let Some(last) = job.attempts.last()
            && let Some(ended) = &last.ended
        {
            job.state = JobState::Ended;
            job.passed = Some(ended == "exited" && last.exit_code == Some(0));
        }
    }
}

/// A job that need not go on.
pub fn stop(job: &mut Job, why: &str) {
    if !matches!(job.state, JobState::Waiting | JobState::Running) {
        return;
    }
    job.state = JobState::Cancelled;
    for attempt in &mut job.attempts {
        if attempt.ended.is_none() && attempt.id.is_some() && attempt.cancel.is_none() {
            attempt.cancel = Some(why.to_owned());
        }
    }
    // What was only planned is not begun.
    job.attempts.retain(|a| a.id.is_some());
}
