//! Lanes: pull requests that are tested as one, their jobs, and what the target branch pointed at.

use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// A pull request in a lane.
    pub struct Member {
        /// Its number.
        pub number: i32,
        /// The head that is tested.
        pub head: String,
    }
}

wire! {
    /// Pull requests that are tested as one on top of the target's tip or of another lane, and land as one.
    pub struct Lane {
        /// Unique.
        pub id: i64,
        /// The pipeline.
        pub pipeline: String,
        /// In the order in which they are merged.
        pub members: Vec<Member>,
        /// `merge`, `preview`, ...
        pub purpose: String,
        /// `waiting`, `building`, `built`, `running`, `passed`, `failed`, `inconclusive`, `conflict`, `landing`,
        /// `landed` or `cancelled`.
        pub state: String,
        /// Since when.
        pub since: DateTime<Utc>,
        /// `never`, `hold` or `when-passed`.
        pub landing: String,
        /// The commit that it stands on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub base: Option<String>,
        /// The lane that it stands on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub on: Option<i64>,
        /// The merge commit that is tested.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub commit: Option<String>,
        /// Its tree.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tree: Option<String>,
        /// Why it is there, or why it ended as it did.
        pub reason: String,
        /// The same, stable and for programs.
        pub reason_code: String,
        /// The decision behind it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub decision: Option<i64>,
        /// Why it does not go on, if it does not: code and text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub held: Option<Held>,
        /// Numbers of members that `triage` named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub blame: Vec<i32>,
        /// When it was planned.
        pub created_at: DateTime<Utc>,
        /// When it ended; absent: it lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ended_at: Option<DateTime<Utc>>,
        /// Its jobs; only where one lane is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub jobs: Option<Vec<Job>>,
        /// The generation that last changed it.
        pub generation: i64,
        /// A page of it that opens with no token until the link expires: an address, or a path on this server where
        /// that was not told its public address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub link: Option<String>,
    }
}

wire! {
    /// What is being executed for a pull request.
    pub struct Under {
        /// The lane that it is in.
        pub lane: i64,
        /// The lane's state: `building`, `built` or `running`.
        pub state: String,
        /// The head that is tested.
        pub head: String,
        /// The commit of the target that it is tested on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub base: Option<String>,
        /// The merge commit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub commit: Option<String>,
        /// Attempts of its jobs that have not ended, in the order in which they were made.
        #[serde(default)]
        pub jobs: Vec<UnderJob>,
    }
}

wire! {
    /// A job that waits for its turn or runs.
    pub struct UnderJob {
        /// The job.
        pub name: String,
        /// Which attempt of it: 1 is the first.
        pub attempt: i32,
        /// `waiting` or `running`.
        pub state: String,
        /// When the attempt began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub started_at: Option<DateTime<Utc>>,
        /// A page with its log that opens with no token until the link expires; as of a lane.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub link: Option<String>,
    }
}

wire! {
    /// Why something does not go on.
    pub struct Held {
        /// Stable, for programs.
        pub code: String,
        /// For people.
        pub text: String,
    }
}

wire! {
    /// A job of a lane, or of a kernel version's run.
    pub struct Job {
        /// Unique in its lane or run.
        pub name: String,
        /// `waiting`, `running`, `ended`, `skipped`, `cancelled` or `reused`.
        pub state: String,
        /// `required` or `informative`.
        pub weight: String,
        /// Jobs that must have passed before it starts.
        pub after: Vec<String>,
        /// What it runs.
        pub spec: serde_json::Value,
        /// Why it is skipped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub skipped: Option<Held>,
        /// The lane in which the same job passed on the same tree, where it was not run again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reused_from: Option<i64>,
        /// Oldest first.
        pub attempts: Vec<Attempt>,
    }
}

wire! {
    /// One attempt of a job.
    pub struct Attempt {
        /// What its log and its files are found by.
        pub key: String,
        /// 1 is the first.
        pub number: i32,
        /// `waiting`, `running` or `ended`.
        pub state: String,
        /// `exited`, `timed-out`, `cancelled`, `lost` or `setup-failed`; absent: it has not ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ended: Option<String>,
        /// Where it exited by itself. A signal is 128 more than its number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub exit_code: Option<i32>,
        /// What went wrong, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub detail: Option<String>,
        /// When it began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub started_at: Option<DateTime<Utc>>,
        /// When it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ended_at: Option<DateTime<Utc>>,
        /// How many tests it reported.
        pub tests_total: i32,
        /// How many of those passed.
        pub tests_passed: i32,
        /// Those that did not: name, outcome, message.
        pub tests: serde_json::Value,
        /// What the job wrote.
        pub outputs: serde_json::Value,
        /// What was kept: path, bytes, sha256.
        pub artifacts: serde_json::Value,
        /// Bytes of its log.
        pub log_bytes: i64,
        /// Until when its log and its files are kept at least; absent: it has not ended, or they are gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub kept_until: Option<DateTime<Utc>>,
        /// When its log and its files were removed; the record of how it ended stays.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub removed_at: Option<DateTime<Utc>>,
        /// A page with its log and its files that opens with no token until the link expires; as of a lane.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub link: Option<String>,
    }
}

wire! {
    /// A commit that the target branch pointed at, and what vouches for it.
    pub struct Tip {
        /// The commit.
        pub commit: String,
        /// Its tree.
        pub tree: String,
        /// `watched` (it was there at the beginning), `landed`, or `pushed` by somebody else.
        pub how: String,
        /// The lane that landed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub lane: Option<i64>,
        /// A lane passed with exactly this tree.
        pub tested: bool,
        /// When.
        pub at: DateTime<Utc>,
    }
}
