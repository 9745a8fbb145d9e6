//! Runs: builds and tests of a kernel version, by our own jobs or reported from outside.

use crate::lane::{Held, Job};
use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// How a run ended.
    pub enum Verdict {
        /// It passed.
        Pass,
        /// It failed.
        Fail,
        /// It says nothing: the machine died, no test ran.
        Inconclusive,
    }
}

wire! {
    /// One run.
    pub struct Run {
        /// Unique.
        pub id: i64,
        /// The distro's builder name.
        pub distro: String,
        /// The kernel version.
        pub version: String,
        /// `fetch`, `build`, `test`, or your own.
        pub purpose: String,
        /// The product release; empty where there is only one.
        pub release: String,
        /// Absent while it runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub verdict: Option<Verdict>,
        /// What the reporter said of it.
        pub comment: String,
        /// Where its log is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub link: Option<String>,
        /// The reporter's own name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub key: Option<String>,
        /// The token's name; `pipeline:` and the pipeline's for a run of our own.
        pub reported_by: String,
        /// When it was first reported, or begun.
        pub at: DateTime<Utc>,
        /// When one that was reported as running, or begun here, got its verdict.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ended_at: Option<DateTime<Utc>>,
        /// The pipeline that makes it; absent: somebody outside does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub pipeline: Option<String>,
        /// What `run` said of it, or `triage` once it has ended: the decision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub decision: Option<i64>,
        /// Why nobody can say what becomes of it, if that is so: code and text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub held: Option<Held>,
        /// Its jobs; only where one run of our own is asked for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub jobs: Option<Vec<Job>>,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// A run to report.
    #[serde(deny_unknown_fields)]
    pub struct ReportRun {
        /// The distro's builder name.
        pub distro: String,
        /// The kernel version; it must be in the record.
        pub version: String,
        /// `fetch`, `build`, `test`, or your own (`[a-z0-9-]`, at most 32 characters).
        pub purpose: String,
        /// The product release, at most 64 bytes.
        #[serde(default)]
        pub release: String,
        /// Absent: it has begun.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub verdict: Option<Verdict>,
        /// What to say of it, at most 4,096 bytes.
        #[serde(default)]
        pub comment: String,
        /// `http` or `https`, at most 2,048 bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub link: Option<String>,
        /// Your own name for the run: reporting it again updates that run instead of adding one, so
        /// a report can safely be repeated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub key: Option<String>,
    }
}

wire! {
    /// A batch of runs to report, all or none.
    #[serde(deny_unknown_fields)]
    pub struct ReportRuns {
        /// Why; the generation's comment. Defaults to a sentence about the first run.
        #[serde(default)]
        pub comment: Option<String>,
        /// At most 10,000.
        pub runs: Vec<ReportRun>,
    }
}

wire! {
    /// A run to ask for: `advance` sees the wish of a person, and it starts once that policy lets it.
    #[serde(deny_unknown_fields)]
    pub struct RequestRun {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// `fetch`, `build`, `test`.
        pub purpose: String,
    }
}
