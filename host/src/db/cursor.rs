//! Opaque cursors of lists: where the last page ended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Kind, Refusal, Result};

/// Bytes of a cursor: the longest name twice, with room.
const MAX_CURSOR: usize = 1_024;

/// Writes the position `at` as a cursor.
pub fn encode(at: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(at).unwrap_or_default())
}

/// Reads a cursor that [`encode`] wrote for the same list.
pub fn decode<T: DeserializeOwned>(cursor: &str) -> Result<T> {
    (cursor.len() <= MAX_CURSOR)
        .then(|| URL_SAFE_NO_PAD.decode(cursor).ok())
        .flatten()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| {
            Refusal::new(
                Kind::Invalid,
                "cursor_invalid",
                "this is not a cursor of this list",
            )
            .field("cursor")
            .hint("Pass `next` of the page before, unchanged; or leave it out to begin anew.")
            .into()
        })
}
