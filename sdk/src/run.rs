//! The hook `run`: which jobs test this?

pub use crate::bindings::run::exports::pointsman::policy::run::{Answer, Job, Weight};
use crate::{Basis, Context, Policy, Stop, Work};

/// A policy that says which jobs test something.
pub trait Run: Policy {
    /// Decides about a head, a lane, the bare target, or a kernel's stage: [`Work::kind`] tells.
    ///
    /// # Errors
    /// A [`Stop`]: the work is held with the reason.
    fn run(context: &Context<Self::Settings>, work: Work) -> Result<Answer, Stop>;
}

impl Job {
    /// A required job that runs this program with these arguments, after no other.
    pub fn new<S: Into<String>>(
        name: impl Into<String>,
        argv: impl IntoIterator<Item = S>,
    ) -> Self {
        Job {
            name: name.into(),
            after: Vec::new(),
            skip: None,
            weight: Weight::Required,
            backend: String::new(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            image: String::new(),
            secrets: Vec::new(),
            capabilities: Vec::new(),
            inputs: Vec::new(),
            artifacts: Vec::new(),
            timeout_ms: 0,
            attrs: Vec::new(),
        }
    }
}

impl Answer {
    /// These jobs.
    #[must_use]
    pub fn new(jobs: Vec<Job>, basis: Basis) -> Self {
        Answer { jobs, basis }
    }
}
