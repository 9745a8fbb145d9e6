//! Runs jobs on this machine: each attempt under a shim of its own that outlives the host. Knows neither
//! server nor database.
//!
//! ```no_run
//! # async fn example() -> Result<(), pointsman_jobs::Error> {
//! use pointsman_jobs::{AttemptId, Local, Spec, State};
//!
//! let local = Local::new("/var/lib/pointsman/jobs", "/usr/bin/pointsman")?;
//! let bell = local.bell()?;
//! let id = AttemptId::new("attempt-1")?;
//! let command = vec!["make".to_owned(), "test".to_owned()];
//! local.start(&id, &Spec::new(command, 1_900_000_000_000)).await?;
//! while !matches!(local.state(&id).await?, State::Ended(_) | State::Lost) {
//!     // In truth also after a while, since the bell is a courtesy.
//!     let _ = bell.next().await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The promises: an id is run at most once, whatever dies and whenever; an attempt that is said to have
//! ended has no process left; the host learns the exit code of a job that it is not the parent of; and
//! nothing that a job leaves behind is followed out of its folder or read without a bound.
//!
//! A host that is run by a service manager must not be ended together with its shims: with systemd that
//! is `KillMode=process`.

mod bell;
mod beneath;
mod collect;
mod error;
mod exit;
mod folder;
mod id;
mod junit;
pub mod limits;
mod local;
mod log;
mod shim;
mod spec;
pub mod store;

pub use bell::Bell;
pub use collect::{Artifact, Problem, Report};
pub use error::Error;
pub use exit::{Exit, Outcome};
pub use id::AttemptId;
pub use junit::{Test, TestOutcome, Tests};
pub use local::{Detached, Local, Started, State, unix_ms};
pub use log::{Cut, LogPart};
pub use shim::shim;
pub use spec::{Flood, Spec, User};
pub use store::{Store, StoreError, Stored};
