//! Pages: every list is cut by a cursor, never by an offset, so that no page costs more than the first.

use serde::{Deserialize, Serialize};

/// Rows in a page when the caller names no number.
pub const DEFAULT_LIMIT: u32 = 100;
/// Rows in a page at most: what one reply may cost in memory and time.
pub const MAX_LIMIT: u32 = 1_000;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The rows, in the list's order.
    pub items: Vec<T>,
    /// Pass it as `cursor` to get the next page; absent on the last one. Opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
