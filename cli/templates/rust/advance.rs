//! What is next for a version? Here: it moves up when a run of its stage passed.

use pointsman_sdk::{Advance, Basis, Context, Policy, Stop, Verdict, advance};
use schemars::JsonSchema;
use serde::Deserialize;

/// What people set when they bind it. A field that is not here is refused, and named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The purpose of the runs that move a version up.
    pub purpose: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            purpose: "test".to_owned(),
        }
    }
}

/// The policy.
pub struct MyPolicy;

impl Policy for MyPolicy {
    type Settings = Settings;
}

impl Advance for MyPolicy {
    fn advance(
        context: &Context<Settings>,
        question: advance::Question,
    ) -> Result<advance::Answer, Stop> {
        let purpose = &context.settings.purpose;
        let mut steps = Vec::new();
        for (index, kernel) in (0..).zip(&question.kernels) {
            let passed = kernel
                .tried(purpose)
                .is_some_and(|tried| tried.verdict == Some(Verdict::Pass));
            // The next stage above its own that a policy may move it into.
            let next = question.stage(&kernel.stage).and_then(|own| {
                question
                    .stages
                    .iter()
                    .find(|stage| stage.rank > own.rank && stage.moved_by == advance::Mover::Policy)
            });
            let mut step = advance::Step::stay(index, Basis::because("", ""));
            match (passed, next) {
                (true, Some(next)) => {
                    step.stage = Some(next.name.clone());
                    step.basis = Basis::because("run.passed", format!("Its {purpose} run passed."));
                }
                _ => {
                    step.purpose = Some(purpose.clone());
                    step.basis =
                        Basis::because("run.wanted", format!("It waits for its {purpose} run."));
                }
            }
            steps.push(step);
        }
        Ok(advance::Answer {
            steps,
            basis: Basis::because("steps.taken", "Each version was looked at by itself."),
        })
    }
}

pointsman_sdk::export!(MyPolicy: advance, settings);
