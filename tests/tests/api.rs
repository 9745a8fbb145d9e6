//! The HTTP API: who may do what, safe updates, lists, bad input, and its description.

#[path = "api/description.rs"]
mod description;
#[path = "api/input.rs"]
mod input;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/patterns.rs"]
mod patterns;
#[path = "api/roles.rs"]
mod roles;
#[path = "api/updates.rs"]
mod updates;
