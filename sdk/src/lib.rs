//! What the author of a Rust policy plugin depends on.
//!
//! A plugin is a type that implements [`Policy`] and a trait for each hook that it has ([`Ignore`],
//! [`Advance`], [`Review`], [`Gate`], [`Select`], [`Run`], [`Triage`], [`React`]), and one line of
//! [`export!`]. The same code runs in `cargo test`, so that a policy is
//! tested without a server.
//!
//! ```
//! use pointsman_sdk::{Basis, Context, Ignore, Policy, Reason, Stop, ignore};
//!
//! /// Settings are a type: its JSON Schema is what people see, and what does not fit it is refused
//! /// when the binding is saved, with the field named.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     /// Versions on fewer hosts than this need no runs.
//!     hosts: u32,
//! }
//!
//! struct Rare;
//!
//! impl Policy for Rare {
//!     type Settings = Settings;
//! }
//!
//! impl Ignore for Rare {
//!     fn ignore(context: &Context<Settings>, question: ignore::Question) -> Result<ignore::Answer, Stop> {
//!         let mut answer = ignore::Answer::new(Basis::because("hosts.counted", "Rare versions are ignored."));
//!         let text = format!("Fewer than {} hosts have it.", context.settings.hosts);
//!         let rare = answer.ground("automatic", None, Reason::new("hosts.few", text));
//!         for (index, _name, version) in question.iter() {
//!             if version.hosts < context.settings.hosts {
//!                 answer.ignore(index, rare);
//!             }
//!         }
//!         Ok(answer)
//!     }
//! }
//!
//! pointsman_sdk::export!(Rare: ignore, settings);
//!
//! // In a test: no server, no WebAssembly.
//! let question = ignore::Question::of_names("debian-12", ["6.1.0-9-amd64"]);
//! let answer = Rare::ignore(&Context::new(Settings { hosts: 1 }), question).unwrap();
//! assert_eq!(answer.ignored.len(), 1);
//! ```
//!
//! The crate of a plugin has `crate-type = ["cdylib", "rlib"]`, is built for
//! `wasm32-unknown-unknown`, and becomes a component with `wit-component`. What the fields of questions
//! and answers mean, and what happens on an error, is in the contract, `wit/0.1`.
//!
//! A plugin must not look at the clock, at chance, or at anything but its arguments: there is nothing to
//! look at, and a replay must give the same bytes. Mind the order of a `HashMap`.

pub mod advance;
#[doc(hidden)]
pub mod bindings;
pub mod gate;
pub mod ignore;
pub mod packed;
pub mod react;
pub mod review;
pub mod run;
pub mod select;
pub mod triage;

mod answer;
mod export;
mod policy;
mod pull_request;

pub use advance::Advance;
pub use bindings::shared::pointsman::policy::types::{
    Approval, Basis, Command, Dependency, Fact, Found, Instant, Label, Need, Note, PastRun,
    Problem, PullRequest, Query, Reason, Stop, Verdict, Work,
};
pub use gate::Gate;
pub use ignore::Ignore;
pub use policy::{Context, NoSettings, Policy, attr, check_settings, settings_schema};
pub use react::React;
pub use review::Review;
pub use run::Run;
pub use select::Select;
pub use triage::Triage;

#[doc(hidden)]
pub use export::hold;
