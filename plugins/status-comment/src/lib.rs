//! Tells people what came of a pull request.
//!
//! A verdict sets a status and writes a comment with the reason and the links; what landed or is held is
//! told, and each command that somebody writes is answered. An event has one comment, known by its key, so
//! that taking it again changes nothing. What others wrote (a test's message, a label's name) is quoted, and
//! calls nobody and commands nothing.

mod acts;
mod answers;
mod quote;
mod settings;

use pointsman_sdk::{Context, Policy, Problem, React, Stop, react};

pub use acts::decide;
pub use settings::{Comments, Settings};

/// The stock `react` policy.
pub struct StatusComment;

impl Policy for StatusComment {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        settings.problems()
    }
}

impl React for StatusComment {
    fn react(
        context: &Context<Settings>,
        question: react::Question,
    ) -> Result<react::Answer, Stop> {
        Ok(decide(&context.settings, &question))
    }
}

pointsman_sdk::export!(StatusComment: react, settings);
