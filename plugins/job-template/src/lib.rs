//! Jobs from a template in the settings.
//!
//! A job is a program with its arguments, or a script. Values of variables never become part of a
//! script's text: a script finds them in its environment (`$POINTSMAN_WORK_COMMIT`); in arguments
//! `${work.commit}` stands for the value, which stays within its argument. A variable that nobody knows is
//! refused when the settings are saved, and one without a value when the job would start: a command with
//! a hole in it is not run.
//!
//! Where there is a commit to test, the job's folder is a checkout of exactly that commit, whose tree was
//! compared with the one that is to be tested.

mod checkout;
mod expand;
mod settings;
mod template;
mod variables;

use pointsman_sdk::{Context, Policy, Problem, Run, Stop, Work, run};

pub use checkout::CHECKOUT;
pub use expand::decide;
pub use settings::{JobTemplate, Settings, Variant, Weight};

/// The stock `run` policy.
pub struct JobsFromTemplate;

impl Policy for JobsFromTemplate {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl Run for JobsFromTemplate {
    fn run(context: &Context<Settings>, work: Work) -> Result<run::Answer, Stop> {
        decide(&context.settings, &work)
    }
}

pointsman_sdk::export!(JobsFromTemplate: run, settings);
