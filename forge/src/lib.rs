//! The git side of the local forge: bare repositories on disk, the heads of pull requests in them,
//! the commits of lanes, and landings. It knows neither server nor database.
//!
//! Git is called as a command, 2.38 or newer, without a shell and without anything of the user's.
//! Every call is bounded in time and output, may run beside any other on the same repository, and
//! may be repeated.
//!
//! Refs: `refs/heads/*` belong to whoever pushes, and to [`Repository::land`]; `refs/pull/N/head` and
//! `refs/pointsman/lanes/ID` are ours, and a push to them is refused.

mod bell;
mod error;
mod escape;
mod file;
mod forge;
mod git;
mod hook;
pub mod limits;
mod name;
mod oid;
mod repository;
mod settings;

pub use bell::{Bell, ring};
pub use error::Error;
pub use forge::{Created, Forge};
pub use name::{BadName, Branch, RepoName};
pub use oid::Oid;
pub use repository::Repository;
pub use repository::build::{Built, Identity, Member, MergePlan, Method};
pub use repository::commits::{Ancestry, Commit};
pub use repository::compact::Compacted;
pub use repository::diff::Changed;
pub use repository::fetch::Fetched;
pub use repository::head::{HeadFacts, Mergeable};
pub use repository::land::Landed;
pub use repository::text::{TextFile, check_path};
