//! Events: one for each journalled change.

use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// What happened to the object.
    pub enum Operation {
        /// It is new.
        Create,
        /// Some of its fields changed.
        Update,
        /// It was marked as deleted.
        Delete,
    }
}

wire! {
    /// One change of one object.
    pub struct Event {
        /// Its place in the order of events: pass it as `after` to read on from here. Opaque.
        pub cursor: String,
        /// The generation it belongs to.
        pub generation: i64,
        /// When its transaction began.
        #[serde(serialize_with = "crate::time::write")]
        pub at: DateTime<Utc>,
        /// The table: `kernel_version`, `distro`, `run`, ...
        pub kind: String,
        /// What happened.
        pub operation: Operation,
        /// The object's name: `ubuntu-22.04/5.15.0-57-generic`.
        pub name: String,
        /// create: the fields set. update and delete: field -> [old, new].
        pub changes: serde_json::Value,
        /// Why: the generation's comment.
        pub comment: String,
        /// By whom: the generation's user.
        pub user: String,
    }
}
