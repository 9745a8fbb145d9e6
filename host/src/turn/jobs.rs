//! The questions about jobs: the same for a lane and for a kernel version's run.

use std::collections::BTreeMap;

use crate::plan::jobs::{Attempt, Job, JobState};
use crate::policy::wit::{run, triage, types};

/// Which jobs test this?
pub(crate) fn run(work: types::Work) -> run::Question {
    run::Question(work)
}

/// Did it pass?
pub(crate) fn triage(work: types::Work, jobs: &[Job]) -> triage::Question {
    triage::Question {
        work,
        jobs: jobs.iter().map(job_state).collect(),
    }
}

fn job_state(job: &Job) -> triage::JobState {
    let list = |key: &str| -> Vec<String> {
        let list = job.spec[key]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    let given = job.spec["attrs"].as_object();
    let mut attrs: BTreeMap<String, String> = given
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    if job.state == JobState::Reused {
        attrs.insert("reused".to_owned(), "true".to_owned());
    }
    triage::JobState {
        name: job.name.clone(),
        weight: if job.required {
            "required"
        } else {
            "informative"
        }
        .to_owned(),
        skipped: job.skipped.as_ref().map(|s| s.0.clone()),
        capabilities: list("capabilities"),
        attempts: job.attempts.iter().map(attempt).collect(),
        attrs: attrs.into_iter().collect(),
    }
}

fn attempt(attempt: &Attempt) -> triage::Attempt {
    let tests = attempt
        .tests
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    triage::Attempt {
        number: attempt.number.unsigned_abs(),
        ended: attempt.ended.clone(),
        exit_code: attempt.exit_code,
        tests: tests
            .iter()
            .map(|test| {
                let text = |key: &str| test[key].as_str().unwrap_or_default().to_owned();
                triage::Test {
                    name: text("name"),
                    outcome: text("outcome"),
                    message: text("message"),
                    attrs: vec![],
                }
            })
            .collect(),
        tests_total: attempt.tests_total.unsigned_abs(),
        tests_passed: attempt.tests_passed.unsigned_abs(),
        outputs: attempt.outputs.clone().into_iter().collect(),
    }
}
