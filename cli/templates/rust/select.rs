//! Which lanes should there be? Here: one, for the pull request that was approved first.

use pointsman_sdk::{Approval, Basis, Context, Policy, Reason, Select, Stop, select};
use schemars::JsonSchema;
use serde::Deserialize;

/// What people set when they bind it. A field that is not here is refused, and named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Pull requests with this label wait.
    pub hold_label: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            hold_label: "hold".to_owned(),
        }
    }
}

/// The policy.
pub struct MyPolicy;

impl Policy for MyPolicy {
    type Settings = Settings;
}

impl Select for MyPolicy {
    fn select(
        context: &Context<Settings>,
        question: select::Question,
    ) -> Result<select::Answer, Stop> {
        let held = |candidate: &select::Candidate| {
            pointsman_sdk::packed::unpack(&candidate.labels)
                .any(|label| label == context.settings.hold_label)
        };
        let first = question
            .candidates
            .iter()
            .filter(|candidate| candidate.approval == Approval::Approved && !held(candidate))
            .min_by_key(|candidate| (candidate.approved_at, candidate.number));
        let mut answer =
            select::Answer::new(Basis::because("oldest", "The first approved goes first."));
        if let Some(first) = first {
            let reason = Reason::new("oldest", "It was approved first.");
            answer
                .lanes
                .push(select::Lane::merge(vec![first.number], reason));
        }
        Ok(answer)
    }
}

pointsman_sdk::export!(MyPolicy: select, settings);
