//! Did it pass? Here: if every required job exited with 0; one that was lost is tried again.

use pointsman_sdk::{Basis, Context, Policy, Stop, Triage, Verdict, triage};
use schemars::JsonSchema;
use serde::Deserialize;

/// What people set when they bind it. A field that is not here is refused, and named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Attempts of a job that was lost.
    pub attempts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { attempts: 2 }
    }
}

/// The policy.
pub struct MyPolicy;

impl Policy for MyPolicy {
    type Settings = Settings;
}

impl Triage for MyPolicy {
    fn triage(
        context: &Context<Settings>,
        question: triage::Question,
    ) -> Result<triage::Answer, Stop> {
        let mut waiting = false;
        let mut failed = Vec::new();
        let mut retry = Vec::new();
        for job in question.jobs.iter().filter(|job| job.weight == "required") {
            let Some(last) = job.last() else {
                waiting |= job.skipped.is_none();
                continue;
            };
            match (last.ended.as_deref(), last.exit_code) {
                (None, _) => waiting = true,
                (Some("exited"), Some(0)) => {}
                (Some("lost"), _) if last.number < context.settings.attempts => {
                    retry.push(triage::Retry {
                        job: job.name.clone(),
                        not_before: 0,
                        attrs: Vec::new(),
                    });
                }
                _ => failed.push(job.name.clone()),
            }
        }
        let (verdict, basis) = if let Some(job) = failed.first() {
            let basis = Basis::because("job.failed", format!("The job {job} failed."));
            (Some(Verdict::Fail), basis)
        } else if waiting || !retry.is_empty() {
            (
                None,
                Basis::because("jobs.open", "Not every job has ended."),
            )
        } else {
            let basis = Basis::because("jobs.passed", "Every required job passed.");
            (Some(Verdict::Pass), basis)
        };
        let mut answer = triage::Answer::new(verdict, basis);
        if answer.verdict.is_none() {
            answer.retry = retry;
        }
        Ok(answer)
    }
}

pointsman_sdk::export!(MyPolicy: triage, settings);
