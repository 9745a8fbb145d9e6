//! Tests approved pull requests on top of each other, each with all that will have landed before it.
//!
//! The approved stand in line: by the priority that people gave, then by age. The first is tested on the
//! target's tip, the next one on top of the first, and so on, all at once. What passes lands when all before
//! it have, without another run, since it was tested on exactly them. When one fails it leaves the line, and
//! those behind it are tested again without it. Whether it was its own fault nobody knows until those before
//! it are decided: if they land it was, and else it is tested again.

mod window;

use pointsman_sdk::{Context, Policy, Problem, Select, Stop, select};
use schemars::JsonSchema;
use serde::Deserialize;

pub use window::decide;

/// Lanes in a window that may be set: as many as a pipeline may have slots. A failure at the front throws
/// away all that stand behind it.
const MAX_WINDOW: u32 = 64;

/// Settings: how long the line is, and what else is tested.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// Pull requests that are tested on top of each other, 1 to 64. Those that passed and wait for the ones
    /// before them count, though they take no slot.
    #[schemars(range(min = 1, max = 64))]
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

/// The stock `select` policy for branches whose tests take long.
pub struct Window;

impl Policy for Window {
    type Settings = Settings;

    fn check(settings: &Settings) -> Vec<Problem> {
        if (1..=MAX_WINDOW).contains(&settings.max) {
            return Vec::new();
        }
        let text = format!("A window has 1 to {MAX_WINDOW} pull requests.");
        vec![Problem::new("/max", "settings.range", text)]
    }
}

impl Select for Window {
    fn select(
        context: &Context<Settings>,
        question: select::Question,
    ) -> Result<select::Answer, Stop> {
        Ok(decide(&context.settings, &context.attrs, &question))
    }
}

pointsman_sdk::export!(Window: select, settings);
