//! The hook `triage`: did it pass?

pub use crate::bindings::triage::exports::pointsman::policy::triage::{
    Answer, Attempt, Finding, JobState, Question, Retry, Test,
};
use crate::{Basis, Context, Policy, Stop, Verdict};

/// A policy that says whether a run passed.
pub trait Triage: Policy {
    /// Decides about a run as its jobs end.
    ///
    /// # Errors
    /// A [`Stop`]: the verdict is open, and the work is held with the reason.
    fn triage(context: &Context<Self::Settings>, question: Question) -> Result<Answer, Stop>;
}

impl JobState {
    /// The newest attempt.
    #[must_use]
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }
}

impl Answer {
    /// A verdict; none waits for more.
    #[must_use]
    pub fn new(verdict: Option<Verdict>, basis: Basis) -> Self {
        Answer {
            verdict,
            retry: Vec::new(),
            cancel: Vec::new(),
            findings: Vec::new(),
            blame: Vec::new(),
            basis,
        }
    }
}
