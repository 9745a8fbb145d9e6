//! What was released stays: the contract as it was then, and plugins that were built for it.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set itself up stops there"
)]

#[path = "released/contract.rs"]
mod contract;
#[path = "released/plugins.rs"]
mod plugins;
