//! The contract in `wit/0.1` as Rust types.
//!
//! Questions and answers derive serde, so that a caller can record them as JSON; the call path itself
//! goes through the canonical ABI and never through JSON.

// What the macro writes has the documentation of the WIT files, where there is any.
#[expect(missing_docs, reason = "generated code")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/0.1",
        world: "every-hook",
        additional_derives: [Clone, PartialEq, serde::Serialize, serde::Deserialize],
    });
}

/// The version of the contract that this host speaks. A released version never changes, so a plugin
/// names exactly the version that it was built for.
pub const CONTRACT_VERSION: &str = "0.1.0";

/// The package that every interface of the contract belongs to.
pub const CONTRACT_PACKAGE: &str = "pointsman:policy";

pub use bindings::exports::pointsman::policy::{advance, ignore, settings};
pub use bindings::pointsman::policy::types;
