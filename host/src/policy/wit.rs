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

pub use bindings::exports::pointsman::policy::{
    advance, ignore, react, review, select, settings, triage,
};
pub use bindings::pointsman::policy::types;

/// Two hooks are asked about the same piece of work; each has a question of its own here, so that a
/// question says which hook it is for.
macro_rules! about_work {
    ($hook:ident) => {
        pub mod $hook {
            //! The hook of that name.

            pub use super::bindings::exports::pointsman::policy::$hook::*;

            /// The piece of work that the hook is asked about.
            #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
            #[serde(transparent)]
            pub struct Question(pub super::types::Work);
        }
    };
}

about_work!(gate);
about_work!(run);
