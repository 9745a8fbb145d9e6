//! Ignore patterns: what the `ignore` policy is given as rules.

use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// How a pattern is read.
    pub enum PatternKind {
        /// SQL's LIKE, over the whole version: `%` any run of characters, `_` any one, `\` escapes.
        Like,
        /// A regular expression of linear time, found anywhere in the version.
        Regex,
    }
}

wire! {
    /// One pattern.
    pub struct Ignore {
        /// Unique.
        pub id: i64,
        /// Absent: every distro.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub distro: Option<String>,
        /// How the pattern is read.
        pub kind: PatternKind,
        /// At most 256 bytes.
        pub pattern: String,
        /// Why these versions need no runs.
        pub reason: String,
        /// From then on it no longer counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires: Option<DateTime<Utc>>,
        /// How many versions it ignores now.
        pub versions: i64,
        /// Marked as deleted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub deleted: bool,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// A pattern to save.
    #[serde(deny_unknown_fields)]
    pub struct NewIgnore {
        /// Absent: every distro.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub distro: Option<String>,
        /// How the pattern is read.
        pub kind: PatternKind,
        /// At most 256 bytes.
        pub pattern: String,
        /// Why these versions need no runs; at most 1,024 bytes.
        pub reason: String,
        /// From then on it no longer counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub expires: Option<DateTime<Utc>>,
    }
}

wire! {
    /// A batch of patterns to save; one that exists gets the new reason and expiry, and is restored
    /// if it was deleted.
    #[serde(deny_unknown_fields)]
    pub struct PutIgnores {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// At most 1,000.
        pub ignores: Vec<NewIgnore>,
    }
}

wire! {
    /// What saving a pattern did.
    pub struct PutIgnoresReply {
        /// What changed.
        #[serde(flatten)]
        pub written: crate::generation::Written,
        /// The ids, in the order of the request.
        pub ids: Vec<i64>,
    }
}
