//! Pointsman's host: keeps the record of what has been tested, asks policies what to do next, and
//! answers for it over HTTP.
//!
//! `server` (HTTP) and `turn` (asking policies) both stand on `db`, the only SQL. `policy` is the only
//! code that touches wasmtime, `plan` decides without I/O, `postgres` runs an embedded database.

pub mod config;
pub mod contract;
pub mod db;
pub mod error;
pub mod explain;
mod failpoint;
pub mod links;
pub mod merge;
pub mod plan;
pub mod plugins;
pub mod policy;
pub mod postgres;
pub mod replay;
pub mod runs;
pub mod server;
pub mod shadow;
pub mod start;
pub mod turn;

pub use config::{Config, Database, JobUser};
pub use policy::compile_child_main;
pub use server::openapi_json;
pub use start::{Server, create_token_in, is_unused, migrate, start};
