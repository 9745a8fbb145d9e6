//! Errors on the wire: RFC 9457 `application/problem+json`.

use crate::wire;

wire! {
    /// What went wrong, and what to do about it.
    pub struct Problem {
        /// `about:blank`; `code` is what programs branch on.
        #[serde(rename = "type")]
        pub kind: String,
        /// The HTTP status in words.
        pub title: String,
        /// The HTTP status.
        pub status: u16,
        /// Stable, for programs: `distro_unknown`, `pattern_invalid`, `generation_mismatch`.
        pub code: String,
        /// What happened to this request.
        pub detail: String,
        /// What to do next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub hint: Option<String>,
        /// The field at fault, as a JSON pointer or a query parameter's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub field: Option<String>,
        /// The character of the field at which it went wrong, counted from 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub position: Option<u64>,
        /// Finds this request in the server's log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub request_id: Option<String>,
    }
}
