//! For a repository that builds against one pinned commit of another: the pin must be one, heads are green
//! without a run, and the merge queue runs what matters.
//!
//! The pin is a file that holds one commit id and nothing else. Whatever the change is, one that is missing
//! or malformed is a fail. A label asks for a real run of a head; a push makes it stale, and the hook `react`
//! takes it off.

mod judge;
mod settings;

use pointsman_sdk::{Basis, Context, Gate, Policy, Problem, React, Stop, Work, gate, react};

pub use judge::{decide, strip};
pub use settings::Settings;

/// The stock policy for pins.
pub struct PinGate;

impl Policy for PinGate {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl Gate for PinGate {
    fn gate(context: &Context<Settings>, work: Work) -> Result<gate::Answer, Stop> {
        let settings = &context.settings;
        let query = settings.query();
        match context.found("file", &query) {
            Some(found) => decide(settings, found, &work),
            None => Err(Stop::ask("file", query)),
        }
    }
}

impl React for PinGate {
    fn react(context: &Context<Settings>, event: react::Question) -> Result<react::Answer, Stop> {
        let acts: Vec<_> = strip(&context.settings, &event).into_iter().collect();
        let basis = if acts.is_empty() {
            Basis::because("label.left", "No label is stale.")
        } else {
            Basis::because("label.stale", "The label was put on for an older head.")
        };
        Ok(react::Answer::new(acts, basis))
    }
}

pointsman_sdk::export!(PinGate: gate, react, settings);
