//! Plugins: policies as WebAssembly components, known by their digest.

use crate::wire;
use chrono::{DateTime, Utc};

wire! {
    /// One plugin version. It never changes.
    pub struct Plugin {
        /// What its author calls it.
        pub name: String,
        /// SHA-256 of the component, lower-case hex.
        pub digest: String,
        /// The hooks it answers.
        pub hooks: Vec<String>,
        /// Bytes.
        pub size: i64,
        /// JSON Schema of its settings, if it has any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub settings_schema: Option<serde_json::Value>,
        /// When.
        pub uploaded_at: DateTime<Utc>,
        /// By whom: the token's name.
        pub uploaded_by: String,
        /// The generation of the upload.
        pub generation: i64,
    }
}

wire! {
    /// What an upload answers.
    pub struct Uploaded {
        /// The plugin version.
        pub plugin: Plugin,
        /// The generation; absent if this very component was there already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub generation: Option<i64>,
    }
}
