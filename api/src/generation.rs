//! Generations: the batches of changes.

use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// One batch of changes.
    pub struct Generation {
        /// A label, in the order of creation. Never a cursor.
        pub id: i64,
        /// Why.
        pub comment: String,
        /// The token's name, or the database role of somebody in `psql`.
        pub user: String,
        /// The client's address, where one is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub address: Option<String>,
        /// When its transaction began.
        pub at: DateTime<Utc>,
        /// How many events it has.
        pub events: i64,
    }
}

wire! {
    /// What every write answers.
    pub struct Written {
        /// The generation of the changes; absent if nothing changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub generation: Option<i64>,
        /// How many rows were created.
        pub created: u64,
        /// How many rows were changed.
        pub updated: u64,
        /// How many were already as asked.
        pub unchanged: u64,
        /// Rows that exist but are marked as deleted, and were left so: by name, at most 100.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub deleted: Vec<String>,
    }
}

wire! {
    /// The body of a write that needs nothing but a reason.
    #[derive(Default)]
    #[serde(deny_unknown_fields, default)]
    pub struct Because {
        /// Why; the generation's comment.
        pub comment: Option<String>,
    }
}
