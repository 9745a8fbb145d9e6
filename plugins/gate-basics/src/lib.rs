//! Holds what must not run: drafts, heads that do not merge, heads of strangers, and what people hold.
//!
//! It judges heads. A lane or the bare target runs, as its members were judged before. A branch that is
//! frozen does not hold a test: what may land is for `select` to say, and the reason tells of it. For
//! `select` it hands on what people asked for: `retest` and `try`.

mod asked;
mod judge;
mod settings;

use pointsman_sdk::{Context, Gate, Policy, Problem, Stop, Work, gate};

pub use judge::decide;
pub use settings::Settings;

/// The stock `gate` policy.
pub struct GateBasics;

impl Policy for GateBasics {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl Gate for GateBasics {
    fn gate(context: &Context<Settings>, work: Work) -> Result<gate::Answer, Stop> {
        decide(&context.settings, &context.attrs, &work)
    }
}

pointsman_sdk::export!(GateBasics: gate, settings);
