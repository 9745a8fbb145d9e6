//! What became of the run.

use pointsman_policy_kit::text::{REASON_BYTES, clip, count, list};
use pointsman_sdk::triage::{Answer, Finding, JobState, Question, Retry};
use pointsman_sdk::{Basis, Verdict, attr};

use crate::Settings;
use crate::outcome::{Outcome, lost_attempts};
use crate::settings::MAX_ATTEMPTS;

/// Findings of an answer: the contract's limit.
const MAX_FINDINGS: usize = 1_000;

/// Bytes of the verdict's reason that quote what became of a job, which leaves room for the names.
const QUOTED_BYTES: usize = 400;

/// Whether the run passed.
#[must_use]
pub fn decide(settings: &Settings, question: &Question) -> Answer {
    let jobs: Vec<(&JobState, Outcome)> = question
        .jobs
        .iter()
        .map(|job| (job, Outcome::of(settings, job)))
        .collect();
    let mut answer = verdict(settings, &jobs);
    answer.findings = findings(&jobs);
    answer
}

fn verdict(settings: &Settings, jobs: &[(&JobState, Outcome)]) -> Answer {
    let required: Vec<&(&JobState, Outcome)> = jobs
        .iter()
        .filter(|(job, _)| job.weight != "informative")
        .collect();
    let open = |jobs: &[&(&JobState, Outcome)]| -> Vec<String> {
        let open = jobs.iter().filter(|(_, outcome)| *outcome == Outcome::Open);
        open.map(|(job, _)| job.name.clone()).collect()
    };

    let failed: Vec<(&str, &str)> = required
        .iter()
        .filter_map(|(job, outcome)| match outcome {
            Outcome::Failed(why) => Some((job.name.as_str(), why.as_str())),
            _ => None,
        })
        .collect();
    let all: Vec<&(&JobState, Outcome)> = jobs.iter().collect();
    if let Some((name, why)) = failed.first()
        && (!settings.keep_going || open(&required).is_empty())
    {
        let text = match failed.as_slice() {
            [_] => format!("The job {name} failed: {}", clip(why, QUOTED_BYTES)),
            many => {
                let names: Vec<&str> = many.iter().map(|(name, _)| *name).collect();
                format!(
                    "{} failed: {}.",
                    count(many.len(), "job", "jobs"),
                    list(&names)
                )
            }
        };
        let mut answer = Answer::new(Some(Verdict::Fail), because("job.failed", &text));
        answer.cancel = open(&all);
        return answer;
    }

    let mut retry = Vec::new();
    let mut unknown = Vec::new();
    for (job, outcome) in &required {
        match outcome {
            Outcome::Lost(_)
                if lost_attempts(settings, job) <= settings.retries
                    && job.attempts.len() < MAX_ATTEMPTS =>
            {
                retry.push(Retry {
                    job: job.name.clone(),
                    not_before: 0,
                    attrs: Vec::new(),
                });
            }
            Outcome::Lost(why) => unknown.push((job, "job.lost", why)),
            Outcome::Unknown { code, text } => unknown.push((job, code, text)),
            _ => {}
        }
    }
    let waiting = open(&required);
    if !waiting.is_empty() || !retry.is_empty() {
        let text = match retry.as_slice() {
            [] => format!(
                "{} not ended yet: {}.",
                count(waiting.len(), "required job has", "required jobs have"),
                list(&waiting)
            ),
            retries => {
                let names: Vec<&str> = retries.iter().map(|retry| retry.job.as_str()).collect();
                format!("The machinery lost {}, which is tried again.", list(&names))
            }
        };
        let code = if retry.is_empty() {
            "jobs.open"
        } else {
            "job.retried"
        };
        let mut answer = Answer::new(None, because(code, &text));
        answer.retry = retry;
        return answer;
    }
    if let Some((job, code, why)) = unknown.first() {
        let text = format!(
            "The job {} says nothing of the change: {}",
            job.name,
            clip(why, QUOTED_BYTES)
        );
        let mut answer = Answer::new(Some(Verdict::Inconclusive), because(code, &text));
        answer.cancel = open(&all);
        return answer;
    }
    let passed = required
        .iter()
        .filter(|(_, outcome)| *outcome == Outcome::Passed)
        .count();
    if passed == 0 {
        let text = "No required job ran, so nothing is known. Make one of the jobs required, or let `gate` pass what needs no run.";
        let mut answer = Answer::new(Some(Verdict::Inconclusive), because("jobs.none", text));
        answer.cancel = open(&all);
        return answer;
    }
    let text = format!("{} passed.", count(passed, "required job", "required jobs"));
    Answer::new(Some(Verdict::Pass), because("jobs.passed", &text))
}

fn because(code: &str, text: &str) -> Basis {
    Basis::because(code, clip(text, REASON_BYTES))
}

/// What people should read: what failed of the required jobs, then of the others, then what was skipped.
fn findings(jobs: &[(&JobState, Outcome)]) -> Vec<Finding> {
    let mut found: Vec<(u8, Finding)> = Vec::new();
    for (job, outcome) in jobs {
        let is_informative = job.weight == "informative";
        let rank = |rank: u8| if is_informative { rank + 1 } else { rank };
        let mut whole =
            |order, class: &str, text: &str| found.push((order, finding(job, "", class, text)));
        match outcome {
            Outcome::Failed(why) => whole(rank(0), "failed", why),
            Outcome::Lost(why) => whole(rank(2), "infrastructure", why),
            Outcome::Unknown { text, .. } => whole(rank(2), "inconclusive", text),
            Outcome::Skipped => {
                let code = job.skipped.as_deref().unwrap_or_default();
                whole(4, "skipped", &format!("It was not started: {code}."));
            }
            Outcome::Open | Outcome::Passed => {}
        }
        for test in job.last().into_iter().flat_map(|attempt| &attempt.tests) {
            let (order, class) = match test.outcome.as_str() {
                "skipped" => (4, "skipped"),
                _ => (rank(0), "failed"),
            };
            let text = match (class, attr(&test.attrs, "capability")) {
                ("skipped", Some(missing)) => {
                    format!("It needs {missing}, which this job does not have.")
                }
                _ if test.message.is_empty() => format!("It is reported as {}.", test.outcome),
                _ => test.message.clone(),
            };
            let mut finding = finding(job, &test.name, class, &text);
            finding.attrs.clone_from(&test.attrs);
            found.push((order, finding));
        }
    }
    // The order within a rank is that of the jobs and of their reports.
    found.sort_by_key(|(order, _)| *order);
    found
        .into_iter()
        .map(|(_, finding)| finding)
        .take(MAX_FINDINGS)
        .collect()
}

fn finding(job: &JobState, test: &str, class: &str, text: &str) -> Finding {
    Finding {
        job: job.name.clone(),
        test: test.to_owned(),
        class: class.to_owned(),
        text: clip(text, REASON_BYTES),
        attrs: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
