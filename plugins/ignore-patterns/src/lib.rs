//! Ignores kernel versions by the LIKE and regex patterns of the record.
//!
//! A rule that has expired does not count. Of those that match a version the one with the lowest id
//! is named as the reason. The answer wakes when the next rule expires.

mod matching;

use pointsman_sdk::{Context, Ignore, Policy, Stop, ignore};
use schemars::JsonSchema;
use serde::Deserialize;

pub use matching::decide;

/// Settings: how much an ignored version is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What a match means.
    pub scope: Scope,
}

/// What a match means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// No run starts by itself; a person may still ask for one.
    #[default]
    Automatic,
    /// No runs at all, and absent from reports.
    All,
}

impl Scope {
    /// The word of the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Automatic => "automatic",
            Scope::All => "all",
        }
    }
}

/// The stock `ignore` policy.
pub struct IgnorePatterns;

impl Policy for IgnorePatterns {
    type Settings = Settings;
}

impl Ignore for IgnorePatterns {
    fn ignore(
        context: &Context<Settings>,
        question: ignore::Question,
    ) -> Result<ignore::Answer, Stop> {
        decide(context.at, context.settings.scope, &question)
    }
}

pointsman_sdk::export!(IgnorePatterns: ignore, settings);
