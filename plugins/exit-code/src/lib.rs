//! Judges a run by the exit codes of its required jobs.
//!
//! A job that exited with 0 passed, unless it should have reported tests and none ran. One that exited
//! with anything else, or ran out of time, failed for good, and the rest of the run is called off. One
//! that the machinery lost is tried again, a few times; then nobody knows, and the run is inconclusive:
//! never a pass on a guess. Informative jobs are reported and decide nothing.

mod judge;
mod outcome;
mod settings;

use pointsman_sdk::{Context, Policy, Problem, Stop, Triage, triage};

pub use judge::decide;
pub use settings::Settings;

/// The stock `triage` policy.
pub struct ExitCode;

impl Policy for ExitCode {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl Triage for ExitCode {
    fn triage(
        context: &Context<Settings>,
        question: triage::Question,
    ) -> Result<triage::Answer, Stop> {
        Ok(decide(&context.settings, &question))
    }
}

pointsman_sdk::export!(ExitCode: triage, settings);
