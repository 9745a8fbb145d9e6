//! Pipelines, their bindings, and the decisions made in them.

use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// Which plugin version answers a hook of a pipeline.
    pub struct Binding {
        /// The hook: `ignore`, `advance`.
        pub hook: String,
        /// Its place in the hook's chain, from 0.
        pub position: i32,
        /// The plugin's name.
        pub plugin: String,
        /// The plugin version.
        pub digest: String,
        /// What it is given with each question.
        pub settings: serde_json::Value,
        /// The version before: where a roll back goes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub previous: Option<String>,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// Why a pipeline does not go on.
    pub struct Hold {
        /// The hook that could not be answered.
        pub hook: String,
        /// Stable, for programs: `trapped`, `out-of-fuel`, ...
        pub code: String,
        /// For people.
        pub text: String,
        /// Since when.
        pub since: DateTime<Utc>,
        /// The decision that failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub decision: Option<i64>,
    }
}

wire! {
    /// A pipeline.
    pub struct Pipeline {
        /// Unique.
        pub name: String,
        /// `kernel` or `merge`.
        pub kind: String,
        /// Why a person paused it, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub paused: Option<String>,
        /// Why it holds by itself, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub held: Option<Hold>,
        /// Its bindings, by hook and position.
        pub bindings: Vec<Binding>,
        /// Sweeps still to be done: looks at many versions again, after a swap or a new pattern.
        pub pending: i64,
        /// True when it has decided about everything that is committed.
        pub idle: bool,
        /// Turns taken that had something to do.
        pub turns: i64,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// The fields of a pipeline to change; absent ones stay.
    #[derive(Default)]
    #[serde(deny_unknown_fields, default)]
    pub struct UpdatePipeline {
        /// Why; the generation's comment.
        pub comment: Option<String>,
        /// Pause it with this reason; an empty one resumes it.
        pub paused: Option<String>,
    }
}

wire! {
    /// A binding to make. It is in force from the next turn on.
    #[serde(deny_unknown_fields)]
    pub struct PutBinding {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// The plugin version, by its whole digest.
        pub digest: String,
        /// Checked by the plugin's schema and by the plugin itself. Defaults to `{}`.
        #[serde(default = "empty")]
        pub settings: serde_json::Value,
    }
}

fn empty() -> serde_json::Value {
    serde_json::json!({})
}

wire! {
    /// One call of a hook.
    pub struct Decision {
        /// Unique, in the order of deciding.
        pub id: i64,
        /// The pipeline.
        pub pipeline: String,
        /// The hook.
        pub hook: String,
        /// The place in the hook's chain.
        pub position: i32,
        /// What it was about: the distro.
        pub subject: String,
        /// What the plugin saw as the time.
        pub at: DateTime<Utc>,
        /// The plugin's name.
        pub plugin: String,
        /// The plugin version.
        pub digest: String,
        /// What the plugin saw as chance.
        pub seed: i64,
        /// The engine it ran on; fuel compares only on the same one.
        pub engine: String,
        /// How many versions were asked about.
        pub items: i32,
        /// `answered`, `abstained`, `refused`, `bad-answer`, `out-of-fuel`, `trapped`, ...
        pub outcome: String,
        /// Why: the answer's reason, or what went wrong.
        pub reason: String,
        /// The same, stable and for programs.
        pub reason_code: String,
        /// Fuel used.
        pub fuel: i64,
        /// Microseconds the call took.
        pub duration_us: i64,
        /// The batch that carried it out; absent if nothing changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub generation: Option<i64>,
        /// The settings it was given; only where one decision is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub settings: Option<serde_json::Value>,
        /// The question; only where one decision is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub input: Option<serde_json::Value>,
        /// The answer; only where one decision is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub output: Option<serde_json::Value>,
    }
}
