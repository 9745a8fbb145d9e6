//! Wire types and typed ids of the Pointsman HTTP API, shared by the host and the command line.
//!
//! Only serde lives here. Requests refuse unknown fields, so that a misspelt one is an error and not
//! a wish silently dropped; replies may grow fields, so readers must ignore those they do not know.
//! Times are RFC 3339 in UTC; durations are integers with their unit in the name.

pub mod cluster;
pub mod distro;
pub mod event;
pub mod generation;
pub mod ignore;
pub mod kernel;
pub mod lane;
pub mod note;
pub mod page;
pub mod pipeline;
pub mod plugin;
pub mod problem;
pub mod pull;
pub mod raw;
pub mod run;
mod time;
pub mod token;

/// Declares wire types with the derives that all of them have.
macro_rules! wire {
    ($(#[$meta:meta])* pub struct $($rest:tt)*) => {
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        $(#[$meta])*
        pub struct $($rest)*
    };
    ($(#[$meta:meta])* pub enum $($rest:tt)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "kebab-case")]
        $(#[$meta])*
        pub enum $($rest)*
    };
}
pub(crate) use wire;
