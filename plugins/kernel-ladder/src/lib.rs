//! Moves kernel versions up a ladder of stages: seen, fetched, built, tested.
//!
//! Each rung is a purpose of runs and the stage that a pass of it reaches. A version moves to the
//! highest rung that passed, so that a reported test lifts one that nobody fetched; it never moves
//! down, and never into a stage that is a person's to give. What fails or is inconclusive stays, with
//! the reason. Then the next rung's run is proposed, if nothing speaks against it.

mod ladder;
mod settings;

use pointsman_sdk::{Advance, Context, Policy, Problem, Stop, advance};

pub use ladder::decide;
pub use settings::{Rung, Settings};

/// The stock `advance` policy.
pub struct KernelLadder;

impl Policy for KernelLadder {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl Advance for KernelLadder {
    fn advance(
        context: &Context<Settings>,
        question: advance::Question,
    ) -> Result<advance::Answer, Stop> {
        decide(&context.settings, &question)
    }
}

pointsman_sdk::export!(KernelLadder: advance, settings);
