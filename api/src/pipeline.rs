//! Pipelines, their bindings, and the decisions made in them.

use crate::raw::Raw;
use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// What one call of a plugin may use. What is absent is as the hook has it; what is above the host's
    /// ceilings is refused.
    #[derive(Default, Copy, Eq)]
    #[serde(deny_unknown_fields, default)]
    pub struct Limits {
        /// Fuel, about one unit a WebAssembly instruction: what stops a policy that loops.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub fuel: Option<u64>,
        /// MiB of memory.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub memory_mib: Option<u32>,
        /// MiB of the answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub answer_mib: Option<u32>,
        /// Milliseconds of wall clock, as a guard: a call that reaches it is no decision.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub deadline_ms: Option<u32>,
    }
}

impl Limits {
    /// Whether everything is as the hook has it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Limits::default()
    }
}

wire! {
    /// Which plugin version answers a hook of a pipeline.
    pub struct Binding {
        /// The hook: `ignore`, `review`, ...
        pub hook: String,
        /// Its place in the hook's chain, from 0.
        pub position: i32,
        /// The plugin's name.
        pub plugin: String,
        /// The plugin version.
        pub digest: String,
        /// What it is given with each question.
        pub settings: serde_json::Value,
        /// What one call may use, where it differs from the hook's own limits.
        #[serde(default, skip_serializing_if = "Limits::is_default")]
        pub limits: Limits,
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
        /// What a pipeline of kind `merge` lands where.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub merging: Option<crate::pull::Merging>,
        /// What a pipeline of kind `kernel` runs by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub running: Option<Running>,
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
    /// What a kernel pipeline runs by itself, where a policy is bound to `run`.
    pub struct Running {
        /// Runs that go on at once.
        pub slots: i32,
        /// The ids of those that do, the oldest first.
        pub runs: Vec<i64>,
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
        /// Close the tree with this reason: nothing lands; an empty one opens it. Merge pipelines only.
        pub frozen: Option<String>,
        /// Lanes, or runs of kernel versions, that may go on at once, 1 to 64.
        pub slots: Option<i32>,
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
        /// What one call may use. Defaults to the hook's own limits.
        #[serde(default)]
        pub limits: Limits,
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
        /// What it was about: a distro, `#12`, `lane 7`, a target branch.
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
        /// The limits of the call, where they were not the hook's own; only where one decision is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limits: Option<Limits>,
        /// What else it was given (`notes`, `facts`, `attrs`), if anything; only where one decision is
        /// asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub context: Option<serde_json::Value>,
        /// What the plugin printed, the last 8 KiB, if anything; only where one decision is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub log: Option<String>,
        /// The question, in the contract's names; only where one decision is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub input: Option<serde_json::Value>,
        /// The answer, or the stop, in the contract's names; only where one decision is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub output: Option<serde_json::Value>,
    }
}

wire! {
    /// A decision with all that a replay needs. Question and answer are as the host keeps them, not in
    /// the contract's names: `pointsman decision show` turns them into those.
    pub struct DecisionRecord {
        /// Its id.
        pub id: i64,
        /// The pipeline.
        pub pipeline: String,
        /// The hook.
        pub hook: String,
        /// What it was about.
        pub subject: String,
        /// What the plugin saw as the time.
        pub at: DateTime<Utc>,
        /// The plugin version.
        pub digest: String,
        /// What the plugin saw as chance.
        pub seed: i64,
        /// The engine it ran on.
        pub engine: String,
        /// How it ended.
        pub outcome: String,
        /// Why, for programs.
        pub reason_code: String,
        /// Fuel used.
        pub fuel: i64,
        /// The settings.
        pub settings: serde_json::Value,
        /// The limits of the call, where they were not the hook's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub limits: Option<Limits>,
        /// What else the plugin was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub context: Option<serde_json::Value>,
        /// The question.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        pub input: Raw,
        /// The answer, or the stop.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
        pub output: Option<Raw>,
    }
}

wire! {
    /// A candidate in shadow: asked what the active binding was asked, after the fact, and never heard.
    pub struct Shadow {
        /// The hook.
        pub hook: String,
        /// The place in the hook's chain whose decisions it follows.
        pub position: i32,
        /// The candidate's name.
        pub plugin: String,
        /// The candidate's version.
        pub digest: String,
        /// What it is given with each question.
        pub settings: serde_json::Value,
        /// Since when it follows.
        pub since: DateTime<Utc>,
        /// Decisions that it would have made in the same way.
        pub agreed: i64,
        /// Decisions that it would have made otherwise.
        pub differed: i64,
        /// Decisions that cannot be made again: they ended through the machine.
        pub skipped: i64,
        /// Why this version cannot be asked at present, if it cannot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub failing: Option<String>,
        /// Whether it has been asked about every decision so far.
        pub idle: bool,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// A candidate to follow the active binding in shadow.
    #[serde(deny_unknown_fields)]
    pub struct PutShadow {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// The candidate, by its whole digest.
        pub digest: String,
        /// Checked as those of a binding are. Defaults to `{}`.
        #[serde(default = "empty")]
        pub settings: serde_json::Value,
        /// Follow the decisions made since then, too. Absent: only those to come.
        #[serde(default)]
        pub since: Option<DateTime<Utc>>,
    }
}

wire! {
    /// A decision that a candidate would have made otherwise.
    pub struct ShadowDifference {
        /// The decision.
        pub decision: i64,
        /// What it was about.
        pub subject: String,
        /// When it was made.
        pub at: DateTime<Utc>,
        /// How it ended.
        pub outcome: String,
        /// Why, for programs.
        pub reason_code: String,
        /// Why.
        pub reason: String,
        /// How the candidate's ended.
        pub candidate_outcome: String,
        /// Why, for programs.
        pub candidate_reason_code: String,
        /// Why.
        pub candidate_reason: String,
        /// Where the answers differ first: a JSON pointer, with `*` for places in a list; empty where they
        /// ended in different ways.
        pub place: String,
        /// What the decision has there.
        pub before: String,
        /// What the candidate has there.
        pub after: String,
        /// Fuel that the candidate used.
        pub fuel: i64,
    }
}
