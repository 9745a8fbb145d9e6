//! Does this need a run? Here: not if it only touches documentation.

use pointsman_sdk::{Basis, Context, Gate, Need, Policy, Stop, Work, gate};
use schemars::JsonSchema;
use serde::Deserialize;

/// What people set when they bind it. A field that is not here is refused, and named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Changes to files with these endings alone need no run.
    pub endings: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            endings: vec![".md".to_owned()],
        }
    }
}

/// The policy.
pub struct MyPolicy;

impl Policy for MyPolicy {
    type Settings = Settings;
}

impl Gate for MyPolicy {
    fn gate(context: &Context<Settings>, work: Work) -> Result<gate::Answer, Stop> {
        let is_text = |path: &&str| {
            let endings = &context.settings.endings;
            endings.iter().any(|ending| path.ends_with(ending.as_str()))
        };
        // Where not all paths are known, nothing is known of the rest.
        let (need, basis) = match work.changed_paths() {
            Some(paths) if !paths.is_empty() && paths.iter().all(is_text) => (
                Need::Pass,
                Basis::because("paths.irrelevant", "It only changes documentation."),
            ),
            _ => (
                Need::Run,
                Basis::because("paths.relevant", "It changes more than documentation."),
            ),
        };
        Ok(gate::Answer::new(need, basis))
    }
}

pointsman_sdk::export!(MyPolicy: gate, settings);
