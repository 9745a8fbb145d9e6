//! Tests one approved pull request at random; where there is none, any.
//!
//! What runs goes on. A free slot goes to an approved head that has not failed on the present tip, picked
//! at random; if there is none, to one that nobody approved, which lands once it has passed and is
//! approved. What passed on the tip and is approved lands.
//!
//! The pick is a draw of lots: each head has one for each tip, made from the context's seed. So it stays
//! the same on the same tip, whoever else comes or goes, and a replay makes it again.

mod lots;

use pointsman_sdk::{Context, Policy, Select, Stop, select};
use schemars::JsonSchema;
use serde::Deserialize;

pub use lots::decide;

/// Settings: what else is tested.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Whether free slots go to heads that nobody approved yet.
    pub test_unapproved: bool,
    /// Whether a free slot goes to the bare target after it moved.
    pub baseline: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            test_unapproved: true,
            baseline: false,
        }
    }
}

/// The stock `select` policy that leaves it to chance.
pub struct Random;

impl Policy for Random {
    type Settings = Settings;
}

impl Select for Random {
    fn select(
        context: &Context<Settings>,
        question: select::Question,
    ) -> Result<select::Answer, Stop> {
        let Context {
            settings,
            attrs,
            seed,
            ..
        } = context;
        Ok(decide(settings, attrs, *seed, &question))
    }
}

pointsman_sdk::export!(Random: select, settings);
