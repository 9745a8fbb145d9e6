//! Makes components of JavaScript and Python plugins, for `pointsman plugin build`.
//!
//! The author writes plain functions, named as the hooks are. Between them and the host stands a short
//! file of glue that is put there at build: it turns questions into what a script likes to have, checks
//! what comes back against the contract, and turns an exception that nobody caught into a `stop.failed`
//! with its message and line. The glue is driven by shapes that are read off the contract, so no hook has
//! code of its own here.

mod contract;
pub mod javascript;
pub mod python;

pub use contract::Contract;
