//! Which jobs test this? Here: one, with the command from the settings.

use pointsman_sdk::{Basis, Context, Policy, Run, Stop, Work, run};
use schemars::JsonSchema;
use serde::Deserialize;

/// What people set when they bind it. A field that is not here is refused, and named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Program and arguments.
    pub command: Vec<String>,
    /// How long it may take, in seconds.
    pub timeout_secs: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            command: vec!["make".to_owned(), "check".to_owned()],
            timeout_secs: 3_600,
        }
    }
}

/// The policy.
pub struct MyPolicy;

impl Policy for MyPolicy {
    type Settings = Settings;
}

impl Run for MyPolicy {
    fn run(context: &Context<Settings>, work: Work) -> Result<run::Answer, Stop> {
        let settings = &context.settings;
        let mut job = run::Job::new("check", settings.command.iter().cloned());
        job.timeout_ms = settings.timeout_secs * 1_000;
        // What a job is told is what its result depends on.
        job.env.push(("PURPOSE".to_owned(), work.purpose));
        let basis = Basis::because("jobs.one", "One job tests it.");
        Ok(run::Answer::new(vec![job], basis))
    }
}

pointsman_sdk::export!(MyPolicy: run, settings);
