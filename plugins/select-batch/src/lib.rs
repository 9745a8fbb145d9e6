//! Tests approved pull requests in batches, and bisects those that fail.
//!
//! One batch at a time may land: up to `max` of the approved, by the priority that people gave, then by
//! age. When it fails, its first half is tested; what that leaves is a batch of its own, apart from those
//! that nobody suspects. Whom `triage` names is left out instead. No set that failed on a tip is tested on
//! that tip again, and one that fails alone waits for a push, another tip, or `retry`.

mod batch;

use pointsman_sdk::{Context, Policy, Problem, Select, Stop, select};
use schemars::JsonSchema;
use serde::Deserialize;

pub use batch::decide;

/// Pull requests in a batch that may be set: beyond, a bisection takes longer than it saves.
const MAX_BATCH: u32 = 100;

/// Settings: how large a batch is, and what else is tested.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Pull requests in a batch, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub max: u32,
    /// Whether free slots go to heads that nobody approved yet.
    pub test_unapproved: bool,
    /// Whether a free slot goes to the bare target after it moved.
    pub baseline: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max: 8,
            test_unapproved: false,
            baseline: false,
        }
    }
}

/// The stock `select` policy for busy branches.
pub struct Batches;

impl Policy for Batches {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        if (1..=MAX_BATCH).contains(&settings.max) {
            return Vec::new();
        }
        let text = format!("A batch has 1 to {MAX_BATCH} pull requests.");
        vec![Problem::new("/max", "settings.range", text)]
    }
}

impl Select for Batches {
    fn select(
        context: &Context<Settings>,
        question: select::Question,
    ) -> Result<select::Answer, Stop> {
        Ok(decide(&context.settings, &context.attrs, &question))
    }
}

pointsman_sdk::export!(Batches: select, settings);
