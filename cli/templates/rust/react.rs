//! What should be said about this event? Here: a comment when a run failed.

use pointsman_sdk::{Basis, Context, Policy, React, Stop, attr, react};
use schemars::JsonSchema;
use serde::Deserialize;

/// What people set when they bind it. A field that is not here is refused, and named.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What the comment begins with.
    pub greeting: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            greeting: "It did not pass:".to_owned(),
        }
    }
}

/// The policy.
pub struct MyPolicy;

impl Policy for MyPolicy {
    type Settings = Settings;
}

impl React for MyPolicy {
    fn react(
        context: &Context<Settings>,
        question: react::Question,
    ) -> Result<react::Answer, Stop> {
        let failed =
            question.event == "verdict" && attr(&question.attrs, "verdict") == Some("fail");
        if !failed {
            let basis = Basis::because("quiet", "Nothing needs to be said about it.");
            return Ok(react::Answer::new(Vec::new(), basis));
        }
        let why = attr(&question.attrs, "reason.text").unwrap_or("nobody knows why");
        let body = format!("{} {why}", context.settings.greeting);
        // With a key the same comment is edited the next time.
        let act = react::Act::new("comment", [("body", body.as_str()), ("key", "verdict")]);
        let basis = Basis::because("failure.told", "The author should know.");
        Ok(react::Answer::new(vec![act], basis))
    }
}

pointsman_sdk::export!(MyPolicy: react, settings);
