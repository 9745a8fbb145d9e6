//! Approves a head by the last decisive word of each person.
//!
//! A word is a review, or a command to the bot (`r+`, `r=ann`, `r-`, `delegate+`). A comment is no decisive
//! one and never takes an approval back; a dismissal does. Only people who may write count, and never the
//! author. An approval is of the head that it was given for, unless the settings let it go on.

mod approval;
mod settings;
mod words;

use pointsman_sdk::{Context, Policy, Problem, Review, Stop, review};

pub use approval::decide;
pub use settings::{Settings, Stale};

/// The stock `review` policy.
pub struct Reviews;

impl Policy for Reviews {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl Review for Reviews {
    fn review(
        context: &Context<Settings>,
        question: review::Question,
    ) -> Result<review::Answer, Stop> {
        Ok(decide(&context.settings, &question))
    }
}

pointsman_sdk::export!(Reviews: review, settings);
