//! Lands the pull request that was approved first.
//!
//! The approved ones stand in line: by the priority that people gave (`p=5`), then by age. As many as
//! there are slots are tested at once, each on the target's tip, and the first in line alone may land; the
//! next one may once that has failed. So a fast test of a newcomer never sends the first back to the
//! start. Slots that are left go to heads that nobody approved yet.

mod line;

use pointsman_sdk::{Context, Policy, Select, Stop, select};
use schemars::JsonSchema;
use serde::Deserialize;

pub use line::decide;

/// Settings: what else is tested, and who failed before.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Whether free slots go to heads that nobody approved yet.
    pub test_unapproved: bool,
    /// Whether a free slot goes to the bare target after it moved.
    pub baseline: bool,
    /// Where in the line one stands that failed on an older tip.
    pub failed_before: FailedBefore,
}

/// Where in the line one stands that failed on an older tip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailedBefore {
    /// Behind the others, so that one that always fails does not keep them waiting at each new tip.
    #[default]
    Last,
    /// Where its age puts it.
    InOrder,
    /// Nowhere, until somebody pushes or writes `retry`.
    Never,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            test_unapproved: true,
            baseline: false,
            failed_before: FailedBefore::Last,
        }
    }
}

/// The stock `select` policy that is fair to the first.
pub struct Oldest;

impl Policy for Oldest {
    type Settings = Settings;
}

impl Select for Oldest {
    fn select(
        context: &Context<Settings>,
        question: select::Question,
    ) -> Result<select::Answer, Stop> {
        Ok(decide(&context.settings, &context.attrs, &question))
    }
}

pointsman_sdk::export!(Oldest: select, settings);
