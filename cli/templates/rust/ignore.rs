//! Which versions need no runs? Here: those that few hosts have.

use pointsman_sdk::{Basis, Context, Ignore, Policy, Reason, Stop, ignore};
use schemars::JsonSchema;
use serde::Deserialize;

/// What people set when they bind it. A field that is not here is refused, and named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Versions on fewer hosts than this need no runs.
    pub hosts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { hosts: 1 }
    }
}

/// The policy.
pub struct MyPolicy;

impl Policy for MyPolicy {
    type Settings = Settings;
}

impl Ignore for MyPolicy {
    fn ignore(
        context: &Context<Settings>,
        question: ignore::Question,
    ) -> Result<ignore::Answer, Stop> {
        let least = context.settings.hosts;
        let basis = Basis::because("hosts.counted", "Versions that few hosts have are ignored.");
        let mut answer = ignore::Answer::new(basis);
        let text = format!("Fewer than {least} hosts have it.");
        let few = answer.ground("automatic", None, Reason::new("hosts.few", text));
        for (index, _name, version) in question.iter() {
            if version.hosts < least {
                answer.ignore(index, few);
            }
        }
        Ok(answer)
    }
}

pointsman_sdk::export!(MyPolicy: ignore, settings);
